// Command bench drives this library and NanoMDM with the same simulated devices, on the same databases, in the same run,
// and prints what each costs. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// options is the command line.
type options struct {
	postgres, mysql string
	quick, pushes   bool
	only, systems   []string
	concurrency     int
	rounds          int
	dir             string

	markdown, json, plots, profile string
	from                           string
}

func main() {
	// A child is a server under test; it takes the rest of its orders from stdin.
	if code, ok := asChild(os.Args); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main, for tests, too. It returns the exit status: 1 if anything failed or was answered wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && o.pushes {
		return runPushes(ctx, o, stdout, stderr)
	}
	var results *Results
	if err == nil {
		if o.from != "" {
			results, err = readResults(o.from)
		} else {
			results, err = newBench(o, stderr).run(ctx)
		}
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted") // whatever came of that
	}
	if results != nil {
		err = errors.Join(err, render(results, o, stdout))
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	if n := len(results.Failures); n > 0 {
		_, _ = fmt.Fprintf(stderr, "bench: %d of the windows had failures; the first: %s\n", n, results.Failures[0])
		return 1
	}
	return 0
}

// runPushes is run for -pushes.
func runPushes(ctx context.Context, o *options, stdout, stderr io.Writer) int {
	results, err := comparePushes(ctx, o, stderr)
	if err == nil {
		err = renderPushes(results, o, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// asChild runs what a child of this program does, if args say that it is one.
func asChild(args []string) (code int, ok bool) {
	if len(args) != 3 {
		return 0, false
	}
	switch args[1] {
	case "-serve":
		return serveMain(args[2]), true
	case "-push-side":
		return pushChild(args[2]), true
	}
	return 0, false
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	var only, systems string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.postgres, "postgres", "", "`DSN` of a PostgreSQL server on which databases may be made, as a URL")
	f.StringVar(&o.mysql, "mysql", "", "`DSN` of a MySQL or MariaDB server, as github.com/go-sql-driver/mysql reads it")
	f.BoolVar(&o.quick, "quick", false, "small counts: a self-check of about a minute, not a measurement")
	f.BoolVar(&o.pushes, "pushes", false, "compare what pushes cost, and nothing else")
	f.StringVar(&only, "only", "", "the `scenarios` to run, with commas: "+strings.Join(scenarioNames(), ","))
	f.StringVar(&systems, "systems", "", "the `systems` to run, with commas: "+strings.Join(systemNames(), ","))
	f.IntVar(&o.concurrency, "concurrency", 32, "connections of the load generator")
	f.IntVar(&o.rounds, "rounds", 0, "measured `windows` of each system, of which the median counts (default: 5)")
	f.StringVar(&o.dir, "dir", "", "`folder` for the files of SQLite; it should be on a real disk (default: a temporary one)")
	f.StringVar(&o.markdown, "markdown", "", "write a report to this `file`")
	f.StringVar(&o.json, "json", "", "write the results to this `file`")
	f.StringVar(&o.plots, "plots", "", "write SVG plots into this `folder`")
	f.StringVar(&o.profile, "profile", "", "write a CPU profile of our server for each scenario into this `folder`")
	f.StringVar(&o.from, "from", "", "run nothing; take the results from this `file`, as -json wrote it")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is no option", f.Arg(0))
	}
	if o.concurrency < 1 {
		return nil, errors.New("-concurrency is at least 1")
	}
	var err, err2 error
	o.only, err = pick("scenario", only, scenarioNames())
	o.systems, err2 = pick("system", systems, systemNames())
	return o, errors.Join(err, err2)
}

// pick returns the names in list, in the order of all; everything if the list is empty.
func pick(what, list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	chosen := strings.Split(list, ",")
	for _, name := range chosen {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%q is no %s; there are %s", name, what, strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !slices.Contains(chosen, name) }), nil
}
