// Server is an MDM server to start from in production: any store, any way in which client certificates arrive, the admin API
// of package mdm/api, those of Apple's "MDM Best Practices" that need no more than flags and files, and nothing that a vendor's
// own product decides. Enrollment pages and SCEP are not part of it: see examples/quickstart for those.
//
//	server -store postgres:postgres://mdm@db/mdm -key-file mdm.key -device-ca devices.pem \
//	       -listen :8443 -tls-cert server.pem -tls-key server.key
//
//	server -store sqlite:/var/lib/mdm/mdm.db -device-ca devices.pem -listen 127.0.0.1:9000 \
//	       -identity header:Client-Cert -trusted-proxies 127.0.0.1/32
//
// Devices use -listen, on the path -path; operators use -admin, with the token in the environment variable
// APPLEMDM_API_TOKEN. GET /healthz (the process lives) and GET /readyz (it can reach its database, and is not about to
// end) are answered on both. Every flag can be given as an environment variable, too: -tls-cert as APPLEMDM_TLS_CERT.
//
// What goes on by itself, and how far it is, the API tells under /v1/workflows and /v1/runs:
//
//   - Devices that enroll get the profiles of -profiles, stage by stage, and leave Setup Assistant.
//   - With -scep-url, enrollment profiles are replaced before the identity or an anchor in them ends. For devices that were there
//     before: POST /v1/workflows/renewal/runs?all=1&key=renewal
//   - With -enrollment-id, a device whose management the API ends is told to remove its profile.
//   - A passcode is cleared for a reason and on record only: POST /guard/clear-passcode.
//   - A device out of a backup goes on if it is managed, or checked out no longer ago than -readopt.
//
// Any number of such servers may share a PostgreSQL, MySQL or MariaDB database. On SIGTERM a server first says that it is
// not ready, then finishes what it has begun.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// options are the command line.
type options struct {
	store, keyFile  string
	listen, path    string
	admin           string
	tlsCert, tlsKey string
	identity        string
	headerFormat    string
	trustedProxies  string
	deviceCA        string
	apnsURL, apnsCA string
	pushCert        string
	noPush          bool
	pushRate        int
	quiet, inactive time.Duration
	publicURL       string
	retention       time.Duration
	profiles        string
	enrollmentID    string
	scepURL         string
	anchors         string
	readopt         time.Duration
	drain, shutdown time.Duration
	verbose         bool
	logFormat       string
	token           mdm.Secret
}

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300) // requests leave much garbage and little else: memory is small, and this saves a tenth of the CPU
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	if err == nil {
		err = run(ctx, o, os.Stderr, nil)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// parse reads the flags, and the environment for those that are not given.
func parse(args []string, env func(string) string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.store, "store", "sqlite:applemdm.db", "sqlite:FILE, postgres:DSN, mysql:DSN, or memory: (for trying things out: gone with the process)")
	flags.StringVar(&o.keyFile, "key-file", "", "file with the key that seals secrets, 64 hexadecimal digits. Required for database servers; empty with SQLite: the key beside the file")
	flags.StringVar(&o.listen, "listen", ":8443", "address for devices")
	flags.StringVar(&o.path, "path", "/mdm", "path of ServerURL and CheckInURL")
	flags.StringVar(&o.admin, "admin", "127.0.0.1:8080", "address for operators, without TLS: keep it local or behind a proxy; empty: no API")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "TLS certificate and chain, PEM; read again when it changes. Empty: behind a proxy that ends TLS")
	flags.StringVar(&o.tlsKey, "tls-key", "", "its key, PEM")
	flags.StringVar(&o.identity, "identity", "tls", "where the client certificate comes from: tls, signature (Mdm-Signature) or header:NAME")
	flags.StringVar(&o.headerFormat, "header-format", "", "format of the header: rfc9440, escaped, folded, envoy, alb, alb-passthrough; empty: by its name, else escaped")
	flags.StringVar(&o.trustedProxies, "trusted-proxies", "", "networks that may send that header, as 10.0.0.0/8,127.0.0.1/32")
	flags.StringVar(&o.deviceCA, "device-ca", "", "certificates of the CA that issued the devices' certificates, PEM (required)")
	flags.StringVar(&o.apnsURL, "apns", "", "URL of APNs; empty: Apple's")
	flags.StringVar(&o.apnsCA, "apns-ca", "", "whom to trust as APNs, PEM; empty: the system's roots")
	flags.StringVar(&o.pushCert, "push-cert", "", "push certificate and key, PEM, to be stored at start; or put it to the API")
	flags.BoolVar(&o.noPush, "no-push", false, "send no pushes: devices connect when they please")
	flags.IntVar(&o.pushRate, "push-rate", 0, "pushes a second, at most; 0: as many as APNs takes")
	flags.DurationVar(&o.quiet, "quiet", 0, "how long a device may be silent before it is pushed once a day; 0: 24h")
	flags.DurationVar(&o.inactive, "inactive", 0, "how long it may be silent before it is called inactive; 0: 168h")
	flags.StringVar(&o.publicURL, "public-url", "", "where devices reach this server, as https://mdm.example.com: its certificate is watched for its end, whoever shows it")
	flags.DurationVar(&o.retention, "retention", 0, "how long finished commands are kept; 0: 90 days, negative: for ever")
	flags.StringVar(&o.profiles, "profiles", "", "directory with profiles for devices that enroll: *.mobileconfig in trust, restrictions and capabilities, sent in this order; read at start")
	flags.StringVar(&o.enrollmentID, "enrollment-id", "", "PayloadIdentifier of the enrollment profiles, as com.example.mdm")
	flags.StringVar(&o.scepURL, "scep-url", "", "SCEP server that knows the challenges of this database, for the identities of renewed enrollment profiles; empty: none is renewed")
	flags.StringVar(&o.anchors, "anchors", "", "certificates that enrollment profiles bring so that devices trust this server and its SCEP server, PEM; none: those of public CAs are enough")
	flags.DurationVar(&o.readopt, "readopt", 0, "how long after its CheckOut a device out of a backup is let in again; 0: never")
	flags.DurationVar(&o.drain, "drain", 0, "how long to serve on after SIGTERM, not ready, until the load balancer has noticed")
	flags.DurationVar(&o.shutdown, "shutdown-timeout", 20*time.Second, "how long requests that have begun may take after that")
	flags.BoolVar(&o.verbose, "verbose", false, "log each request")
	flags.StringVar(&o.logFormat, "log", "text", "text or json")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if err := fromEnvironment(flags, env); err != nil {
		return o, err
	}
	o.token = mdm.SecretString(env("APPLEMDM_API_TOKEN"))
	if flags.NArg() > 0 {
		return o, fmt.Errorf("what is %q? there are only flags", flags.Arg(0))
	}
	return o, o.check()
}

