// Quickstart is a whole MDM server in one process, with nothing to set up: a CA, TLS, SCEP, check-in, command queue,
// push, and SQLite.
//
//	go run ./examples/quickstart            # a server with a console and an enrollment page
//	go run ./examples/quickstart -simulate 5  # the same, with five simulated devices on it
//	go run ./examples/quickstart -demo        # a tour with four devices that checks itself
//
// Devices use -listen (HTTPS), operators -admin. The console's token is printed at start, or taken from the environment
// variable APPLEMDM_API_TOKEN. For real devices see the README: they need -public-url and -push-cert. Whoever reaches
// -listen can enroll; in a product of yours a login comes before the enrollment profile. Automated Device Enrollment is here with
// simulated devices only; examples/abm and examples/ade are for real ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// options are the command line.
type options struct {
	listen    string
	admin     string
	data      string
	publicURL string
	pushCert  string
	tlsCert   string
	tlsKey    string
	simulate  int
	demo      bool
	verbose   bool
	token     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8443", "address for devices (HTTPS)")
	flags.StringVar(&o.admin, "admin", "127.0.0.1:8080", "address for operators (HTTP); keep it on this machine")
	flags.StringVar(&o.data, "data", "./applemdm-data", "directory of the database and its key")
	flags.StringVar(&o.publicURL, "public-url", "", "https URL by which devices reach -listen; empty: https://localhost and its port")
	flags.StringVar(&o.pushCert, "push-cert", "", "PEM file with the MDM push certificate and its key; empty: no pushes")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "PEM file with the TLS chain; empty: a certificate of the quick start's own CA")
	flags.StringVar(&o.tlsKey, "tls-key", "", "PEM file with the key of -tls-cert")
	flags.IntVar(&o.simulate, "simulate", 0, "number of simulated devices to enroll, with a simulated APNs and a simulated Apple Business Manager")
	flags.BoolVar(&o.demo, "demo", false, "run a tour with four devices in a directory of its own, check it, and exit")
	flags.BoolVar(&o.verbose, "v", false, "log every request")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	o.token = os.Getenv("APPLEMDM_API_TOKEN")
	if o.demo {
		return runDemo(ctx, o, os.Stdout)
	}
	return serve(ctx, o)
}

// logger returns where the server's records go: everything with -v, else what somebody should look at.
func (o options) logger() *slog.Logger {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
