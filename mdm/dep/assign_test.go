package dep_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
)

func (w *world) assign() dep.Report {
	w.t.Helper()
	r, err := w.assigner.Assign(w.t.Context(), key)
	require.NoError(w.t, err)
	return r
}

func TestAssignBringsAllToTheServersProfile(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B", "C")
	w.apple.devices["B"] = dep.Device{Model: "iPhone", ProfileUUID: "P", ProfileStatus: dep.ProfilePushed} // since it was synced
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	r := w.assign()
	assert.Equal(t, 2, r.Assigned)
	assert.Equal(t, 1, r.Right)
	assert.Equal(t, [][]string{{"A", "C"}}, w.apple.asked, "who has it is left alone")
	assert.Equal(t, []string{"inventory.assigned A", "inventory.assigned C"}, w.events())
	got := w.record("A")
	assert.Equal(t, "P", got.Device.ProfileUUID)
	assert.Equal(t, dep.StatusSuccess, got.Assignment.Answer)

	w.apple.calls = nil
	assert.Zero(t, w.assign().Assigned)
	assert.Empty(t, w.apple.calls, "nothing is due: Apple is not asked")
}

func TestAssignANewDeviceWhenItIsSynced(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.assign()
	w.apple.devices["B"] = dep.Device{Model: "iPhone"}
	had := op("modified", "A", 2) // Apple says that it was taken away
	had.ProfileStatus = dep.ProfileRemoved
	w.apple.devices["A"] = had
	w.apple.changes["c"] = answer{page: dep.DevicePage{Devices: []dep.Device{op("added", "B", 1), had}, Cursor: "d"}}
	w.sync()
	assert.Equal(t, 2, w.assign().Assigned)
}

func TestAssignWishesOfDevices(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A", "B")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	unknown, err := w.assigner.Want(t.Context(), key, "Q", "B", "X")
	require.NoError(t, err)
	assert.Equal(t, []string{"X"}, unknown)
	w.assign()
	assert.Equal(t, "P", w.record("A").Device.ProfileUUID)
	assert.Equal(t, "Q", w.record("B").Device.ProfileUUID)

	_, err = w.assigner.Want(t.Context(), key, "", "B")
	require.NoError(t, err)
	w.assign()
	assert.Equal(t, "P", w.record("B").Device.ProfileUUID)

	require.NoError(t, w.assigner.SetProfile(t.Context(), key, ""))
	w.apple.calls = nil
	w.assign()
	assert.Empty(t, w.apple.calls)
}

func TestAssignByApplesWord(t *testing.T) {
	t.Parallel()
	tests := []struct {
		word, answer string
		after        time.Duration
		told         bool
	}{
		{dep.StatusFailed, dep.StatusFailed, 5 * time.Minute, false},
		{dep.StatusThrottled, dep.StatusThrottled, time.Hour, false},
		{dep.StatusNotAccessible, dep.StatusNotAccessible, time.Hour, true},
		{"", dep.AnswerNone, 5 * time.Minute, true},
		{"SOMETHING_NEW", "SOMETHING_NEW", 5 * time.Minute, true},
	}
	for _, c := range tests {
		t.Run(c.answer, func(t *testing.T) {
			t.Parallel()
			w := fetched(t, "A", "B")
			require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
			w.apple.statuses["A"] = c.word
			r := w.assign()
			assert.Equal(t, 1, r.Assigned)
			assert.Equal(t, 1, r.Waiting)
			assert.Equal(t, map[string]int{c.answer: 1}, r.Refused)
			got := w.record("A").Assignment
			assert.Equal(t, c.answer, got.Answer)
			assert.Equal(t, start.Add(c.after), got.Due)
			if c.told {
				assert.Contains(t, w.events(), "inventory.refused A")
			}
			w.now = start.Add(c.after - time.Second)
			assert.Zero(t, w.assign().Waiting, "not before")
			delete(w.apple.statuses, "A")
			w.now = start.Add(c.after)
			assert.Equal(t, 1, w.assign().Assigned)
			assert.Zero(t, w.record("A").Assignment.Tries)
		})
	}
}

