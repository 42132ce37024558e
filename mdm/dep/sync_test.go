package dep_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
)

func TestSyncFetchesAllThenAsksForChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A", "B"), Cursor: "c1", More: true}}
	w.apple.fetch["c1"] = answer{page: dep.DevicePage{Devices: devices("C"), Cursor: "c2", FetchedUntil: start}}
	w.apple.changes["c2"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("added", "D", 1)}, Cursor: "c3"}}
	var seen []dep.Progress
	w.Progress = func(p dep.Progress) { seen = append(seen, p) }

	p := w.sync()
	assert.Equal(t, []string{"A", "B", "C", "D"}, w.present())
	assert.Equal(t, dep.Tally{Told: 4, Added: 4}, p.Tally)
	assert.Equal(t, []string{"account", "fetch ", "fetch c1", "sync c2"}, w.apple.calls)
	assert.Equal(t, []string{"inventory.added A", "inventory.added B", "inventory.added C", "inventory.added D"}, w.events())
	require.Len(t, seen, 3, "progress after each page")
	assert.Equal(t, 2, seen[0].Fetched)
	at := w.server().Sync
	assert.Equal(t, dep.PhaseChange, at.Phase)
	assert.Equal(t, "c3", at.Cursor)
	assert.Equal(t, start, at.Until)
	assert.Empty(t, at.Holder, "the lease was given back")

	w.apple.calls = nil
	assert.Zero(t, w.sync().Tally, "nothing happened since")
	assert.Equal(t, []string{"account", "sync c3"}, w.apple.calls)
	assert.Empty(t, w.events())
}

func TestSyncFoldsByApplesDates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pages [][]dep.Device
		want  []string
		event []string
	}{
		{"in one page, in any order", [][]dep.Device{{op("deleted", "A", 2), op("added", "A", 1), op("added", "B", 3), op("deleted", "B", 1)}}, []string{"B"}, []string{"inventory.removed A"}},
		{"over pages", [][]dep.Device{{op("deleted", "A", 5)}, {op("added", "A", 4)}}, []string{"B"}, []string{"inventory.removed A"}},
		{"back again", [][]dep.Device{{op("deleted", "A", 5)}, {op("added", "A", 6)}}, []string{"A", "B"}, []string{"inventory.removed A", "inventory.added A"}},
		{"twice the same", [][]dep.Device{{op("added", "C", 5)}, {op("added", "C", 5)}}, []string{"A", "B", "C"}, []string{"inventory.added C"}},
		{"gone before it was known", [][]dep.Device{{op("deleted", "C", 5)}, {op("added", "C", 4)}}, []string{"A", "B"}, nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := fetched(t, "A", "B")
			cursor := "c"
			for i, page := range c.pages {
				next := cursor + "+"
				w.apple.changes[cursor] = answer{page: dep.DevicePage{Devices: page, Cursor: next, More: i < len(c.pages)-1}}
				cursor = next
			}
			w.sync()
			assert.Equal(t, c.want, w.present())
			assert.Equal(t, c.event, w.events())
		})
	}
}

func TestSyncLooksUpWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("", "A", 1), op("transmogrified", "B", 1), op("", "C", 1)}, Cursor: "d"}}
	delete(w.apple.devices, "A") // it is released
	w.apple.devices["B"] = dep.Device{Model: "iPhone", AssetTag: "7"}
	w.apple.devices["C"] = dep.Device{Model: "iPhone"}
	w.sync()
	assert.Equal(t, []string{"B", "C"}, w.present())
	assert.Equal(t, "7", w.record("B").Device.AssetTag)
	assert.Equal(t, []string{"inventory.removed A", "inventory.modified B", "inventory.added C"}, w.events())
}

func TestSyncAfterABadCursorFetchesAll(t *testing.T) {
	t.Parallel()
	for _, code := range []dep.Code{dep.ErrExpiredCursor, dep.ErrInvalidCursor, dep.ErrCursorRequired} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			w := fetched(t, "A", "B", "C")
			w.apple.changes["c"] = answer{err: &dep.Error{Status: 400, Code: code}}
			w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("C", "D"), Cursor: "e"}}
			delete(w.apple.devices, "A") // B is missing in the fetch, but Apple knows it if it is asked: it cools down
			w.sync()
			assert.Equal(t, []string{"B", "C", "D"}, w.present())
			assert.ElementsMatch(t, []string{"inventory.added D", "inventory.removed A"}, w.events())
			assert.True(t, w.record("A").Gone)
			assert.Equal(t, []string{"account", "sync c", "fetch ", "details", "sync e"}, w.apple.calls)
		})
	}
}

