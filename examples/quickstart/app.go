package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// simulatedTopic is the push topic without a push certificate. No real device accepts a profile with it twice.
const simulatedTopic = "com.apple.mgmt.External.quickstart"

// app is the running quick start.
type app struct {
	options   options
	log       *slog.Logger
	db        *sqlite.DB
	stores    storage.Stores
	pki       *pki
	signer    profile.CMSSigner
	tls       tls.Certificate
	mdm       *server.Server
	practices *practices
	ours      identity.Validator // of the identities of devices
	makers    enroll.DeviceCA    // whose built-in certificates devices have; zero: Apple's
	factory   *mdmtest.BuiltInCA // of simulated devices
	apns      *mdmtest.APNs      // nil: the real one, or none
	apple     *apple             // with simulated devices
	topic     string
	base      string // https URL of the device side, without a slash at the end

	devices, admin net.Listener
	ahead          atomic.Int64 // how far the server's clock is ahead, in the demo
}

// newApp opens the database and both listeners and wires the server. Close it.
func newApp(ctx context.Context, o options, simulated bool) (_ *app, err error) {
	a := &app{options: o, log: o.logger()}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.devices, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen); err != nil {
		return nil, err
	}
	if a.admin, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.admin); err != nil {
		return nil, err
	}
	if a.base, err = o.base(a.devices.Addr()); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return nil, err
	}
	if a.db, err = sqlite.Open(ctx, filepath.Join(o.data, "mdm.db"), &sqlite.Config{Clock: a.now}); err != nil { // one clock for all
		return nil, err
	}
	a.stores = a.db.Stores()
	if a.pki, err = loadPKI(ctx, a.stores.Vault); err != nil {
		return nil, err
	}
	if a.signer, err = a.pki.signer(); err != nil {
		return nil, err
	}
	if a.tls, err = a.tlsCertificate(); err != nil {
		return nil, err
	}
	pusher, err := a.pusher(ctx, simulated)
	if err != nil {
		return nil, err
	}
	if simulated {
		if err := a.newApple(ctx); err != nil {
			return nil, err
		}
	}
	return a, a.wire(pusher)
}

// base returns the URL by which devices reach the server.
func (o options) base(addr net.Addr) (string, error) {
	if o.publicURL == "" {
		_, port, err := net.SplitHostPort(addr.String())
		return "https://localhost:" + port, err
	}
	u, err := url.Parse(o.publicURL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("-public-url %q is no https URL", o.publicURL)
	}
	return "https://" + u.Host, nil
}

func (a *app) tlsCertificate() (tls.Certificate, error) {
	if a.options.tlsCert != "" {
		return tls.LoadX509KeyPair(a.options.tlsCert, a.options.tlsKey)
	}
	hosts := []string{"localhost", "127.0.0.1"}
	if u, err := url.Parse(a.base); err == nil && u.Hostname() != "localhost" {
		hosts = append(hosts, u.Hostname())
	}
	return a.pki.certificate(hosts[len(hosts)-1], []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, hosts...)
}

// pusher returns what wakes devices: the simulated APNs, the real one, or nothing.
func (a *app) pusher(ctx context.Context, simulated bool) (push.Pusher, error) {
	a.topic = simulatedTopic
	var cert push.Certificate
	switch {
	case simulated:
		a.apns = mdmtest.NewAPNs()
		factory, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
		if err != nil {
			return nil, err
		}
		a.factory, a.makers.Issuers = factory, []*x509.Certificate{factory.Certificate}
		if cert, err = mdmtest.NewPushCertificate(a.topic); err != nil {
			return nil, err
		}
	case a.options.pushCert != "":
		pem, err := os.ReadFile(a.options.pushCert)
		if err != nil {
			return nil, err
		}
		if cert, err = push.LoadCertificate(pem, pem); err != nil {
			return nil, err
		}
		a.topic = cert.Topic
	default:
		return nil, nil
	}
	if err := a.stores.PushCertificates.SavePushCertificate(ctx, cert); err != nil {
		return nil, err
	}
	client := &apns.Client{Certificates: a.stores.PushCertificates, Clock: a.now}
	if a.apns != nil {
		client.Host, client.RootCAs = a.apns.URL(), a.apns.RootCAs()
	}
	return client, nil
}

