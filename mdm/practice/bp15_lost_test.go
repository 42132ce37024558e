package practice_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
)

// withLostMode starts a server with a Guard and Lost Mode.
func withLostMode(plain *lab) (*guardLab, *practice.LostMode) {
	lost := &practice.LostMode{Roster: plain.stores.Roster}
	return guarded(plain, func(g *practice.Guard) { g.Limit = -1 }, lost.Workflows()...), lost
}

// isLost reports whether the guard refuses for that.
func (l *guardLab) isLost(d *mdmtest.Device) bool {
	l.Helper()
	_, err := l.Release(l.Context(), practice.ReleaseRequest{Secret: practice.GuardActivationLockBypass, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true})
	require.Error(l, err)
	if mdm.CodeOf(err) == mdm.Forbidden {
		require.ErrorContains(l, err, "the device is marked lost")
		return true
	}
	require.Equal(l, mdm.NotFound, mdm.CodeOf(err), "%v", err)
	return false
}

func (l *guardLab) found(d *mdmtest.Device) error {
	return l.Found(l.Context(), practice.FoundRequest{Enrollment: id(d), Actor: "bob", Reason: "it lies here"})
}

// passes lets a moment pass.
func (l *guardLab) passes(devices ...*mdmtest.Device) { l.leap(time.Minute, devices...) }

func TestLostUntilItIsSeenToBeOff(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l, lost := withLostMode(plain)
		d, other := l.phone(), l.phone()
		assert.False(t, l.isLost(d))
		r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		l.settle(d)
		assert.True(t, l.isLost(d))
		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostEnd, "ada", "found"))
		l.flush()
		assert.True(t, l.isLost(d), "that it was told to leave it is not that it did")
		forbidden(t, l.found(d))
		l.settle(d)
		assert.Equal(t, workflow.Done, l.lab.run(r.ID).Status)
		assert.False(t, l.isLost(d))
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(l.found(d)), "it is not lost")
		assert.False(t, l.isLost(other))
		assert.NotContains(t, l.audited(), practice.GuardFound)
	})
}

func TestLostAfterARunThatFailedOrWasCanceled(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l, lost := withLostMode(plain)
		refusing := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "DeviceInformation" {
				return mdmtest.Answer{Fields: map[string]any{"QueryResponses": map[string]any{"IsSupervised": false}}}
			}
			return mdmtest.Answer{}
		}})
		canceled, wiped, never := l.phone(), l.earthly(mdmtest.Config{}), l.phone()
		l.settle(l.devices...)
		runs := map[*mdmtest.Device]string{}
		for _, d := range []*mdmtest.Device{refusing, canceled, wiped} {
			r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
			require.NoError(t, err)
			runs[d] = r.ID
		}
		l.settle(l.devices...)
		l.passes()
		_, err := l.server.Workflows().Cancel(t.Context(), "", runs[canceled], "the operator's wish")
		require.NoError(t, err)
		assert.True(t, l.isLost(canceled), "at once, whatever was delivered")
		wiped.Wipe()
		require.NoError(t, wiped.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(l.devices...)
		for d, status := range map[*mdmtest.Device]workflow.Status{refusing: workflow.Failed, canceled: workflow.Canceled, wiped: workflow.Canceled} {
			assert.Equal(t, status, l.lab.run(runs[d]).Status)
			assert.True(t, l.isLost(d), status)
		}
		assert.False(t, l.isLost(never))

		// Somebody has it.
		for _, r := range []practice.FoundRequest{{Enrollment: id(canceled), Actor: "bob"}, {Enrollment: id(canceled), Reason: "r"}, {Actor: "bob", Reason: "r"}} {
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(l.Found(t.Context(), r)))
		}
		assert.True(t, l.isLost(canceled))
		before := len(l.audited())
		require.NoError(t, l.found(canceled))
		assert.Equal(t, []string{practice.GuardFound}, l.audited()[before:])
		assert.False(t, l.isLost(canceled), "from that moment on")
		l.passes(canceled)
		assert.False(t, l.isLost(canceled))
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(l.found(canceled)))
		assert.True(t, l.isLost(refusing), "another one")

		// It is lost again, and then seen to be out of it: both count.
		r, err := lost.Begin(t.Context(), l.server.Workflows(), id(canceled), lostOrder)
		require.NoError(t, err)
		l.settle(canceled)
		assert.True(t, l.isLost(canceled))
		l.passes(canceled)
		_, err = l.server.Workflows().Cancel(t.Context(), "", r.ID, "x")
		require.NoError(t, err)
		l.passes(canceled)
		assert.True(t, l.isLost(canceled), "what was found before is lost again")
		r, err = lost.Begin(t.Context(), l.server.Workflows(), id(canceled), lostOrder)
		require.NoError(t, err)
		l.settle(canceled)
		l.passes(canceled)
		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostEnd, "ada", "found"))
		l.settle(canceled)
		assert.False(t, l.isLost(canceled), "a verified end came later")
	})
}