func TestSyncGivesUpOnCursorsThatAreAlwaysBad(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.changes["c"] = answer{err: &dep.Error{Status: 400, Code: dep.ErrExpiredCursor}}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrExpiredCursor)
	assert.Equal(t, []string{"account", "sync c", "fetch ", "sync c"}, w.apple.calls, "all are fetched once, which is much")
	assert.Equal(t, []string{"A"}, w.present())

	w.now = w.now.Add(time.Minute)
	_, err = w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrThrottled)
	assert.Len(t, w.apple.calls, 4, "Apple is left alone for a while")
	w.now = w.now.Add(time.Hour)
	delete(w.apple.changes, "c")
	w.sync()
}

func TestSyncStopsInALoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c", More: true}}
	w.apple.fetch["c"] = answer{page: dep.DevicePage{Devices: devices("B"), Cursor: "c", More: true}}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrLoop)
	assert.Equal(t, []string{"A", "B"}, w.present(), "what was told is kept")
	assert.Equal(t, []string{"account", "fetch ", "fetch c"}, w.apple.calls)

	_, err = w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrThrottled, "it waits before it tries again")
	w.now = w.now.Add(time.Hour)
	w.apple.fetch["c"] = answer{page: dep.DevicePage{Devices: devices("B"), Cursor: "d"}}
	w.sync()

	empty := newWorld(t)
	for i := range 100 {
		empty.apple.fetch[string(rune('a'+i))] = answer{page: dep.DevicePage{Cursor: string(rune('a' + i + 1)), More: true}}
	}
	empty.apple.fetch[""] = answer{page: dep.DevicePage{Cursor: "a", More: true}}
	_, err = empty.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrLoop, "pages with nothing in them")
}

func TestSyncKeepsNothingThatItsHandlerDidNotTake(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("added", "B", 1)}, Cursor: "d"}}
	broken := errors.New("my database is down")
	var heard []dep.Told
	w.Handle = func(_ context.Context, k dep.Key, told []dep.Told) error {
		assert.Equal(t, key, k)
		heard = append(heard, told...)
		return broken
	}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, broken)
	assert.Equal(t, []string{"A"}, w.present())
	assert.Equal(t, "c", w.server().Sync.Cursor, "the page comes again")
	assert.Empty(t, w.events())

	broken = nil
	w.sync()
	assert.Equal(t, []string{"A", "B"}, w.present())
	assert.Len(t, heard, 2, "at least once")
}

func TestSyncIsOneProcesssAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c"}}
	other := &dep.Syncer{Store: w.Store, Connect: w.Connect, Clock: w.Clock}
	w.Handle = func(context.Context, dep.Key, []dep.Told) error {
		_, err := other.Sync(t.Context(), key)
		require.ErrorIs(t, err, dep.ErrHeld)
		return nil
	}
	w.sync()

	// The lease of one that is too slow ends; the other takes over, and what the slow one brings late is not kept.
	w = newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c"}}
	other = &dep.Syncer{Store: w.Store, Connect: w.Connect, Clock: w.Clock}
	w.Handle = func(context.Context, dep.Key, []dep.Told) error {
		w.now = w.now.Add(dep.DefaultLease + time.Second)
		_, err := other.Sync(t.Context(), key)
		require.NoError(t, err)
		return nil
	}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrLost)
	assert.Equal(t, []string{"inventory.added A"}, w.events(), "once")
}

// A step that takes longer than the lease keeps it, and one whose lease was taken all the same is told.
func TestSyncHoldsItsLeaseOverALongStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Clock, w.apple.fetch[""] = nil, answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c"}}
		other := &dep.Syncer{Store: w.Store, Connect: w.Connect}
		w.Handle = func(ctx context.Context, _ dep.Key, _ []dep.Told) error {
			time.Sleep(10 * dep.DefaultLease)
			_, err := other.Sync(ctx, key)
			require.ErrorIs(t, err, dep.ErrHeld)
			return nil
		}
		w.sync()

		require.NoError(t, w.Full(t.Context(), key))
		w.Handle = func(ctx context.Context, _ dep.Key, _ []dep.Told) error {
			_, err := w.store.ChangeServer(t.Context(), key, func(v *dep.Server) error {
				v.Sync.Holder = "somebody else"
				return nil
			})
			require.NoError(t, err)
			<-ctx.Done()
			return ctx.Err()
		}
		_, err := w.Sync(t.Context(), key)
		require.ErrorIs(t, err, dep.ErrLost)
		assert.Equal(t, "somebody else", w.server().Sync.Holder)
	})
}

func TestSyncStartsAgainWhenItIsToldToInBetween(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("deleted", "A", 1)}, Cursor: "d"}}
	w.Handle = func(context.Context, dep.Key, []dep.Told) error { return w.Full(t.Context(), key) }
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrLost)
	w.Handle = nil
	w.apple.calls = nil
	w.sync()
	assert.Contains(t, w.apple.calls, "fetch ")
}