func (a *app) wire(pusher push.Pusher) (err error) {
	if a.ours, err = identity.IssuedBy(identity.IssuerConfig{Roots: a.pki.devices.Chain()}); err != nil {
		return err
	}
	a.practices = a.newPractices()
	a.mdm, err = server.New(server.Config{
		Stores:    a.stores,
		Extractor: identity.TLS(),
		Validator: a.ours,
		Pusher:    pusher,
		Logger:    a.log,
		Clock:     a.now,
		Expiry: []expiry.Source{
			expiry.Chain(expiry.DeviceCA, "quick start", a.pki.devices.Chain()...),
			expiry.TLS(a.base, func() (*tls.Certificate, error) { return &a.tls, nil }),
			dep.Expiries(a.stores.DEP, ""),
			expiry.Dates(expiry.EnrollmentProfile, func(ctx context.Context) (map[string]time.Time, error) { return a.recipe(a.signer).Dates(ctx) }),
		},
		// The enrollment profile grants every right; so no command is refused for lack of one.
		Checkin: checkin.Service{
			Rights: func(*checkin.Request) mdm.AccessRights { return mdm.AllRights },
			Tokens: map[string]checkin.TokenSource{dep.MAIDService: &dep.ManagedAccounts{Store: a.stores.DEP, Clock: a.now}},
		},
		Workflows: a.practices.workflows(),
		Cooks:     a.practices.cooks(),
	})
	if err != nil {
		return err
	}
	a.practices.guard.Engine = a.mdm.Workflows()
	*a.practices.renewal.Recipe = *a.recipe(a.signer)
	return nil
}

func (a *app) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

// deviceHandler is what devices and their users see.
func (a *app) deviceHandler() (http.Handler, error) {
	trust, err := a.serviceConfig().Handler("")
	if err != nil {
		return nil, err
	}
	air := a.overTheAir(a.ours)
	mux := http.NewServeMux()
	mux.Handle("/mdm", a.mdm)
	mux.Handle("/scep", &scep.Server{CA: a.pki.devices, Store: a.stores.SCEP, Logger: a.log})
	mux.HandleFunc("GET /{$}", a.enrollPage)
	mux.Handle("/trust.mobileconfig", trust)
	mux.Handle(enroll.ServiceConfigPath, trust)
	mux.Handle("/enroll.mobileconfig", a.enrollProfile())
	mux.Handle("GET /ota.mobileconfig", air.Start())
	mux.Handle("POST /ota", air.Continue())
	mux.Handle("GET /static/", staticFiles())
	if a.apple != nil {
		assistant := a.setupAssistant()
		mux.Handle(anchorsPath, trust)
		mux.Handle("GET "+adePath, assistant.Web())
		mux.Handle("POST "+adePath, assistant.Enroll())
		mux.Handle("POST "+adePath+"/signin", assistant.Callback(a.signedIn))
	}
	return mux, nil
}

// Run serves until ctx ends.
func (a *app) Run(ctx context.Context) error {
	// Devices present their certificate on /mdm; browsers and SCEP have none. Who it is, is decided per request.
	handler, err := a.deviceHandler()
	if err != nil {
		return err
	}
	devices := httpServer(handler)
	devices.TLSConfig = &tls.Config{Certificates: []tls.Certificate{a.tls}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	admin := httpServer(a.adminHandler())
	failed := make(chan error, 2)
	var group sync.WaitGroup
	group.Go(func() { failed <- devices.ServeTLS(a.devices, "", "") })
	group.Go(func() { failed <- admin.Serve(a.admin) })
	group.Go(func() { _ = a.mdm.Run(ctx) })
	if a.apple != nil {
		group.Go(func() { _ = a.apple.syncer.Run(ctx) })
		group.Go(func() { _ = a.apple.assigner.Run(ctx) })
	}
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = devices.Shutdown(grace)
	_ = admin.Close() // its live streams never end by themselves
	if ctx.Err() == nil {
		return err // a listener failed; the process ends
	}
	group.Wait()
	return err
}

// httpServer sets every limit: a server without timeouts is one that any client can hold. Web views of Setup Assistant have large
// headers.
func httpServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 128 << 10}
}

// Close frees what newApp took.
func (a *app) Close() {
	for _, l := range []net.Listener{a.devices, a.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	if a.apns != nil {
		a.apns.Close()
	}
	if a.apple != nil {
		a.apple.abm.Close()
	}
	if a.db != nil {
		if err := a.db.Close(); err != nil && !errors.Is(err, context.Canceled) {
			a.log.LogAttrs(context.Background(), slog.LevelError, "closing the database", slog.Any("error", err))
		}
	}
}
