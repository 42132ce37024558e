package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/api"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// app is a server that is set up.
type app struct {
	o         options
	log       *slog.Logger
	stores    storage.Stores
	practices *practices
	mdm       *server.Server
	api       http.Handler // nil: not wanted
	ending    atomic.Bool
	devices   net.Listener
	admin     net.Listener // nil: not wanted
}

// run serves until ctx ends or something fails. Started is told of the addresses when they are open; it may be nil.
func run(ctx context.Context, o options, logs io.Writer, started func(devices, admin net.Addr)) (err error) {
	own, requests := loggers(o, logs)
	db, err := openStore(ctx, &o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }() // writes what is written behind
	a := &app{o: o, log: own, stores: db.Stores()}
	if err := a.wire(ctx, requests); err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	defer a.close()
	own.Info("serving", "devices", a.devices.Addr().String(), "admin", o.admin, "identity", o.identity, "tls", o.tlsCert != "")
	if started != nil {
		var admin net.Addr
		if a.admin != nil {
			admin = a.admin.Addr()
		}
		started(a.devices.Addr(), admin)
	}
	return a.serve(ctx)
}

// wire makes the parts out of the options.
func (a *app) wire(ctx context.Context, requests *slog.Logger) error {
	extractor, err := a.o.extractor()
	if err != nil {
		return err
	}
	validator, err := a.o.validator()
	if err != nil {
		return err
	}
	pusher, err := a.o.pusher(ctx, a.stores)
	if err != nil {
		return err
	}
	if a.practices, err = newPractices(&a.o, a.stores); err != nil {
		return err
	}
	cfg := server.Config{Stores: a.stores, Extractor: extractor, Validator: validator, Pusher: pusher, Logger: a.log, Requests: requests,
		Retention: storage.Retention{Commands: a.o.retention}, Pacing: push.Pacing{Rate: a.o.pushRate},
		Presence: presence.Policy{Quiet: a.o.quiet, Inactive: a.o.inactive}, Expiry: a.o.expiry()}
	a.practices.configure(&cfg)
	if a.mdm, err = server.New(cfg); err != nil {
		return err
	}
	a.practices.bind(a.mdm)
	if a.o.admin == "" {
		return nil
	}
	a.api, err = api.New(api.Config{Stores: a.stores, Tokens: []mdm.Secret{a.o.token}, End: a.practices.end(a.mdm), Expiry: a.mdm.Expiry(),
		Workflows: a.mdm.Workflows(), MayBegin: a.practices.mayBegin(), Logger: a.log})
	return err
}

func (a *app) open(ctx context.Context) (err error) {
	var listen net.ListenConfig
	if a.devices, err = listen.Listen(ctx, "tcp", a.o.listen); err != nil {
		return err
	}
	if a.o.admin != "" {
		if a.admin, err = listen.Listen(ctx, "tcp", a.o.admin); err != nil {
			a.close()
		}
	}
	return err
}

func (a *app) close() {
	for _, l := range []net.Listener{a.devices, a.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// handler is the health checks and what else is served.
func (a *app) handler(routes map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	for pattern, h := range routes {
		mux.Handle(pattern, h)
	}
	return mux
}

// readyTime is how long the database may take to say that it is there.
const readyTime = 3 * time.Second

func (a *app) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	_, err := a.stores.Roster.Enrollment(ctx, mdm.EnrollmentID{Device: "readyz"})
	switch {
	case a.ending.Load():
		http.Error(w, "ending", http.StatusServiceUnavailable)
	case err != nil && mdm.CodeOf(err) != mdm.NotFound: // the log has more; who asks here is not known
		a.log.Error("not ready", "error", err)
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, "ok\n")
	}
}

// httpServer sets every limit: one without timeouts is held by whoever likes to. Certificates travel in headers.
func httpServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// serve answers until ctx ends, and then finishes what has begun.
func (a *app) serve(ctx context.Context) error {
	devices := httpServer(a.handler(map[string]http.Handler{a.o.path: a.mdm}), a.log)
	servers := []*http.Server{devices}
	failed := make(chan error, 2)
	if a.o.tlsCert == "" {
		go func() { failed <- devices.Serve(a.devices) }()
	} else {
		pair := &keyPair{cert: a.o.tlsCert, key: a.o.tlsKey, log: a.log}
		if _, err := pair.get(nil); err != nil {
			return fmt.Errorf("-tls-cert: %w", err)
		}
		// Whose certificate it is and whether it is good, is decided for each request.
		devices.TLSConfig = &tls.Config{GetCertificate: pair.get, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
		go func() { failed <- devices.ServeTLS(a.devices, "", "") }()
	}
	if a.admin != nil {
		admin := httpServer(a.handler(map[string]http.Handler{"/v1/": a.api, "POST /guard/clear-passcode": http.HandlerFunc(a.clearPasscode)}), a.log)
		servers = append(servers, admin)
		go func() { failed <- admin.Serve(a.admin) }()
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { _ = a.mdm.Run(background) })
	var err error
	select {
	case <-ctx.Done():
		a.ending.Store(true)
		a.log.Info("ending", "drain", a.o.drain)
		time.Sleep(a.o.drain)
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.shutdown)
	defer cancel()
	for _, s := range servers {
		if late := s.Shutdown(grace); late != nil {
			a.log.Warn("requests were cut off", "error", late)
			_ = s.Close()
		}
	}
	stop() // what is due stays in the database, for the next server
	working.Wait()
	return err
}

// keyPair is a TLS certificate out of files, which are read again when they change.
type keyPair struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	changed time.Time
	pair    *tls.Certificate
}

// lookEvery is how long a certificate is used without a look at its files.
const lookEvery = 10 * time.Second

func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pair != nil && time.Since(p.looked) < lookEvery {
		return p.pair, nil
	}
	p.looked = time.Now()
	err := p.load()
	if err != nil && p.pair != nil { // half written, perhaps: go on with the old one
		p.log.Error("the TLS certificate cannot be read again", "error", err)
		return p.pair, nil
	}
	return p.pair, err
}

func (p *keyPair) load() error {
	info, err := os.Stat(p.cert)
	if err != nil || p.pair != nil && info.ModTime().Equal(p.changed) {
		return err
	}
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return err
	}
	p.pair, p.changed = &pair, info.ModTime()
	return nil
}
