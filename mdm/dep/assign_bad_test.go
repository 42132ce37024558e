package dep_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// hooked is an Apple with something done at each call.
type hooked struct {
	*script

	details, assign func()
	refuse          map[string]error // by the UUID of a profile
	change          func(map[string]dep.Device)
}

func (h *hooked) DeviceDetails(ctx context.Context, serials []string) (map[string]dep.Device, error) {
	found, err := h.script.DeviceDetails(ctx, serials)
	if h.details != nil {
		h.details()
	}
	if h.change != nil {
		h.change(found)
	}
	return found, err
}

func (h *hooked) AssignProfile(ctx context.Context, uuid string, serials []string) (dep.Assigned, error) {
	if h.assign != nil {
		h.assign()
	}
	if err := h.refuse[uuid]; err != nil {
		return dep.Assigned{}, err
	}
	return h.script.AssignProfile(ctx, uuid, serials)
}

func (w *world) hook(h hooked) {
	h.script = w.apple
	w.assigner.Connect = func(dep.Key) dep.Profiles { return &h }
}

func TestAssignWhenTheAnswersToCommitsAreLost(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	w.assigner.Store = &twice{w.store}
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.apple.statuses["B"] = dep.StatusNotAccessible
	r := w.assign()
	assert.Equal(t, 1, r.Assigned)
	assert.Equal(t, map[string]int{dep.StatusNotAccessible: 1}, r.Refused)
	assert.Equal(t, []string{"inventory.assigned A", "inventory.refused B"}, w.events(), "once")
	assert.Equal(t, 1, w.record("B").Assignment.Tries)
}

func TestAssignOfAProfileThatAppleRefusesDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	_, err := w.assigner.Want(t.Context(), key, "Q", "B")
	require.NoError(t, err)
	for want, refusal := range map[string]error{
		"CONFIG_URL_INVALID": &dep.Error{Status: 400, Code: "CONFIG_URL_INVALID"},
		dep.AnswerRefused:    &dep.Error{Status: 400, Text: "no"},
	} {
		w.hook(hooked{refuse: map[string]error{"Q": refusal}})
		w.now = w.now.Add(24 * time.Hour)
		assert.Equal(t, map[string]int{want: 1}, w.assign().Refused)
		assert.Equal(t, "P", w.record("A").Device.ProfileUUID)
	}
}

func TestAssignTakesNoUUIDThatCannotBeOne(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.Error(t, w.assigner.SetProfile(t.Context(), key, "no UUID"))
	_, err := w.assigner.Want(t.Context(), key, "no UUID", "A")
	require.Error(t, err)
	assert.Empty(t, w.record("A").Want)
	unknown, err := w.assigner.Want(t.Context(), key, "P", "A", "X", "A", "X")
	require.NoError(t, err, "a device may be named twice")
	assert.Equal(t, []string{"X"}, unknown)
}

func TestAssignAfterAFailureIsSoonTriedAgainForAll(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B", "C")
	for uuid, serial := range map[string]string{"P": "A", "Q": "B", "R": "C"} {
		_, err := w.assigner.Want(t.Context(), key, uuid, serial)
		require.NoError(t, err)
	}
	w.apple.fails["details"] = errors.New("connection reset")
	_, err := w.assigner.Assign(t.Context(), key)
	require.Error(t, err)
	for _, serial := range []string{"A", "B", "C"} {
		assert.Equal(t, start.Add(5*time.Minute), w.record(serial).Assignment.Due)
	}
}

func TestAssignEndsIfTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.apple.statuses["A"] = dep.StatusThrottled
	w.hook(hooked{assign: func() {
		require.Less(t, len(w.apple.asked), 2, "a device that Apple puts off is asked for again at once")
		w.now = w.now.Add(-3 * time.Hour)
	}})
	assert.Equal(t, 1, w.assign().Waiting)
}

func TestAssignAsksAgainOnlyWhatMayHaveChanged(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.statuses["A"] = dep.StatusThrottled
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.assign()
	assert.Equal(t, []string{"details", "assign"}, w.apple.calls)
}

func TestAssignDoesNotUndoWhatASyncHeardMeanwhile(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	looked := 0
	w.hook(hooked{details: func() {
		if looked++; looked != 2 {
			return
		}
		// Apple has answered that A has P. Before that is heard it is taken away, and a sync tells so.
		taken := op("modified", "A", 1)
		taken.ProfileStatus = dep.ProfileRemoved
		w.apple.devices["A"] = taken
		w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{taken}, Cursor: "d"}}
		w.now = w.now.Add(time.Second)
		w.sync()
		w.now = w.now.Add(time.Second)
	}})
	w.assign()
	assert.False(t, w.record("A").Assignment.Due.IsZero(), "it is due again")
	assert.Equal(t, dep.ProfileRemoved, w.record("A").Device.ProfileStatus)
	w.hook(hooked{})
	assert.Equal(t, 1, w.assign().Assigned)
	assert.Equal(t, "P", w.record("A").Device.ProfileUUID)
}

func TestAssignLeavesAloneWhoseStateAppleDoesNotSay(t *testing.T) {
	t.Parallel()
	for _, status := range []dep.ProfileStatus{"", "a new word"} {
		w := fetched(t, "A")
		w.apple.devices["A"] = dep.Device{ProfileUUID: "P", ProfileStatus: status, OpDate: start.Add(-time.Hour)}
		require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
		w.hook(hooked{change: func(found map[string]dep.Device) {
			d := found["A"]
			d.ResponseStatus = ""
			found["A"] = d
		}})
		assert.Equal(t, 1, w.assign().Right)
		assert.Empty(t, w.apple.asked)
		assert.Equal(t, "P", w.record("A").Device.ProfileUUID)
		w.apple.calls = nil
		w.now = w.now.Add(time.Hour)
		require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
		w.assign()
		assert.Empty(t, w.apple.calls, "it is right")
	}
}

