package sqlstore

import (
	"context"
	"iter"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

const (
	selectServer = "SELECT id, body, sealed FROM mdm_dep_servers WHERE "
	readServer   = selectServer + "tenant = ? AND name = ? AND deleted = 0"
	lockServer   = readServer + " {lock}"
)

// depServer is a server as it is stored.
type depServer struct {
	dep.Server
	id      int64
	body    string
	sealed  []byte
	secrets mdm.Secret
}

func serverName(key dep.Key) []byte {
	return []byte("dep_servers/sealed/" + key.Tenant + "\x00" + key.Name)
}

func (db *DB) scanServer(scan func(...any) error) (*depServer, error) {
	s := &depServer{}
	if err := scan(&s.id, &s.body, &s.sealed); err != nil {
		return nil, err
	}
	if err := s.SetBody(s.body); err != nil {
		return nil, err
	}
	if len(s.sealed) > 0 {
		plain, err := db.cfg.Sealer.Open(s.sealed, serverName(s.Key))
		if err != nil {
			return nil, err
		}
		s.secrets = mdm.NewSecret(plain)
	}
	return s, s.SetSecrets(s.secrets)
}

// server returns a server, nil if there is none. query is readServer, or lockServer in a transaction.
func (db *DB) server(ctx context.Context, r reader, query string, key dep.Key) (found *depServer, err error) {
	if key.Check() != nil { // not every database takes it as text
		return nil, nil
	}
	err = r.query(ctx, query, []any{key.Tenant, key.Name}, func(scan func(...any) error) (err error) {
		found, err = db.scanServer(scan)
		return err
	})
	return found, err
}

func (db *DB) noServer(op string, key dep.Key) error {
	return mdm.Errorf(mdm.NotFound, db.op(op), "there is no server %q", key)
}

// put sets what is to be stored of a server.
func (s *depServer) put(db *DB, next *dep.Server) (err error) {
	secrets, err := next.Secrets()
	if err != nil {
		return err
	}
	if s.body, err = next.Body(); err != nil {
		return err
	}
	switch {
	case secrets.IsZero():
		s.sealed = []byte{}
	case len(s.sealed) == 0 || !secrets.Equal(s.secrets): // sealed anew only if it is another
		s.sealed, err = db.cfg.Sealer.Seal(secrets.Reveal(), serverName(next.Key))
	}
	s.secrets = secrets
	return err
}

// get returns the server as it is stored.
func (s *depServer) get() (out dep.Server, err error) {
	if err = out.SetBody(s.body); err == nil {
		err = out.SetSecrets(s.secrets)
	}
	return out, err
}

// CreateServer implements dep.Store.
func (db *DB) CreateServer(ctx context.Context, s dep.Server) error {
	if err := s.Key.Check(); err != nil {
		return err
	}
	made := &depServer{}
	if err := made.put(db, &s); err != nil {
		return err
	}
	ours := false // the key was free for us once: if the answer to our commit was lost, it is there now
	return db.update(ctx, func(t *tx) error {
		known, err := db.server(ctx, t, lockServer, s.Key)
		if err != nil || ours && known != nil && known.body == made.body && known.secrets.Equal(made.secrets) {
			return err
		}
		if known != nil {
			return mdm.Errorf(mdm.Malformed, db.op("CreateServer"), "there is a server %q", s.Key)
		}
		_, err = t.change(ctx, "INSERT INTO mdm_dep_servers (tenant, name, deleted, body, sealed) VALUES (?, ?, 0, ?, ?)", s.Tenant, s.Name, made.body, made.sealed)
		ours = ours || err == nil
		return err
	})
}

// changeServer lets change decide what becomes of a server that is locked, and writes that, unless it stays as it is.
func (t *tx) changeServer(s *depServer, change func(*dep.Server) error) error {
	next, err := s.Changed(change)
	if err != nil {
		return err
	}
	before := *s
	if err := s.put(t.db, &next); err != nil {
		return err
	}
	if s.body != before.body || !s.secrets.Equal(before.secrets) {
		t.exec(&turn{}, "UPDATE mdm_dep_servers SET body = ?, sealed = ? WHERE id = ?", s.body, s.sealed, s.id)
	}
	return nil
}

// ChangeServer implements dep.Store.
func (db *DB) ChangeServer(ctx context.Context, key dep.Key, change func(*dep.Server) error) (out dep.Server, err error) {
	err = db.update(ctx, func(t *tx) error {
		s, err := db.server(ctx, t, lockServer, key)
		if err != nil {
			return err
		}
		if s == nil {
			return db.noServer("ChangeServer", key)
		}
		if err := t.changeServer(s, change); err != nil {
			return err
		}
		out, err = s.get()
		return err
	})
	if err != nil {
		return dep.Server{}, err
	}
	return out, nil
}

// Server implements dep.Store.
func (db *DB) Server(ctx context.Context, key dep.Key) (dep.Server, error) {
	s, err := db.server(ctx, snapshot{db}, readServer, key)
	if err == nil && s == nil {
		err = db.noServer("Server", key)
	}
	if err != nil {
		return dep.Server{}, err
	}
	return s.Server, nil
}

// Servers implements dep.Store. It reads in pages, between which no connection is held.
func (db *DB) Servers(ctx context.Context, tenant string) iter.Seq2[dep.Server, error] {
	return func(yield func(dep.Server, error) bool) {
		if (dep.Key{Tenant: tenant, Name: "any"}).Check() != nil {
			return
		}
		for after, more := "", true; more; {
			var found []*depServer
			err := snapshot{db}.query(ctx, selectServer+"tenant = ? AND name > ? AND deleted = 0 ORDER BY name LIMIT ?", []any{tenant, after, pageSize},
				func(scan func(...any) error) error {
					s, err := db.scanServer(scan)
					found = append(found, s)
					return err
				})
			if err != nil {
				yield(dep.Server{}, err)
				return
			}
			for _, s := range found {
				if !yield(s.Server, nil) {
					return
				}
				after = s.Name
			}
			more = len(found) == pageSize
		}
	}
}

// DeleteServer implements dep.Store. First the server goes with its secrets, and its name is free; then its records go. If that
// is cut off, a sweep goes on with it.
func (db *DB) DeleteServer(ctx context.Context, key dep.Key) error {
	if key.Check() != nil {
		return nil
	}
	err := db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, "UPDATE mdm_dep_servers SET deleted = id, body = '', sealed = ? WHERE tenant = ? AND name = ? AND deleted = 0", []byte{}, key.Tenant, key.Name)
		return err
	})
	if err != nil {
		return err
	}
	return db.sweepServers(ctx, "tenant = ? AND name = ? AND", key.Tenant, key.Name)
}

// What is deleted first.
const (
	firstDevices  = "SELECT serial FROM mdm_dep_devices WHERE server = ? ORDER BY serial LIMIT ?"
	forgetDevices = "DELETE FROM mdm_dep_devices WHERE server = ? AND serial <= ?"
)

// sweepServers deletes what is left of servers that were deleted.
func (db *DB) sweepServers(ctx context.Context, which string, args ...any) error {
	var ids []int64
	err := snapshot{db}.query(ctx, "SELECT id FROM mdm_dep_servers WHERE "+which+" deleted > 0 ORDER BY id", args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	for _, id := range ids {
		if err == nil {
			err = db.forgetServer(ctx, id)
		}
	}
	return err
}

func (db *DB) forgetServer(ctx context.Context, id int64) error {
	err := db.batches(ctx, func(t *tx) (n int, err error) {
		var last string
		err = t.query(ctx, firstDevices, []any{id, pageSize}, func(scan func(...any) error) error {
			n++
			return scan(&last)
		})
		if n > 0 {
			t.exec(&turn{}, forgetDevices, id, last)
		}
		return n, err
	}, func(int) {})
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, "DELETE FROM mdm_dep_servers WHERE id = ? AND deleted > 0", id)
		return err
	})
}
