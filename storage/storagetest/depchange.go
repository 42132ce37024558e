package storagetest

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func serverSecrets(w *world) {
	want := dep.Server{Key: w.added("a"), AddedAt: endOfJuly}
	w.expectServer(want)
	for _, change := range []func(*dep.Server){
		func(s *dep.Server) { s.KeyPair = dep.KeyPair{Certificate: []byte("c"), Key: mdm.SecretString("k")} },
		func(s *dep.Server) { s.Token = fullServer(s.Key).Token },
		func(s *dep.Server) { s.Token.AccessSecret = mdm.SecretString("another") },
		func(s *dep.Server) { s.Profile = "P" },
		func(s *dep.Server) { s.KeyPair, s.Token = dep.KeyPair{}, dep.Token{} },
		func(s *dep.Server) { s.KeyPair.Key = mdm.SecretString("again") },
	} {
		change(&want)
		w.sameServer(want, w.changeServer(want.Key, change))
		w.expectServer(want)
		w.keep(want.Key, nil, func(s *dep.Server, _ map[string]*dep.Record) (dep.Kept, error) {
			w.sameServer(want, *s)
			return dep.Kept{}, nil
		})
	}
	w.keep(want.Key, nil, func(s *dep.Server, _ map[string]*dep.Record) (dep.Kept, error) {
		s.KeyPair.Key = mdm.SecretString("kept")
		return dep.Kept{}, nil
	})
	want.KeyPair.Key = mdm.SecretString("kept")
	w.expectServer(want)
}

func serverChanged(w *world) {
	want := fullServer(serverKey("a"))
	w.addServer(dep.Server{Key: want.Key, AddedAt: want.AddedAt})
	other := w.added("b")
	got := w.changeServer(want.Key, func(s *dep.Server) {
		assert.Equal(w, want.AddedAt, s.AddedAt, "it sees what is there")
		*s = fullServer(serverKey("other"))
		s.KeyPair, s.AddedAt = want.KeyPair, endOfJuly.AddDate(1, 0, 0)
	})
	w.sameServer(want, got)
	w.expectServer(want)
	w.noServer(serverKey("other"))
	w.expectServer(dep.Server{Key: other, AddedAt: endOfJuly})
	got.Stopped.Text, got.Account.URLs[0].URI = "mine", "mine"
	w.expectServer(want)
	finer := w.changeServer(want.Key, func(s *dep.Server) { s.Sync.At = endOfJuly.Add(1999) })
	want.Sync.At = endOfJuly.Add(1000)
	w.sameServer(want, finer)
	want = dep.Server{Key: want.Key, AddedAt: want.AddedAt}
	w.sameServer(want, w.changeServer(want.Key, func(s *dep.Server) { *s = dep.Server{} }))
	w.expectServer(want)
	w.keep(want.Key, nil, func(s *dep.Server, _ map[string]*dep.Record) (dep.Kept, error) {
		*s = dep.Server{Key: serverKey("other"), AddedAt: endOfJuly, Profile: "by Keep"}
		return dep.Kept{}, nil
	})
	want.Profile = "by Keep"
	w.expectServer(want)
	w.noServer(serverKey("other"))
}

func serverFailed(w *world) {
	want := fullServer(serverKey("a"))
	w.addServer(want)
	spoil := func(s *dep.Server) {
		s.Profile, s.Stopped.Text, s.Account.URLs[0].URI, s.KeyPair = "mine", "mine", "mine", dep.KeyPair{}
	}
	for _, failure := range []error{errors.New("not now"), mdm.Errorf(mdm.Forbidden, "test", "not yours"), mdm.Errorf(mdm.Internal, "test", "broken")} {
		out, err := w.DEP.ChangeServer(w.Context(), want.Key, func(s *dep.Server) error {
			spoil(s)
			return failure
		})
		assert.Same(w, failure, err, "as it is")
		assert.Equal(w, dep.Server{}, out)
		w.expectServer(want)
	}
	assert.Panics(w, func() {
		_, _ = w.DEP.ChangeServer(w.Context(), want.Key, func(s *dep.Server) error {
			spoil(s)
			panic("a bug of the caller's")
		})
	})
	w.expectServer(want)
	w.changeServer(want.Key, func(s *dep.Server) { s.Profile = "after it" })
}

func serverLimits(w *world) {
	want := fullServer(serverKey("a"))
	w.addServer(want)
	for name, spoil := range map[string]func(*dep.Server){
		"a time of no calendar":  func(s *dep.Server) { s.Sync.At = time.Date(30_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a token of no calendar": func(s *dep.Server) { s.Token.Expires = time.Date(30_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"too much":               func(s *dep.Server) { s.Profile = strings.Repeat("x", dep.MaxBody) },
		"what is no JSON":        func(s *dep.Server) { s.Account.Extra = map[string]json.RawMessage{"a": json.RawMessage("{")} },
	} {
		s := fullServer(serverKey("new"))
		spoil(&s)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.DEP.CreateServer(w.Context(), s)), name)
		w.noServer(s.Key)
		_, err := w.DEP.ChangeServer(w.Context(), want.Key, func(s *dep.Server) error {
			spoil(s)
			return nil
		})
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
		err = w.DEP.Keep(w.Context(), want.Key, nil, func(s *dep.Server, _ map[string]*dep.Record) (dep.Kept, error) {
			spoil(s)
			return dep.Kept{Records: []dep.Record{aRecord(want.Key, "C02")}}, nil
		})
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
		w.expectServer(want)
		assert.Empty(w, w.records(dep.Query{Server: want.Key}))
	}
}

func serverCounted(w *world) {
	const n = 16
	key := w.added("a")
	handles := []*world{w, w.again()}
	var first atomic.Int64
	busy := errors.New("somebody has it")
	var group sync.WaitGroup
	for i := range n {
		store := handles[i%2].DEP
		group.Go(func() {
			_, err := store.ChangeServer(w.Context(), key, func(s *dep.Server) error {
				s.Sync.Fetched++
				return nil
			})
			assert.NoError(w, err)
			_, err = store.ChangeServer(w.Context(), key, func(s *dep.Server) error {
				if !s.Sync.Take(numbered("h", i), endOfJuly, time.Hour) {
					return busy
				}
				return nil
			})
			if err == nil {
				first.Add(1)
			} else {
				assert.ErrorIs(w, err, busy)
			}
		})
		group.Go(func() {
			assert.NoError(w, store.Keep(w.Context(), key, []string{"C02"}, func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
				r := aRecord(key, "C02")
				if known["C02"] != nil {
					r = *known["C02"]
				}
				s.Sync.Fetched++
				r.Assignment.Tries++
				return dep.Kept{Records: []dep.Record{r}}, nil
			}))
		})
	}
	group.Wait()
	s, err := w.DEP.Server(w.Context(), key)
	require.NoError(w, err)
	assert.Equal(w, 2*n, s.Sync.Fetched)
	assert.Equal(w, int64(1), first.Load())
	found := w.records(dep.Query{Server: key})
	require.Len(w, found, 1)
	assert.Equal(w, n, found[0].Assignment.Tries)
}
