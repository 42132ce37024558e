package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/storage"
)

// depPage is how many devices a victim keeps at once.
const depPage = 40

func depKey(n int) dep.Key { return dep.Key{Tenant: "tenant", Name: fmt.Sprint("server-", n)} }

// keepRound keeps one more round of a page: the same devices and a new one, each with the round, and one event.
func keepRound(stores storage.Stores, key dep.Key) (round int, err error) {
	now := time.Now()
	serials := make([]string, depPage)
	for i := range serials {
		serials[i] = fmt.Sprintf("C%05d", i)
	}
	err = stores.DEP.Keep(context.Background(), key, serials, func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
		round = s.Sync.Round + 1
		s.Sync.Round, s.Sync.Cursor = round, fmt.Sprint(round)
		var k dep.Kept
		for _, serial := range append(serials, fmt.Sprintf("D%05d", round)) {
			r := known[serial]
			if r == nil {
				r = &dep.Record{Server: key, Serial: serial}
			} else if r.Round != round-1 {
				return k, fmt.Errorf("%s was in round %d, not %d", serial, r.Round, round-1)
			}
			r.Tell(dep.Device{SerialNumber: serial}, false, now)
			r.Round = round
			k.Records = append(k.Records, *r)
		}
		k.Events = []mdm.Event{k.Records[depPage].Event(mdm.EventDeviceAdded, now, "")}
		return k, nil
	})
	return round, err
}

// workOnDevices keeps pages of two servers, each from two goroutines, and says what was acknowledged.
func workOnDevices(stores storage.Stores) error {
	failed := make(chan error)
	for n := range 4 {
		go func() {
			for {
				round, err := keepRound(stores, depKey(n%2))
				if err != nil {
					failed <- err
					return
				}
				fmt.Println("kept", n%2, round)
			}
		}()
	}
	return <-failed
}

// KilledKeep kills a process that keeps pages of devices, again and again: what it had acknowledged is there, and of each page the
// server, the records and the event, or nothing.
func KilledKeep(t *testing.T, dsn string, stores storage.Stores) {
	t.Helper()
	for n := range 2 {
		require.NoError(t, stores.DEP.CreateServer(t.Context(), dep.Server{Key: depKey(n), KeyPair: dep.KeyPair{Key: mdm.SecretString("key")}}))
	}
	var acknowledged [2]int
	for range 3 {
		run := victimOf(t, dsn, "devices")
		out, err := run.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, run.Start())
		kill, lines := 10+rand.IntN(40), 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			var n, round int
			_, err := fmt.Sscanf(scanner.Text(), "kept %d %d", &n, &round)
			require.NoError(t, err, scanner.Text())
			acknowledged[n] = max(acknowledged[n], round)
			if lines == kill {
				require.NoError(t, run.Process.Kill())
			}
		}
		_ = run.Wait()
		require.GreaterOrEqual(t, lines, kill, "the victim must have worked until it was killed")
	}
	for n := range 2 { // a database server may have a commit under way: it is waited for
		_, err := stores.DEP.ChangeServer(t.Context(), depKey(n), func(*dep.Server) error { return nil })
		require.NoError(t, err)
	}
	events := map[string]int{}
	log, err := stores.Events.Events(t.Context(), "tenant", 0, 0)
	require.NoError(t, err)
	for _, e := range log {
		events[e.Subject]++
	}
	for n, last := range acknowledged {
		s, err := stores.DEP.Server(t.Context(), depKey(n))
		require.NoError(t, err)
		assert.GreaterOrEqual(t, s.Sync.Round, last, "a page that was acknowledged is lost")
		assert.Equal(t, fmt.Sprint(s.Sync.Round), s.Sync.Cursor)
		assert.Equal(t, s.Sync.Round, events[s.Name], "one event for each page")
		fresh := 0
		for r, err := range stores.DEP.Records(t.Context(), dep.Query{Server: s.Key}) {
			require.NoError(t, err)
			if r.Serial[0] == 'D' {
				fresh++
				assert.Equal(t, fmt.Sprintf("D%05d", r.Round), r.Serial)
			} else {
				assert.Equal(t, s.Sync.Round, r.Round, "all of a page, or nothing")
			}
		}
		assert.Equal(t, s.Sync.Round, fresh)
		_, err = keepRound(stores, s.Key)
		require.NoError(t, err, "it goes on")
	}
}

// KeepBudget holds a page of devices to its number of statements, however many devices a server has.
func KeepBudget(t *testing.T, stores storage.Stores, statements func() int64, newMost, seenMost, unchangedMost int64) {
	t.Helper()
	key := depKey(0)
	require.NoError(t, stores.DEP.CreateServer(t.Context(), dep.Server{Key: key}))
	page := func(n int, write bool) int64 {
		serials := make([]string, dep.MaxBatch)
		for i := range serials {
			serials[i] = fmt.Sprintf("C%04d%04d", i, n)
		}
		before := statements()
		require.NoError(t, stores.DEP.Keep(t.Context(), key, serials, func(s *dep.Server, known map[string]*dep.Record) (k dep.Kept, err error) {
			s.Sync.Fetched++
			for _, serial := range serials {
				r := dep.Record{Server: key, Serial: serial}
				change := r.Tell(dep.Device{SerialNumber: serial}, false, time.Now())
				if write {
					k.Records = append(k.Records, r)
				}
				if known[serial] == nil && change == dep.Added {
					k.Events = append(k.Events, r.Event(mdm.EventDeviceAdded, r.SeenAt, ""))
				}
			}
			return k, nil
		}))
		return statements() - before
	}
	round := func(n int) []int64 { return []int64{page(n, true), page(n, true), page(n, false)} }
	first := round(0)
	for n := range 3 {
		round(1 + n)
	}
	assert.Equal(t, first, round(9), "the cost must not grow with the devices")
	for i, most := range []int64{newMost, seenMost, unchangedMost} {
		assert.LessOrEqual(t, first[i], most, []string{"a page of new devices", "of known ones that are written", "of known ones that are not"}[i])
	}
	t.Logf("statements for %d devices: new %d, written %d, not written %d", dep.MaxBatch, first[0], first[1], first[2])
}
