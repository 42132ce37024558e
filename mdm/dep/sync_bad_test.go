package dep_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/storage/memory"
)

// odd is an Apple whose details can be changed.
type odd struct {
	*script

	details func(map[string]dep.Device)
	changed func()
}

func (o *odd) SyncDevices(ctx context.Context, cursor string, limit int) (dep.DevicePage, error) {
	if o.changed != nil {
		o.changed()
	}
	return o.script.SyncDevices(ctx, cursor, limit)
}

func (o *odd) DeviceDetails(ctx context.Context, serials []string) (map[string]dep.Device, error) {
	found, err := o.script.DeviceDetails(ctx, serials)
	o.details(found)
	return found, err
}

func (w *world) detailsAre(change func(map[string]dep.Device)) {
	w.Connect = func(dep.Key) dep.Source { return &odd{script: w.apple, details: change} }
}

func TestSyncIsNotHeldUpByADeviceThatAppleSaysNothingOf(t *testing.T) {
	t.Parallel()
	changes := map[string]func(map[string]dep.Device){
		"no answer":  func(found map[string]dep.Device) { delete(found, "A") },
		"a new word": func(found map[string]dep.Device) { found["A"] = dep.Device{ResponseStatus: "ON_VACATION"} },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fetched(t, "A", "B")
			w.detailsAre(change)
			w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("?", "A", 1), op("added", "C", 1)}, Cursor: "d"}}
			assert.Equal(t, 1, w.sync().Odd)
			assert.Equal(t, []string{"A", "B", "C"}, w.present(), "the page is kept")

			w.now = w.now.Add(dep.DefaultFullEvery)
			w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("C"), Cursor: "e"}}
			delete(w.apple.devices, "B")
			w.sync()
			assert.Equal(t, []string{"A", "C"}, w.present(), "it stays as it was, and the sweep goes on")
			assert.Equal(t, dep.PhaseChange, w.server().Sync.Phase)
		})
	}
}

func TestSyncTakesADeviceThatIsNotAccessibleForGone(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	w.detailsAre(func(found map[string]dep.Device) { found["A"] = dep.Device{ResponseStatus: dep.StatusNotAccessible} })
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("", "A", 1)}, Cursor: "d"}}
	w.sync()
	assert.Equal(t, []string{"B"}, w.present())
}

func TestSyncLooksUpWhatAppleContradictsItselfAbout(t *testing.T) {
	t.Parallel()
	undated := op("deleted", "A", 0)
	undated.OpDate = time.Time{}
	for name, page := range map[string][]dep.Device{
		"at the same time":    {op("added", "A", 5), op("deleted", "A", 5)},
		"in the other order":  {op("deleted", "A", 5), op("added", "A", 5)},
		"one without a date":  {op("added", "A", 5), undated},
		"none has a date":     {undated},
		"the other without":   {undated, op("modified", "A", 5)},
		"a date not yet":      {op("deleted", "A", 60*24*365)},
		"that and a real one": {op("deleted", "A", 60*24*365), op("modified", "A", 5)},
	} {
		for _, there := range []bool{true, false} {
			w := fetched(t, "A", "B")
			if !there {
				delete(w.apple.devices, "A")
			}
			w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: page, Cursor: "d"}}
			w.sync()
			assert.Contains(t, w.apple.calls, "details", name)
			require.Equal(t, !there, w.record("A").Gone, name)

			// What comes then is newer than a date that was not yet.
			w.now = w.now.Add(time.Hour)
			w.apple.changes["d"] = answer{page: dep.DevicePage{Devices: []dep.Device{op(map[bool]string{true: "deleted", false: "added"}[there], "A", 30)}, Cursor: "e"}}
			w.sync()
			require.Equal(t, there, w.record("A").Gone, name)
		}
	}
}

func TestSyncOfAllSaysWhatIsNowWhateverItsDates(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("deleted", "A", 10)}, Cursor: "d"}}
	w.sync()
	require.True(t, w.record("A").Gone)
	w.now = w.now.Add(dep.DefaultFullEvery)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: []dep.Device{op("added", "A", 1), op("added", "B", 1)}, Cursor: "e"}}
	w.sync()
	assert.Equal(t, []string{"A", "B"}, w.present(), "it was added long ago, and is here")
}

func TestSyncCountsEntriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Unreadable: 3, Cursor: "c"}}
	assert.Equal(t, 3, w.sync().Odd)
}

func TestSyncMakesNoCallThatOutlastsItsLease(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("?", "A", 1)}, Cursor: "d"}}
	looked := 0
	w.Connect = func(dep.Key) dep.Source {
		return &odd{script: w.apple, changed: func() { w.now = w.now.Add(80 * time.Second) }, details: func(map[string]dep.Device) {
			looked++
			assert.GreaterOrEqual(t, w.server().Sync.HeldUntil.Sub(w.now), 90*time.Second, "as long as a call may take")
		}}
	}
	w.sync()
	assert.Equal(t, 1, looked)
}

// twice is a store that never hears that a commit of its has succeeded at once.
type twice struct{ dep.Store }

func (s *twice) Keep(ctx context.Context, k dep.Key, serials []string, keep func(*dep.Server, map[string]*dep.Record) (dep.Kept, error)) error {
	if err := s.Store.Keep(ctx, k, serials, keep); err != nil {
		return err
	}
	return s.Store.Keep(ctx, k, serials, keep)
}

func (s *twice) ChangeServer(ctx context.Context, k dep.Key, change func(*dep.Server) error) (dep.Server, error) {
	if v, err := s.Store.ChangeServer(ctx, k, change); err != nil {
		return v, err
	}
	return s.Store.ChangeServer(ctx, k, change)
}

func TestSyncWhenTheAnswersToCommitsAreLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store = &twice{w.store}
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A", "B"), Cursor: "c1", More: true}}
	w.apple.fetch["c1"] = answer{page: dep.DevicePage{Devices: devices("C"), Cursor: "c2"}}
	w.apple.changes["c2"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("deleted", "A", 1), op("added", "D", 1)}, Cursor: "c3"}}
	p := w.sync()
	assert.Equal(t, []string{"B", "C", "D"}, w.present())
	assert.Equal(t, dep.Tally{Told: 5, Added: 4, Removed: 1}, p.Tally)
	assert.Equal(t, 3, w.server().Sync.Fetched)
	assert.Equal(t, []string{"inventory.added A", "inventory.added B", "inventory.added C", "inventory.removed A", "inventory.added D"}, w.events())

	w.apple.fails["account"] = &dep.Error{Status: 403, Code: dep.ErrTermsNotSigned}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrTermsNotSigned)
	delete(w.apple.fails, "account")
	w.now = w.now.Add(dep.DefaultFullEvery)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("C", "D"), Cursor: "c4"}}
	w.sync()
	assert.Equal(t, []string{"C", "D"}, w.present())
	assert.Equal(t, []string{"inventory.stopped ", "inventory.removed B", "inventory.goes-on "}, w.events())
}

func TestSyncWithoutACursorForChangesFetchesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{}} // of a server without devices
	w.sync()
	assert.Equal(t, []string{"account", "fetch "}, w.apple.calls, "changes cannot be asked for without a cursor")
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c"}}
	w.sync()
	assert.Equal(t, []string{"A"}, w.present())
}

func TestSyncAfterAClockThatWasWrong(t *testing.T) {
	t.Parallel()
	later := start.AddDate(5, 0, 0)
	for name, wrong := range map[string]func(*dep.Sync){
		"the lease":        func(s *dep.Sync) { s.Holder, s.HeldUntil = "a process that was killed", later },
		"the pause":        func(s *dep.Sync) { s.NotBefore = later },
		"the fetch of all": func(s *dep.Sync) { s.FetchedAt = later },
		"all of them":      func(s *dep.Sync) { s.Holder, s.HeldUntil, s.NotBefore, s.FetchedAt = "x", later, later, later },
	} {
		w := fetched(t, "A")
		w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A", "B"), Cursor: "d"}}
		_, err := w.store.ChangeServer(t.Context(), key, func(v *dep.Server) error {
			wrong(&v.Sync)
			return nil
		})
		require.NoError(t, err)
		w.sync()
		if w.server().Sync.FetchedAt.Equal(later) {
			t.Error(name)
		}
	}
}