func TestAssignDoesNotBelieveSuccessAlone(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.applies = false
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	r := w.assign()
	assert.Zero(t, r.Assigned)
	assert.Equal(t, map[string]int{dep.AnswerOther: 1}, r.Refused)
	assert.NotZero(t, w.record("A").Assignment.Due)
}

func TestAssignWaitsAsAppleSays(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.statuses["A"], w.apple.wait = dep.StatusThrottled, 24*time.Hour
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.assign()
	assert.Equal(t, start.Add(24*time.Hour), w.record("A").Assignment.Due)
}

func TestAssignWithoutSuchAProfile(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	w.apple.fails["assign"] = &dep.Error{Status: 404, Code: dep.ErrNotFound}
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	assert.Equal(t, map[string]int{dep.AnswerNoProfile: 1}, w.assign().Refused)
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "Q"))
	delete(w.apple.fails, "assign")
	assert.Equal(t, 1, w.assign().Assigned, "another wish is due at once")
}

func TestAssignFailsAsAWhole(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"details", "assign"} {
		w := fetched(t, "A", "B")
		require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
		w.apple.fails[call] = &dep.Error{Status: 503, Code: dep.ErrUnavailable, RetryAfter: 20 * time.Minute}
		_, err := w.assigner.Assign(t.Context(), key)
		require.ErrorIs(t, err, dep.ErrUnavailable)
		delete(w.apple.fails, call)
		got := w.record("A").Assignment
		assert.Equal(t, start.Add(20*time.Minute), got.Due)
		assert.Zero(t, got.Tries, "no fault of the device")
		w.now = w.now.Add(20 * time.Minute)
		assert.Equal(t, 2, w.assign().Assigned)
	}
}

func TestAssignAfterAProcessThatEnded(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	w.apple.fails["details"] = errors.New("x")
	w.assigner.Store = &noKeep{Store: w.store, after: 3} // judged twice, claimed, then gone
	_, err := w.assigner.Assign(t.Context(), key)
	require.Error(t, err)
	delete(w.apple.fails, "details")
	w.assigner.Store = w.store
	assert.Zero(t, w.assign().Assigned, "they are still the other one's")
	w.now = w.now.Add(10 * time.Minute)
	assert.Equal(t, 1, w.assign().Assigned)
}

func TestAssignManyInBatches(t *testing.T) {
	t.Parallel()
	var serials []string
	for i := range 2500 {
		serials = append(serials, fmt.Sprintf("S%05d", i))
	}
	w := fetched(t, serials...)
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	batches := 0
	w.assigner.Progress = func(dep.Report) { batches++ }
	assert.Equal(t, 2500, w.assign().Assigned)
	assert.Equal(t, 3, batches)
	for _, asked := range w.apple.asked {
		assert.LessOrEqual(t, len(asked), dep.MaxBatch)
	}
	counts, err := w.store.CountRecords(t.Context(), key)
	require.NoError(t, err)
	assert.Equal(t, dep.Counts{Devices: 2500}, counts)
}

func TestAssignDefinesAndRemembersProfiles(t *testing.T) {
	t.Parallel()
	w := fetched(t, "A")
	_, err := w.assigner.Define(t.Context(), key, dep.Profile{Name: "no URL"})
	require.Error(t, err)
	assert.Empty(t, w.apple.calls, "Apple is not asked for what it would refuse")
	uuid, err := w.assigner.Define(t.Context(), key, dep.Profile{Name: "Firm", URL: "https://mdm.example.com/enroll", IsSupervised: true, Devices: []string{"A"}})
	require.NoError(t, err)
	learned, err := w.assigner.Learn(t.Context(), key, "Q")
	require.NoError(t, err)
	profiles := w.server().Profiles
	assert.Equal(t, dep.Profile{Name: "Firm", URL: "https://mdm.example.com/enroll", IsSupervised: true}, profiles[uuid])
	assert.Equal(t, learned, profiles["Q"])
	assert.Empty(t, w.server().Profile, "nothing is assigned by that")
}