func TestAssignTellsThatAServerGoesOn(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.apple.fails["details"] = &dep.Error{Status: 403, Code: dep.ErrTermsNotSigned}
	_, err := w.assigner.Assign(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrTermsNotSigned)
	require.NotNil(t, w.server().Stopped)
	delete(w.apple.fails, "details")
	w.now = w.now.Add(time.Hour)
	w.assign()
	assert.Nil(t, w.server().Stopped)
	assert.Equal(t, []string{"inventory.stopped ", "inventory.assigned A", "inventory.goes-on "}, w.events())
}

func TestAssignOfManyThatAreNotDueAnyMore(t *testing.T) {
	t.Parallel()
	var serials []string
	for i := range 3500 {
		serials = append(serials, fmt.Sprintf("S%05d", i))
	}
	w := fetched(t, serials...)
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.apple.fails["details"] = errors.New("connection reset")
	_, err := w.assigner.Assign(t.Context(), key) // all are judged
	require.Error(t, err)
	w.now = w.now.Add(time.Hour)
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, ""))
	w.apple.calls = nil
	w.assign()
	assert.Empty(t, w.apple.calls)
	counts, err := w.store.CountRecords(t.Context(), key)
	require.NoError(t, err)
	assert.Zero(t, counts.Due)
}

func TestJudgeOfAPauseThatAWrongClockMade(t *testing.T) {
	t.Parallel()
	r := dep.Record{Assignment: dep.Assignment{Due: start.AddDate(3, 0, 0), Profile: "P", Tries: 2}}
	r.Judge(&dep.Server{Profile: "P"}, start)
	assert.Equal(t, start, r.Assignment.Due)
	r.Assignment.Due = start.Add(48 * time.Hour)
	r.Judge(&dep.Server{Profile: "P"}, start)
	assert.Equal(t, start.Add(48*time.Hour), r.Assignment.Due, "as long as Apple may put it off")
}

func TestAssignRemembersNotTooManyProfiles(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	large := dep.Profile{URL: "https://mdm.example.com/ade", SkipSetupItems: slices.Repeat([]string{strings.Repeat("x", 250)}, 500)}
	var err error
	var uuids []string
	for i := 0; err == nil; i++ {
		var uuid string
		large.Name = fmt.Sprint(i)
		w.apple.calls = nil
		uuid, err = w.assigner.Define(t.Context(), key, large)
		uuids = append(uuids, uuid)
		require.Less(t, i, 20)
	}
	require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Empty(t, w.apple.calls, "it is not defined in vain")
	w.sync()
	require.NoError(t, w.assigner.Forget(t.Context(), key, uuids[0], "unknown"))
	assert.NotContains(t, w.server().Profiles, uuids[0])
	_, err = w.assigner.Define(t.Context(), key, large)
	require.NoError(t, err)
}

func TestAssignSoonTriesADeviceAgainThatAppleDoesNotKnowYet(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.assign()
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("added", "NEW", 1)}, Cursor: "d"}}
	w.apple.statuses["NEW"] = dep.StatusNotAccessible // and details say NOT_FOUND
	w.now = w.now.Add(2 * time.Minute)
	w.sync()
	w.events()
	assert.Equal(t, map[string]int{dep.StatusNotAccessible: 1}, w.assign().Refused)
	got := w.record("NEW")
	assert.False(t, got.Gone)
	assert.Equal(t, dep.StatusNotAccessible, got.Assignment.Answer)
	assert.Equal(t, w.now.Add(5*time.Minute), got.Assignment.Due)
	assert.Empty(t, w.events(), "nobody has to hear of it yet")

	delete(w.apple.statuses, "NEW")
	w.apple.devices["NEW"] = dep.Device{Model: "iPhone"}
	w.now = w.now.Add(5 * time.Minute)
	assert.Equal(t, 1, w.assign().Assigned)
}

func TestAssignOfManyDoesNotHoldUpOtherServers(t *testing.T) {
	t.Parallel()
	var serials []string
	for i := range 3000 {
		serials = append(serials, fmt.Sprintf("S%05d", i))
	}
	w := fetched(t, serials...)
	other := dep.Key{Name: "other"} // it comes after the first
	require.NoError(t, w.store.CreateServer(t.Context(), dep.Server{Key: other, Token: w.server().Token}))
	apple := &script{fetch: map[string]answer{"": {page: dep.DevicePage{Devices: devices("Z"), Cursor: "c"}}}}
	_, err := (&dep.Syncer{Store: w.store, Connect: func(dep.Key) dep.Source { return apple }}).Sync(t.Context(), other)
	require.NoError(t, err)
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	require.NoError(t, w.assigner.SetProfile(t.Context(), other, "Q"))
	w.apple.devices["Z"] = dep.Device{}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.assigner.Every = time.Millisecond
	w.hook(hooked{assign: func() { w.now = w.now.Add(10 * time.Minute) }})
	var order []string
	w.assigner.Progress = func(r dep.Report) {
		if order = append(order, r.Server.Name); r.Server == other {
			stop()
		}
	}
	require.ErrorIs(t, w.assigner.Run(ctx), context.Canceled)
	assert.Equal(t, []string{"main", "other"}, order)
}
