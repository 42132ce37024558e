package main

import (
	"context"
	"crypto/x509"
	"database/sql"
	"fmt"
	"net/http"

	_ "github.com/lib/pq" // the driver that NanoMDM is built with

	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/certverify"
	"github.com/micromdm/nanomdm/http/api"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	nanostorage "github.com/micromdm/nanomdm/storage"
	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/micromdm/nanomdm/storage/pgsql"
)

// maxNanoTargets is the most targets that one call of NanoMDM's PostgreSQL store takes: PostgreSQL allows 65,535 arguments
// in a statement, and it uses two for each. (In a URL of its HTTP API there is room for some 40,000.)
const maxNanoTargets = 32_767

// nano is NanoMDM, wired as its own command does by default: certificate from the header, chain checked, certificate
// bound to the device, no webhook. Nothing is logged.
type nano struct {
	store   nanostorage.AllStorage
	db      *sql.DB // nil: in memory
	max     int     // targets of one call; 0: no limit
	handler http.Handler
}

func openNanoTuned(ctx context.Context, c serveConfig) (backend, error) {
	db, err := sql.Open("postgres", c.DSN)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(c.Pool)
	db.SetMaxIdleConns(c.Pool)
	return openNano(ctx, c, db, pgsql.WithDB(db))
}

func openNanoStock(ctx context.Context, c serveConfig) (backend, error) {
	db, err := sql.Open("postgres", c.DSN) // for the schema and for clone only
	if err != nil {
		return nil, err
	}
	return openNano(ctx, c, db, pgsql.WithDSN(c.DSN))
}

func openNano(ctx context.Context, c serveConfig, db *sql.DB, option pgsql.Option) (backend, error) {
	if _, err := db.ExecContext(ctx, pgsql.Schema); err != nil {
		return nil, fmt.Errorf("NanoMDM's schema: %w", err)
	}
	store, err := pgsql.New(option)
	if err != nil {
		return nil, err
	}
	return newNano(c, store, db, maxNanoTargets)
}

func openNanoMemory(_ context.Context, c serveConfig) (backend, error) {
	return newNano(c, inmem.New(), nil, 0)
}

func newNano(c serveConfig, store nanostorage.AllStorage, db *sql.DB, most int) (backend, error) {
	verifier, err := certverify.NewPoolVerifier(c.CA, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	core := nanomdm.New(store,
		nanomdm.WithUserAuthenticate(nanomdm.NewUAService(store, false)),
		nanomdm.WithGetToken(nanomdm.NewTokenMux()))
	bound := certauth.New(core, store)
	var h http.Handler = httpmdm.CheckinAndCommandHandler(bound, log.NopLogger)
	h = httpmdm.CertVerifyMiddleware(h, verifier, log.NopLogger)
	h = httpmdm.CertExtractPEMHeaderMiddleware(h, certHeader, log.NopLogger)
	mux := http.NewServeMux()
	mux.Handle(devicePath, h)
	return &nano{store: store, db: db, max: most, handler: mux}, nil
}

func (n *nano) devices() http.Handler { return n.handler }

// api is NanoMDM's own API. Pushes are off, so it needs nobody to send them.
func (n *nano) api() http.Handler {
	mux := http.NewServeMux()
	api.HandleAPIv1("/v1", mux, log.NopLogger, n.store, nil)
	return mux
}

func (n *nano) close() error {
	if n.db != nil {
		return n.db.Close()
	}
	return nil
}

// enqueue calls NanoMDM's store, past its API. What one call cannot take goes in several, one after the other, each with
// a command of its own.
func (n *nano) enqueue(ctx context.Context, o order) (int, error) {
	ids := o.IDs
	for i := len(ids); i < o.Everyone; i++ {
		ids = append(ids, cloneID(i))
	}
	for call := 0; len(ids) > 0; call++ {
		size := len(ids)
		if n.max > 0 {
			size = min(size, n.max)
		}
		id := o.UUID
		if call > 0 {
			id = fmt.Sprintf("%s-%d", o.UUID, call)
		}
		cmd, err := mdm.DecodeCommand(rawCommand(id))
		if err != nil {
			return 0, err
		}
		failed, err := n.store.EnqueueCommand(ctx, ids[:size], cmd)
		if err == nil && len(failed) > 0 {
			err = fmt.Errorf("%d targets failed", len(failed))
		}
		if err != nil {
			return 0, fmt.Errorf("EnqueueCommand: %w", err)
		}
		ids = ids[size:]
	}
	return max(len(o.IDs), o.Everyone), nil
}

// clone copies rows. The store in memory queues for ids that it has never heard of, so there it is nothing to do.
func (n *nano) clone(ctx context.Context, template string, from, to int) error {
	if n.db == nil {
		return nil
	}
	if err := cloneRows(ctx, n.db, cloning{table: "devices", key: "id", template: template, from: from, to: to}); err != nil {
		return err
	}
	return cloneRows(ctx, n.db, cloning{table: "enrollments", key: "id", also: "device_id", template: template, from: from, to: to})
}