func TestSyncTellsThatAServerGoesOnWithANewToken(t *testing.T) {
	t.Parallel()
	apple := mdmtest.NewABM()
	defer apple.Close()
	store := memory.New()
	at := apple.Server("MDM")
	v, err := dep.Enlist(t.Context(), store.Stores().DEP, key, start)
	require.NoError(t, err)
	_, err = dep.Import(t.Context(), store.Stores().DEP, key, apple.Token(at, v.KeyPair.Certificate), false, start)
	require.NoError(t, err)
	w := &world{t: t, db: store, store: store.Stores().DEP, apple: &script{fails: map[string]error{}, fetch: map[string]answer{"": {}}}, now: start}
	w.Syncer = dep.Syncer{Store: w.store, Connect: func(dep.Key) dep.Source { return w.apple }, Clock: func() time.Time { return w.now }}
	w.apple.fails["account"] = &dep.Error{Status: 401, Reason: dep.ErrTokenRefused}
	_, err = w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrTokenRefused)
	_, err = dep.Import(t.Context(), w.store, key, apple.Token(at, v.KeyPair.Certificate), false, start)
	require.NoError(t, err)
	delete(w.apple.fails, "account")
	w.sync()
	assert.Nil(t, w.server().Stopped)
	assert.Equal(t, []string{"inventory.stopped ", "inventory.goes-on "}, w.events())
}

func TestSyncWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.ChangeServer(t.Context(), key, func(v *dep.Server) error {
		v.Token = dep.Token{}
		return nil
	})
	require.NoError(t, err)
	_, err = w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrNoToken)
	_, person := dep.AsProblem(err)
	assert.True(t, person, "somebody has to import one")
}

func TestSyncBoundsWhatItKeepsOfAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("x", 1<<20)
	w.apple.account = dep.Account{ServerUUID: "UUID-1", OrgName: long, Extra: map[string]json.RawMessage{"x": json.RawMessage(`"` + long + `"`)},
		URLs: slices.Repeat([]dep.URLLimit{{URI: long[:9999], Methods: slices.Repeat([]string{long[:9999]}, 20)}}, 100)}
	w.sync()
	v := w.server()
	body, err := v.Body()
	require.NoError(t, err)
	assert.Less(t, len(body), dep.MaxBody)
	assert.Equal(t, "UUID-1", v.Account.ServerUUID)
}

func TestSyncOfTextThatIsNoUTF8IsNoNewsTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	odd := devices("A")
	odd[0].Extra = map[string]json.RawMessage{"x": json.RawMessage("\"\xff<\"")}
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: odd, Cursor: "c"}}
	w.sync()
	assert.Equal(t, []string{"inventory.added A"}, w.events())
	w.now = w.now.Add(dep.DefaultFullEvery)
	w.sync()
	assert.Empty(t, w.events())
}

func TestRunEndsWithoutAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c"}}
	var said bytes.Buffer
	w.Logger = slog.New(slog.NewTextHandler(&said, nil))
	ctx, stop := context.WithCancel(t.Context())
	w.Handle = func(ctx context.Context, _ dep.Key, _ []dep.Told) error {
		stop()
		return ctx.Err()
	}
	require.ErrorIs(t, w.Run(ctx), context.Canceled)
	assert.NotContains(t, said.String(), "ERROR")
	assert.Empty(t, w.server().Sync.Holder, "the lease was given back")
}

func TestSyncStopsInACircleOfManyCursors(t *testing.T) {
	t.Parallel()
	for _, length := range []int{2, 3, 7, 30} {
		w := newWorld(t)
		w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c0", More: true}}
		for i := range length {
			w.apple.fetch[fmt.Sprint("c", i)] = answer{page: dep.DevicePage{Devices: devices("A", fmt.Sprint("D", i)), Cursor: fmt.Sprint("c", (i+1)%length), More: true}}
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := w.Sync(ctx, key)
		stop()
		require.ErrorIs(t, err, dep.ErrLoop)
		assert.Len(t, w.present(), length+1, "what was told is kept")
		assert.Less(t, len(w.apple.calls), 5*length+5)
	}
}

func TestSyncDoesNotForgetWhoseServerItIs(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.account = dep.Account{}
	w.sync()
	assert.Equal(t, "UUID-1", w.server().Account.ServerUUID)
	w.apple.account = dep.Account{ServerUUID: "UUID-2"}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrOtherServer)
}
