package main

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/mysql"
	"github.com/gomdm/applemdm/storage/postgres"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// ours is this library, wired as its README says.
type ours struct {
	server *server.Server
	stores storage.Stores
	driver string // of database/sql, for clone; empty: in memory
	dsn    string
	stop   func() error
}

func openPostgres(ctx context.Context, c serveConfig) (backend, error) {
	sealer, err := storage.NewAESGCM(storage.GenerateKey())
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, c.DSN, &postgres.Config{Sealer: sealer})
	if err != nil {
		return nil, err
	}
	return newOurs(ctx, c, db.Stores(), "pgx", db.Close)
}

func openMySQL(ctx context.Context, c serveConfig) (backend, error) {
	sealer, err := storage.NewAESGCM(storage.GenerateKey())
	if err != nil {
		return nil, err
	}
	db, err := mysql.Open(ctx, c.DSN, &mysql.Config{Sealer: sealer})
	if err != nil {
		return nil, err
	}
	return newOurs(ctx, c, db.Stores(), "mysql", db.Close)
}

func openSQLite(ctx context.Context, c serveConfig) (backend, error) {
	db, err := sqlite.Open(ctx, c.DSN, nil)
	if err != nil {
		return nil, err
	}
	return newOurs(ctx, c, db.Stores(), "sqlite", db.Close)
}

func openMemory(ctx context.Context, c serveConfig) (backend, error) {
	return newOurs(ctx, c, memory.New().Stores(), "", func() error { return nil })
}

func newOurs(ctx context.Context, c serveConfig, stores storage.Stores, driver string, closeStore func() error) (backend, error) {
	block, _ := pem.Decode(c.CA)
	if block == nil {
		return nil, errors.New("the CA is not PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	validator, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{ca}})
	if err != nil {
		return nil, err
	}
	extractor, err := identity.Proxy(identity.ProxyConfig{Format: identity.RFC9440, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		return nil, err
	}
	s, err := server.New(server.Config{Stores: stores, Extractor: extractor, Validator: validator, Pusher: noPusher{}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }() // ends with ctx only
	stop := func() error { cancel(); <-done; return closeStore() }
	return &ours{server: s, stores: stores, driver: driver, dsn: c.DSN, stop: stop}, nil
}

func (o *ours) devices() http.Handler { return o.server }
func (o *ours) api() http.Handler     { return nil }
func (o *ours) close() error          { return o.stop() }

// enqueue is the one place where the bench calls our side of the queue.
func (o *ours) enqueue(ctx context.Context, want order) (int, error) {
	to := mdm.Matching(mdm.Filter{States: []mdm.State{mdm.Enrolled}})
	if want.Everyone == 0 {
		var ids []mdm.EnrollmentID
		for _, device := range want.IDs {
			ids = append(ids, mdm.EnrollmentID{Device: device})
		}
		to = mdm.IDs(ids...)
	}
	cmd := command.DeviceInformation{}
	for _, q := range queries {
		cmd.Queries = append(cmd.Queries, command.DeviceInformationQuery(q))
	}
	receipt, err := o.stores.Command.Enqueue(ctx, command.Order{Command: cmd, To: to, UUID: want.UUID, NoPush: true})
	if err == nil && receipt.RefusedAll > 0 {
		err = fmt.Errorf("%d targets were refused: %w", receipt.RefusedAll, receipt.Refused[0].Err)
	}
	return receipt.Queued, err
}

// clone copies rows in a database. In memory there are none, so the store is told of enrollments.
func (o *ours) clone(ctx context.Context, template string, from, to int) error {
	if o.driver == "" {
		return o.cloneInMemory(ctx, template, from, to)
	}
	dsn := o.dsn
	if o.driver == "sqlite" {
		dsn = "file:" + dsn + "?_pragma=busy_timeout(60000)" // the server writes, too
	}
	db, err := sql.Open(o.driver, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return cloneRows(ctx, db, cloning{table: "mdm_enrollments", key: "device", without: "id", template: template, from: from, to: to})
}

func (o *ours) cloneInMemory(ctx context.Context, template string, from, to int) error {
	first, err := o.stores.Roster.Enrollment(ctx, mdm.EnrollmentID{Device: template})
	if err != nil {
		return err
	}
	var plan checkin.Plan
	for n := from; n < to; n++ {
		e := *first
		e.ID.Device = cloneID(n)
		plan.Enrollments = append(plan.Enrollments, e)
	}
	return o.stores.Checkin.Update(ctx, checkin.Key{ID: first.ID}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil })
}

// noPusher is an APNs that takes everything at once.
type noPusher struct{}

func (noPusher) Push(_ context.Context, targets []push.Target) ([]push.Result, error) {
	results := make([]push.Result, len(targets))
	for n, t := range targets {
		results[n] = push.Result{Target: t, Outcome: push.Delivered, Status: http.StatusOK, At: time.Now()}
	}
	return results, nil
}
