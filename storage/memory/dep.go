package memory

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// depServer is a server as a database keeps it: so nobody shares memory with it.
type depServer struct {
	body    string
	secrets mdm.Secret
	records map[string]depRecord // by serial number
}

type depRecord struct {
	body string
	read dep.Record // what body says; it is looked at and never given out
}

// put sets what is to be stored of a server.
func (s *depServer) put(next dep.Server) error {
	secrets, err := next.Secrets()
	if err != nil {
		return err
	}
	body, err := next.Body()
	if err == nil {
		s.body, s.secrets = body, secrets
	}
	return err
}

func (s *depServer) get() (out dep.Server, err error) {
	if err = out.SetBody(s.body); err == nil {
		err = out.SetSecrets(s.secrets)
	}
	return out, err
}

func (r depRecord) get() (out dep.Record, err error) {
	err = out.SetBody(r.body)
	return out, err
}

// CreateServer implements [dep.Store].
func (db *DB) CreateServer(ctx context.Context, s dep.Server) error {
	if err := s.Key.Check(); err != nil {
		return err
	}
	made := &depServer{records: map[string]depRecord{}}
	if err := made.put(s); err != nil {
		return err
	}
	return db.tx(ctx, func() error {
		if db.servers[s.Key] != nil {
			return mdm.Errorf(mdm.Malformed, "memory.CreateServer", "there is a server %q", s.Key)
		}
		db.servers[s.Key] = made
		return nil
	})
}

// server returns a server and what is stored of it.
func (db *DB) server(key dep.Key) (*depServer, dep.Server, error) {
	stored := db.servers[key]
	if stored == nil {
		return nil, dep.Server{}, mdm.Errorf(mdm.NotFound, "memory", "there is no server %q", key)
	}
	s, err := stored.get()
	return stored, s, err
}

// ChangeServer implements [dep.Store].
func (db *DB) ChangeServer(ctx context.Context, key dep.Key, change func(*dep.Server) error) (out dep.Server, err error) {
	err = db.tx(ctx, func() error {
		stored, s, err := db.server(key)
		if err != nil {
			return err
		}
		if s, err = s.Changed(change); err != nil {
			return err
		}
		if err = stored.put(s); err != nil {
			return err
		}
		out, err = stored.get()
		return err
	})
	return out, err
}

// Server implements [dep.Store].
func (db *DB) Server(ctx context.Context, key dep.Key) (s dep.Server, err error) {
	err = db.tx(ctx, func() error {
		_, s, err = db.server(key)
		return err
	})
	return s, err
}

// Servers implements [dep.Store].
func (db *DB) Servers(ctx context.Context, tenant string) iter.Seq2[dep.Server, error] {
	return func(yield func(dep.Server, error) bool) {
		var found []dep.Server
		err := db.tx(ctx, func() error {
			for key := range db.servers {
				if key.Tenant != tenant {
					continue
				}
				_, s, err := db.server(key)
				if err != nil {
					return err
				}
				found = append(found, s)
			}
			return nil
		})
		if err != nil {
			yield(dep.Server{}, err)
			return
		}
		slices.SortFunc(found, func(a, b dep.Server) int { return cmp.Compare(a.Name, b.Name) })
		for _, s := range found {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// DeleteServer implements [dep.Store].
func (db *DB) DeleteServer(ctx context.Context, key dep.Key) error {
	return db.tx(ctx, func() error {
		delete(db.servers, key)
		return nil
	})
}

// Keep implements [dep.Store].
func (db *DB) Keep(ctx context.Context, key dep.Key, serials []string, keep func(*dep.Server, map[string]*dep.Record) (dep.Kept, error)) error {
	if err := dep.CheckSerials(serials); err != nil {
		return err
	}
	return db.tx(ctx, func() error {
		stored, s, err := db.server(key)
		if err != nil {
			return err
		}
		known := map[string]*dep.Record{}
		for _, serial := range serials {
			if r, ok := stored.records[serial]; ok {
				out, err := r.get()
				if err != nil {
					return err
				}
				known[serial] = &out
			}
		}
		var kept dep.Kept
		s, err = s.Changed(func(next *dep.Server) (err error) {
			kept, err = keep(next, known)
			return err
		})
		if err == nil {
			err = kept.Check(key)
		}
		if err != nil {
			return err
		}
		made := map[string]depRecord{}
		for _, r := range kept.Records {
			written := depRecord{}
			if written.body, err = r.Body(); err == nil {
				written.read, err = written.get()
			}
			if err != nil {
				return err
			}
			made[r.Serial] = written
		}
		if err := stored.put(s); err != nil {
			return err
		}
		maps.Copy(stored.records, made)
		db.record(kept.Events...)
		return nil
	})
}

// DeviceRecords implements [dep.Store].
func (db *DB) DeviceRecords(ctx context.Context, tenant, serial string) (out []dep.Record, err error) {
	err = db.tx(ctx, func() error {
		for key, stored := range db.servers {
			if r, ok := stored.records[serial]; ok && key.Tenant == tenant {
				found, err := r.get()
				if err != nil {
					return err
				}
				out = append(out, found)
			}
		}
		return nil
	})
	slices.SortFunc(out, dep.CompareRecords)
	return out, err
}

// Records implements [dep.Store].
func (db *DB) Records(ctx context.Context, q dep.Query) iter.Seq2[dep.Record, error] {
	return func(yield func(dep.Record, error) bool) {
		found, err := db.depRecords(ctx, q)
		for _, r := range found {
			out, err := r.get()
			if !yield(out, err) || err != nil {
				return
			}
		}
		if err != nil {
			yield(dep.Record{}, err)
		}
	}
}

func (db *DB) depRecords(ctx context.Context, q dep.Query) (found []depRecord, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = db.tx(ctx, func() error {
		if stored := db.servers[q.Server]; stored != nil {
			for _, r := range stored.records {
				if q.Selects(&r.read) {
					found = append(found, r)
				}
			}
		}
		return nil
	})
	slices.SortFunc(found, func(a, b depRecord) int {
		due := 0
		if !q.DueBefore.IsZero() {
			due = a.read.Assignment.Due.Compare(b.read.Assignment.Due)
		}
		return cmp.Or(due, cmp.Compare(a.read.Serial, b.read.Serial))
	})
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	return found, err
}

// CountRecords implements [dep.Store].
func (db *DB) CountRecords(ctx context.Context, key dep.Key) (n dep.Counts, err error) {
	err = db.tx(ctx, func() error {
		if stored := db.servers[key]; stored != nil {
			for _, r := range stored.records {
				if !r.read.Gone {
					n.Devices++
					if !r.read.Assignment.Due.IsZero() {
						n.Due++
					}
				}
			}
		}
		return nil
	})
	return n, err
}
