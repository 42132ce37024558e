// Migrate takes over the devices of a NanoMDM or MicroMDM server into a database of this library.
//
//	go run ./examples/migrate -from micromdm:/var/db/micromdm/micromdm.db -to sqlite:mdm.db -dry-run
//	go run ./examples/migrate -from nanomdm-postgres:postgres://nano@db/nanomdm -to postgres:postgres://mdm@db/mdm -key-file mdm.key
//
// Progress goes to standard error, the result to standard output. It ends with 1 if something could not be imported, unless
// -allow-skipped is given. Interrupt it when you like: it says how to go on. Package mdm/migrate has the rules, and how to
// move a fleet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gomdm/applemdm/mdm/migrate"
)

// options are the command line.
type options struct {
	from, to     string
	keyFile      string
	tenant       string
	after        string
	workers      int
	dryRun       bool
	allowSkipped bool
}

var errSkipped = errors.New("something could not be imported; see above")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("migrate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.from, "from", "", "nanomdm-postgres:DSN, nanomdm-mysql:DSN or micromdm:FILE")
	flags.StringVar(&o.to, "to", "", "sqlite:FILE, postgres:DSN or mysql:DSN")
	flags.StringVar(&o.keyFile, "key-file", "", "file with the key that seals secrets, 64 hexadecimal digits; made if it is not there. Empty: the key beside the SQLite file")
	flags.StringVar(&o.tenant, "tenant", "", "tenant of everything that is imported")
	flags.StringVar(&o.after, "after", "", "go on after this position of a run that was interrupted")
	flags.IntVar(&o.workers, "workers", 0, "records written at once; 0: a good number")
	flags.BoolVar(&o.dryRun, "dry-run", false, "import nothing, but make the database if it is not there")
	flags.BoolVar(&o.allowSkipped, "allow-skipped", false, "end with 0 even if something could not be imported")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.from == "" || o.to == "" {
		flags.Usage()
		return o, errors.New("-from and -to are needed, and nothing besides flags")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	source, closeSource, err := openSource(o.from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	stores, closeStores, err := openStores(ctx, o.to, o.keyFile, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()

	p := &progress{w: stderr, began: time.Now()}
	report, err := migrate.Run(ctx, source, stores, migrate.Options{
		Tenant: o.tenant, DryRun: o.dryRun, After: o.after, Workers: o.workers, Progress: p.report,
	})
	printReport(stdout, &report)
	for _, problem := range report.Problems {
		fmt.Fprintf(stderr, "skipped %s: %s\n", problem.Record, problem.Reason)
	}
	switch {
	case err != nil && report.Position != "":
		fmt.Fprintf(stderr, "not finished; go on with the same flags and -after %q\n", report.Position)
		return err
	case err != nil:
		return err
	case report.Skipped > 0 && !o.allowSkipped:
		return errSkipped
	}
	return nil
}

// progress prints a line every few seconds.
type progress struct {
	w     io.Writer
	began time.Time
	next  time.Time
}

const progressEvery = 2 * time.Second

func (p *progress) report(r migrate.Report) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	done := r.Enrollments + r.Users + r.Kept + r.NotEnrolled
	rate := float64(done) / max(now.Sub(p.began).Seconds(), 0.001)
	fmt.Fprintf(p.w, "%d channels, %d commands, %d skipped; %.0f channels/s; at %s\n", done, r.Commands, r.Skipped, rate, r.Position)
}

func printReport(w io.Writer, r *migrate.Report) {
	title := "imported"
	if r.DryRun {
		title = "would be imported"
	}
	fmt.Fprintln(w, title)
	for _, row := range []struct {
		name string
		n    int
	}{
		{"devices", r.Enrollments}, {"users", r.Users}, {"certificates", r.Certificates}, {"unlock tokens", r.UnlockTokens},
		{"bootstrap tokens", r.BootstrapTokens}, {"pending commands", r.Commands}, {"push certificates", r.PushCertificates},
		{"unchanged channels", r.Unchanged}, {"devices without certificate", r.Unbound},
		{"kept as they were", r.Kept}, {"not enrolled there", r.NotEnrolled}, {"skipped", r.Skipped},
	} {
		fmt.Fprintf(w, "  %-28s %8d\n", row.name, row.n)
	}
}
