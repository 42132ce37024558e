package dep_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
)

// odd is an Apple whose details can be changed.
type odd struct {
	*script

	details func(map[string]dep.Device)
}

func (o *odd) DeviceDetails(ctx context.Context, serials []string) (map[string]dep.Device, error) {
	found, err := o.script.DeviceDetails(ctx, serials)
	o.details(found)
	return found, err
}

func (w *world) detailsAre(change func(map[string]dep.Device)) {
	w.Connect = func(dep.Key) dep.Source { return &odd{w.apple, change} }
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