// TestLostIsNotForgotten: runs that are over are deleted one day.
func TestLostIsNotForgotten(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l, lost := withLostMode(plain)
		d, gone := l.phone(), l.phone()
		for _, d := range []*mdmtest.Device{d, gone} {
			r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
			require.NoError(t, err)
			l.settle(d)
			l.passes(d)
			_, err = l.server.Workflows().Cancel(t.Context(), "", r.ID, "x")
			require.NoError(t, err)
		}
		l.passes(d)
		require.NoError(t, gone.CheckOut(t.Context()))
		for range 3 {
			l.leap(200 * 24 * time.Hour)
			_, err := l.stores.Sweep.Sweep(t.Context(), l.now(), storage.Retention{Events: 24 * time.Hour})
			require.NoError(t, err)
			assert.Empty(t, l.runs(practice.LostModeName))
			assert.True(t, l.isLost(d))
			assert.True(t, l.isLost(gone), "of whatever enrollment")
		}
		require.NoError(t, l.found(d))
		require.NoError(t, l.found(gone))
		for range 3 {
			assert.False(t, l.isLost(d))
			assert.False(t, l.isLost(gone))
			l.leap(200 * 24 * time.Hour)
			_, err := l.stores.Sweep.Sweep(t.Context(), l.now(), storage.Retention{Events: 24 * time.Hour})
			require.NoError(t, err)
		}
		assert.Empty(t, l.runs("device-lost"), "and nothing is left of it")
		assert.Empty(t, l.runs("device-found"))
	})
}

// TestLostIsNotForgottenByCanceling: who cancels the run that remembers a loss has not found the device.
func TestLostIsNotForgottenByCanceling(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l, lost := withLostMode(plain)
		d := l.phone()
		r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		l.settle(d)
		_, err = l.server.Workflows().Cancel(t.Context(), "", r.ID, "x")
		require.NoError(t, err)
		l.passes(d)
		for range 2 {
			for _, mark := range l.runs("device-lost") {
				if !mark.Status.Over() {
					_, err = l.server.Workflows().Cancel(t.Context(), "", mark.ID, "who needs that")
					require.NoError(t, err)
				}
			}
			l.flush()
			l.leap(200 * 24 * time.Hour)
			_, err := l.stores.Sweep.Sweep(t.Context(), l.now(), storage.Retention{Events: 24 * time.Hour})
			require.NoError(t, err)
			require.Empty(t, l.runs(practice.LostModeName))
			assert.True(t, l.isLost(d))
		}
		require.NoError(t, l.found(d))
		assert.False(t, l.isLost(d))
		l.flush()
		assert.False(t, l.isLost(d))
		for _, mark := range l.runs("device-lost") {
			assert.True(t, mark.Status.Over())
		}
	})
}

// TestLostIsNotForAnybodyToEnd: the runs that mark devices are begun by the guard alone, and what is not on record does not happen.
func TestLostIsNotForAnybodyToEnd(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l, lost := withLostMode(plain)
		d := l.phone()
		r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		l.settle(d)
		l.passes(d)
		_, err = l.server.Workflows().Cancel(t.Context(), "", r.ID, "x")
		require.NoError(t, err)
		l.passes(d)
		for _, name := range []string{"device-found", "device-lost"} {
			_, _, err := l.Engine.Begin(t.Context(), name, id(d), "mine", nil)
			require.NoError(t, err)
		}
		l.passes(d)
		assert.True(t, l.isLost(d))
		for _, mark := range l.runs("device-lost") {
			if !mark.Status.Over() {
				_, err = l.server.Workflows().Cancel(t.Context(), "", mark.ID, "who needs that")
				require.NoError(t, err)
			}
		}
		l.passes(d)
		assert.True(t, l.isLost(d))

		log := l.Audit
		l.Audit = deafLog{log, func(e audit.Entry) bool { return e.Action != practice.GuardFound }}
		require.ErrorContains(t, l.found(d), "the log is full")
		l.Audit = log
		assert.True(t, l.isLost(d))
		require.NoError(t, l.found(d))
		assert.False(t, l.isLost(d))
	})
}

// failing are runs that cannot be read.
type failingRuns struct{ practice.GuardRuns }

func (failingRuns) Runs(context.Context, workflow.Query) iter.Seq2[workflow.Run, error] {
	return func(yield func(workflow.Run, error) bool) { yield(workflow.Run{}, errors.New("down")) }
}

func TestLostIfItCannotBeRead(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l, _ := withLostMode(plain)
		d := l.phone()
		l.Runs = failingRuns{l.Runs}
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.ErrorContains(t, err, "down")
		require.ErrorContains(t, l.found(d), "down")
		assert.Equal(t, []string{"secret.requested", "secret.refused: it could not be checked"}, l.audited())
		for _, e := range l.queue(d) {
			assert.NotEqual(t, command.Queued, e.State)
		}
	})
}
