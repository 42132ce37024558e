// Audit verifies and exports the audit log of a server.
//
//	go run ./examples/audit -db mdm.db                     verify the log in a SQLite database
//	go run ./examples/audit -db mdm.db -head 4711:9f86d0…  and that what was remembered is still in it
//	go run ./examples/audit -db mdm.db -export >log.jsonl  write the log as JSON, one entry a line
//	go run ./examples/audit <log.jsonl                     verify what was exported
//
// It prints the head of the log. Remember it in another place than the database: who can write there can also write the whole
// log anew, or cut off its end, and only a remembered head shows that. It ends with 0 if the log is whole, with 1 if it is not,
// and prints the first entry that is broken, and with 2 if it could not be read.
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

	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// What the program ends with.
const (
	whole   = 0
	broken  = 1
	trouble = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// options are the command line.
type options struct {
	db, tenant string
	head       audit.Head
	export     bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("audit", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.db, "db", "", "SQLite database; empty: JSON lines on standard input")
	flags.StringVar(&o.tenant, "tenant", "", "whose log in the database")
	head := flags.String("head", "", "a head that was printed earlier: its entry must still be there")
	flags.BoolVar(&o.export, "export", false, "write the log to standard output instead of verifying it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *head != "" {
		if o.head, err = audit.ParseHead(*head); err != nil {
			return o, fmt.Errorf("-head: %w", err)
		}
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not understood; there are only flags", flags.Arg(0))
	}
	return o, nil
}

// run returns what the program ends with.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return whole
	}
	if err == nil {
		err = work(ctx, o, stdin, stdout)
	}
	var b *audit.Broken
	switch {
	case err == nil:
		return whole
	case errors.As(err, &b):
		fmt.Fprintf(stdout, "broken at entry %d: %s\n", b.Number, b.Why)
		return broken
	}
	fmt.Fprintln(stderr, "audit:", err)
	return trouble
}

func work(ctx context.Context, o options, stdin io.Reader, stdout io.Writer) (err error) {
	entries := audit.ReadLines(stdin)
	var own audit.Head // that the database remembers itself
	if o.db != "" {
		db, failed := open(ctx, o.db)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		log := db.Stores().Audit
		if own, err = log.Head(ctx, o.tenant); err != nil {
			return err
		}
		entries = log.Entries(ctx, o.tenant, 0, 0)
	}
	if o.export {
		return audit.WriteLines(stdout, entries)
	}
	head, err := audit.Verify(entries, o.head)
	if err != nil {
		return err
	}
	if head.Number < own.Number { // what is appended while this runs only adds to it
		return &audit.Broken{Number: head.Number + 1, Why: fmt.Sprintf("it is missing, and so is all up to %d, the last by the database itself", own.Number)}
	}
	_, err = fmt.Fprintf(stdout, "whole: %d entries, head %s\n", head.Number, head)
	return err
}

// open returns a database that must be there, and be of the schema of this program.
func open(ctx context.Context, path string) (*sqlite.DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err // else it would be made
	}
	return sqlite.Open(ctx, path, nil)
}