func fromEnvironment(flags *flag.FlagSet, env func(string) string) (err error) {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	flags.VisitAll(func(f *flag.Flag) {
		name := "APPLEMDM_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := env(name); value != "" && !given[f.Name] {
			if failed := f.Value.Set(value); failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, failed))
			}
		}
	})
	return err
}

// check refuses what cannot work or is not safe, all of it at once.
func (o *options) check() error {
	var wrong []error
	refuse := func(is bool, text string) {
		if is {
			wrong = append(wrong, errors.New(text))
		}
	}
	header := strings.HasPrefix(o.identity, "header:")
	refuse(o.deviceCA == "", "-device-ca is required: whose certificates are the devices'?")
	refuse((o.tlsCert == "") != (o.tlsKey == ""), "-tls-cert and -tls-key go together")
	refuse(o.identity == "tls" && o.tlsCert == "", "-identity tls needs -tls-cert and -tls-key; behind a proxy use signature or header:NAME")
	refuse(o.identity != "tls" && o.identity != "signature" && (!header || o.identity == "header:"), "-identity is tls, signature or header:NAME")
	refuse(header && o.trustedProxies == "", "-identity header needs -trusted-proxies: else anybody could claim any certificate")
	refuse(o.admin != "" && o.token.IsZero(), "set APPLEMDM_API_TOKEN to the token of the API, or -admin to nothing")
	refuse(!strings.HasPrefix(o.path, "/"), "-path begins with a slash")
	refuse(o.publicURL != "" && o.publicAddr() == "", "-public-url is of the form https://host")
	refuse(o.scepURL != "" && (o.enrollmentID == "" || o.publicURL == "" || o.anchors == ""), "-scep-url needs -enrollment-id, -public-url and -anchors (perhaps none)")
	refuse(o.readopt < 0, "-readopt is not negative")
	refuse(o.pushRate < 0 || o.quiet < 0 || o.inactive < 0, "-push-rate, -quiet and -inactive are not negative")
	refuse(o.logFormat != "text" && o.logFormat != "json", "-log is text or json")
	return errors.Join(wrong...)
}

// loggers returns one for the server's own doings and one for requests, which are a line each only if that is asked for.
func loggers(o options, to io.Writer) (own, requests *slog.Logger) {
	at := func(level slog.Level) *slog.Logger {
		options := &slog.HandlerOptions{Level: level}
		if o.logFormat == "json" {
			return slog.New(slog.NewJSONHandler(to, options))
		}
		return slog.New(slog.NewTextHandler(to, options))
	}
	if o.verbose {
		return at(slog.LevelInfo), at(slog.LevelInfo)
	}
	return at(slog.LevelInfo), at(slog.LevelWarn)
}
