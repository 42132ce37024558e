// Ade enrolls devices in Setup Assistant, by Automated Device Enrollment, after their users logged in with OpenID Connect.
//
//	go run ./examples/ade -fake
//
// runs a server, an identity provider that stands in for yours, and a simulated device that goes through Setup Assistant; it
// ends with 0 if all of that works. For real devices:
//
//	ade -public-url https://mdm.example.com -tls-cert chain.pem -tls-key key.pem -push-cert push.pem \
//	    -issuer https://login.example.com -client-id mdm -serials serials.txt
//
// with the client's secret in OIDC_CLIENT_SECRET, if it has one. Register <public-url>/login/callback as the address that the
// provider leads back to, and <public-url>/enroll/web as the configuration_web_url of your profile of Automated Device
// Enrollment, with await_device_configured.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	fake                            bool
	listen, publicURL, db, ca       string
	tlsCert, tlsKey, pushCert       string
	issuer, clientID, secret, claim string
	serials, organization           string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "ade:", err)
		os.Exit(1)
	}
}

func parse(args []string, getenv func(string) string) (o options, err error) {
	flags := flag.NewFlagSet("ade", flag.ContinueOnError)
	flags.BoolVar(&o.fake, "fake", false, "run a stand-in for the identity provider and a simulated device, and end")
	flags.StringVar(&o.listen, "listen", ":443", "address to listen on")
	flags.StringVar(&o.publicURL, "public-url", "", "https URL by which devices reach -listen")
	flags.StringVar(&o.db, "db", "mdm.db", "SQLite database")
	flags.StringVar(&o.ca, "ca", "ca.pem", "PEM file with the CA of the devices' certificates and its key; made if it is missing")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "PEM file with the TLS chain; it signs profiles, too")
	flags.StringVar(&o.tlsKey, "tls-key", "", "PEM file with the key of -tls-cert")
	flags.StringVar(&o.pushCert, "push-cert", "", "PEM file with the push certificate and its key")
	flags.StringVar(&o.issuer, "issuer", "", "https URL of the identity provider")
	flags.StringVar(&o.clientID, "client-id", "", "what the provider calls this server")
	flags.StringVar(&o.claim, "claim", "email", "the claim that names a user")
	flags.StringVar(&o.serials, "serials", "", "file with the serial numbers that may enroll, one a line; empty: every genuine device")
	flags.StringVar(&o.organization, "organization", "Example", "name of the organization")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.secret = getenv("OIDC_CLIENT_SECRET")
	if o.fake {
		return o, nil
	}
	for name, value := range map[string]string{"public-url": o.publicURL, "tls-cert": o.tlsCert, "tls-key": o.tlsKey, "push-cert": o.pushCert,
		"issuer": o.issuer, "client-id": o.clientID} {
		if value == "" {
			return o, fmt.Errorf("-%s is required, or -fake", name)
		}
	}
	u, err := url.Parse(o.publicURL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return o, fmt.Errorf("-public-url %q is no https URL", o.publicURL)
	}
	o.publicURL = "https://" + u.Host
	return o, nil
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	o, err := parse(args, getenv)
	if err != nil {
		return err
	}
	if o.fake {
		return fake(ctx, o, out)
	}
	pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return err
	}
	s, err := open(ctx, o, pair, http.DefaultClient, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer s.close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "configuration_web_url: %s%s\n", o.publicURL, webPath)
	return s.serve(ctx, listener)
}

// serve answers devices and does what is nobody's request, until ctx ends.
func (s *site) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	server := httpServer(s.handler(), s.log)
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.tls}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	go func() { ended <- s.mdm.Run(ctx) }()
	var err error
	open := 2
	select {
	case <-ctx.Done():
	case err = <-ended:
		open--
	}
	cancel()
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	_ = server.Shutdown(stopping)
	for range open {
		<-ended
	}
	return err
}

// httpServer sets every limit: one without timeouts is held by whoever likes to. Web views of Setup Assistant have large headers.
func httpServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 128 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// inventory is the set of serial numbers in a file; nil if there is no file.
func inventory(file string) (map[string]bool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	serials := map[string]bool{}
	for _, line := range strings.Fields(string(data)) {
		serials[line] = true
	}
	return serials, nil
}