func TestSyncSaysWhatSomebodyHasToDo(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.fails["account"] = &dep.Error{Call: "GET /session", Status: 403, Code: dep.ErrTermsNotSigned}
	for range 3 {
		_, err := w.Sync(t.Context(), key)
		require.ErrorIs(t, err, dep.ErrTermsNotSigned)
		w.now = w.now.Add(time.Hour)
	}
	assert.Equal(t, []string{"inventory.stopped "}, w.events(), "once")
	stopped := w.server().Stopped
	require.NotNil(t, stopped)
	assert.Equal(t, "T_C_NOT_SIGNED", stopped.Code)
	assert.Contains(t, stopped.Text, "Apple Business Manager")
	assert.Equal(t, start, stopped.Since)

	w.apple.fails["account"] = errors.New("connection reset") // which is no news about the terms
	_, err := w.Sync(t.Context(), key)
	require.Error(t, err)
	assert.NotNil(t, w.server().Stopped)

	delete(w.apple.fails, "account")
	w.sync()
	assert.Nil(t, w.server().Stopped)
	assert.Equal(t, []string{"inventory.goes-on "}, w.events())
	assert.Equal(t, []string{"A"}, w.present())
}

func TestSyncWaitsAsApplesSays(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.fails["sync c"] = &dep.Error{Status: 429, Code: dep.ErrThrottled, RetryAfter: 90 * time.Minute}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrThrottled)
	delete(w.apple.fails, "sync c")
	w.apple.calls = nil
	w.now = w.now.Add(89 * time.Minute)
	_, err = w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrThrottled)
	assert.Equal(t, time.Minute, dep.RetryAfter(err))
	assert.Empty(t, w.apple.calls)
	w.now = w.now.Add(time.Minute)
	w.sync()
}

func TestSyncOfAnotherOrganization(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	w.apple.account.ServerUUID = "UUID-2"
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("deleted", "A", 1)}, Cursor: "d"}}
	_, err := w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrOtherServer)
	assert.Equal(t, []string{"A", "B"}, w.present())
	require.NotNil(t, w.server().Stopped, "it is for somebody to see")
	assert.Equal(t, "OTHER_SERVER", w.server().Stopped.Code)
	assert.Equal(t, []string{"inventory.stopped "}, w.events())
}

func TestSyncLeavesOddDevicesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := string(slices.Repeat([]byte("X"), 65))
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("", "A\nB", long, "OK"), Cursor: "c"}}
	p := w.sync()
	assert.Equal(t, 3, p.Odd)
	assert.Equal(t, []string{"OK"}, w.present())
}

func TestSyncFetchesAllFromTimeToTime(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.now = w.now.Add(dep.DefaultFullEvery - time.Second)
	w.sync()
	assert.NotContains(t, w.apple.calls, "fetch ")
	w.now = w.now.Add(time.Second)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A", "forgotten"), Cursor: "c"}}
	w.sync()
	assert.Contains(t, w.apple.calls, "fetch ")
	assert.Equal(t, []string{"A", "forgotten"}, w.present(), "a change that Apple did not tell of")
	assert.Equal(t, w.now, w.server().Sync.FetchedAt)
}

func TestSyncWithoutAnAnswerAboutADeviceKeepsIt(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("?", "A", 1)}, Cursor: "d"}}
	w.apple.fails["details"] = &dep.Error{Status: 500}
	_, err := w.Sync(t.Context(), key)
	require.Error(t, err)
	assert.Equal(t, []string{"A", "B"}, w.present())
	assert.Equal(t, "c", w.server().Sync.Cursor)
}

func TestRunSyncsUntilItIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Clock, w.Every = nil, time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("A"), Cursor: "c"}}
	rounds := make(chan struct{}, 100)
	w.Progress = func(dep.Progress) {
		select {
		case rounds <- struct{}{}:
		default:
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for range 5 {
		<-rounds
	}
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
	assert.Equal(t, []string{"A"}, w.present())
}

func TestSyncBoundsWhatItKeepsOfADevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	huge := dep.Device{SerialNumber: "H", Model: strings.Repeat("ü", 3<<20), IMEI: slices.Repeat([]string{strings.Repeat("1", 1<<20)}, 100),
		Extra: map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("y", 1<<20) + `"`)}}
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: append(devices("A"), huge), Cursor: "c"}}
	w.sync()
	assert.Equal(t, []string{"A", "H"}, w.present(), "one device does not hold up the others")
	body, err := w.record("H").Body()
	require.NoError(t, err)
	assert.Less(t, len(body), 32<<10)
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("modified", "A", 1), huge}, Cursor: "d"}}
	w.apple.devices["H"] = huge
	w.events()
	w.sync()
	assert.Empty(t, w.events(), "nothing is new about it")
}

// leaving is an Apple in whose call the process ends.
type leaving struct {
	*script
	stop func()
}

func (l leaving) Account(ctx context.Context) (dep.Account, error) {
	l.stop()
	return dep.Account{}, ctx.Err()
}

func TestRunTellsOfNoFailureWhenItIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log bytes.Buffer
	w.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w.Connect = func(dep.Key) dep.Source { return leaving{w.apple, stop} }
	require.ErrorIs(t, w.Run(ctx), context.Canceled)
	assert.Empty(t, log.String())
}
