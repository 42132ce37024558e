package storagetest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func serverDeleted(w *world) {
	a, b := fullServer(serverKey("a")), fullServer(serverKey("b"))
	other := fullServer(dep.Key{Tenant: "another", Name: "a"})
	for _, s := range []dep.Server{a, b, other} {
		w.addServer(s)
		w.kept(aRecord(s.Key, "C02"), aRecord(s.Key, "C03"))
	}
	require.NoError(w, w.DEP.DeleteServer(w.Context(), a.Key))
	w.noSuchServer(a.Key)
	found := w.deviceRecords("tenant", "C02")
	require.Len(w, found, 1)
	assert.Equal(w, b.Key, found[0].Server)
	w.expectServer(b)
	w.expectServer(other)
	assert.Len(w, w.records(dep.Query{Server: other.Key}), 2)
	w.addServer(dep.Server{Key: a.Key})
	w.expectServer(dep.Server{Key: a.Key})
	assert.Empty(w, w.records(dep.Query{Server: a.Key}), "it is another one")
	require.NoError(w, w.DEP.DeleteServer(w.Context(), a.Key))
	require.NoError(w, w.DEP.DeleteServer(w.Context(), a.Key), "twice")
	w.noSuchServer(a.Key)
}

func serverDeletedMany(w *world) {
	const n = 2300
	key, kept := w.added("a"), w.added("kept")
	for _, k := range []dep.Key{key, kept} {
		for from := 0; from < n; from += dep.MaxBatch {
			var page []dep.Record
			for i := from; i < min(n, from+dep.MaxBatch); i++ {
				page = append(page, aRecord(k, numbered("C", i)))
			}
			w.kept(page...)
		}
	}
	other := w.again()
	begun := make(chan struct{})
	var once sync.Once
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			for n := 0; ; n++ {
				r := aRecord(key, fmt.Sprintf("D%d%05d", i, n))
				err := other.DEP.Keep(w.Context(), key, []string{r.Serial}, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) {
					return dep.Kept{Records: []dep.Record{r}}, nil
				})
				once.Do(func() { close(begun) })
				if err != nil {
					assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "%v", err)
					return
				}
			}
		})
	}
	<-begun
	for range 2 { // from two places at once
		group.Go(func() { assert.NoError(w, w.DEP.DeleteServer(w.Context(), key)) })
	}
	group.Wait()
	w.noSuchServer(key)
	w.addServer(dep.Server{Key: key})
	assert.Empty(w, w.records(dep.Query{Server: key, Gone: true}))
	assert.Len(w, w.deviceRecords("tenant", numbered("C", 0)), 1)
	assert.Empty(w, w.deviceRecords("tenant", "D000000"))
	assert.Len(w, w.records(dep.Query{Server: kept}), n)
}

func serverCanceled(w *world) {
	want := fullServer(serverKey("a"))
	w.addServer(want)
	w.kept(aRecord(want.Key, "C02"))
	ctx := canceled()
	require.Error(w, w.DEP.CreateServer(ctx, fullServer(serverKey("b"))))
	_, err := w.DEP.ChangeServer(ctx, want.Key, func(s *dep.Server) error { s.Profile = "x"; return nil })
	require.Error(w, err)
	require.Error(w, w.DEP.Keep(ctx, want.Key, []string{"C02"}, func(s *dep.Server, _ map[string]*dep.Record) (dep.Kept, error) {
		s.Profile = "x"
		return dep.Kept{Records: []dep.Record{aRecord(want.Key, "C03")}}, nil
	}))
	require.Error(w, w.DEP.DeleteServer(ctx, want.Key))
	_, err = w.DEP.DeviceRecords(ctx, "tenant", "C02")
	require.Error(w, err)
	_, err = w.DEP.CountRecords(ctx, want.Key)
	require.Error(w, err)
	n := 0
	for _, err := range w.DEP.Records(ctx, dep.Query{Server: want.Key}) {
		n++
		require.Error(w, err)
	}
	assert.Equal(w, 1, n, "after an error it yields no more")
	w.noServer(serverKey("b"))
	w.expectServer(want)
	assert.Len(w, w.records(dep.Query{Server: want.Key}), 1)
}

func serverRestarted(w *world) {
	want := fullServer(serverKey("a"))
	w.session(needsDEP, func(w *world) { w.addServer(want) })
	w.session(needsDEP, func(w *world) {
		w.expectServer(want)
		want.Sync.Cursor = "next"
		w.keep(want.Key, []string{"C02"}, func(s *dep.Server, _ map[string]*dep.Record) (dep.Kept, error) {
			s.Sync.Cursor = "next"
			return dep.Kept{Records: []dep.Record{fullRecord(want.Key, "C02")}}, nil
		})
	})
	w.session(needsDEP, func(w *world) {
		w.expectServer(want)
		assert.Equal(w, []dep.Record{fullRecord(want.Key, "C02")}, w.records(dep.Query{Server: want.Key, Gone: true}))
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.DEP.CreateServer(w.Context(), want)))
		require.NoError(w, w.DEP.DeleteServer(w.Context(), want.Key))
	})
	w.session(needsDEP, func(w *world) { w.noSuchServer(want.Key) })
}
