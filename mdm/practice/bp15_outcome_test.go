package practice_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// outcomes returns the status of each outcome on record, by the number of its request, and checks that no request that was let
// through has two or, if all is over, none.
func (l *guardLab) outcomes() map[string]string {
	l.Helper()
	out := map[string]string{}
	released := map[string]bool{}
	for e, err := range l.stores.Audit.Entries(l.Context(), "", 0, 0) {
		require.NoError(l, err)
		switch e.Action {
		case practice.GuardReleased:
			released[e.Details["request"]] = true
		case practice.GuardOutcome, practice.GuardRotationOutcome:
			require.NotContains(l, out, e.Details["request"], "one is enough")
			out[e.Details["request"]] = e.Details["status"]
		}
	}
	for request := range released {
		assert.Contains(l, out, request, "every release ends with an outcome")
	}
	return out
}

// deaf answers for a device that gets its commands and does not answer.
func deaf(ctx context.Context, o mdmtest.Order) mdmtest.Answer { return mdmtest.Answer{Vanish: true} }

func TestBP15_OutcomeOfACanceledRun(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		before := l.phone()
		after := l.enrolled(mdmtest.Config{ProductName: "iPhone15,2", Respond: deaf})
		l.settle(before)
		waiting, err := l.ClearPasscode(t.Context(), clearing(before))
		require.NoError(t, err)
		request := clearing(after)
		request.Actor = "bob"
		given, err := l.ClearPasscode(t.Context(), request)
		require.NoError(t, err)
		l.flush()
		_ = after.Poll(t.Context())
		assert.Equal(t, []string{"ClearPasscode"}, took(after))
		for _, run := range []workflow.Run{waiting, given} {
			_, err := l.server.Workflows().Cancel(t.Context(), "", run.ID, "the wrong device")
			require.NoError(t, err)
		}
		l.settle(before)
		assert.Empty(t, took(before))
		assert.Equal(t, map[string]string{"1": "canceled", "2": "canceled"}, l.outcomes())
		assert.ElementsMatch(t, []string{"secret.requested", "secret.requested", "secret.released", "secret.outcome: canceled: the wrong device",
			"secret.outcome: canceled after the release: the wrong device"}, l.audited())
		l.advance(3*time.Hour, before)
		assert.Len(t, l.outcomes(), 2)
	})
}

func TestBP15_OutcomeOfAGenerationThatEnds(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		wiped := l.earthly(mdmtest.Config{ProductName: "iPhone15,2", Respond: deaf})
		left := l.enrolled(mdmtest.Config{ProductName: "iPhone15,2", Respond: deaf})
		l.flush()
		for d, actor := range map[*mdmtest.Device]string{wiped: "anna", left: "bob"} {
			r := clearing(d)
			r.Actor = actor
			_, err := l.ClearPasscode(t.Context(), r)
			require.NoError(t, err)
			l.flush()
			_ = d.Poll(t.Context())
			require.Equal(t, []string{"ClearPasscode"}, took(d))
		}
		wiped.Wipe()
		require.NoError(t, wiped.Enroll(t.Context(), l.https.URL+"/enroll"))
		require.NoError(t, left.CheckOut(t.Context()))
		l.flush()
		l.flush()
		var status []string
		for _, s := range l.outcomes() {
			status = append(status, s)
		}
		assert.ElementsMatch(t, []string{"superseded", "canceled"}, status)
		assert.Contains(t, l.audited(), "secret.outcome: superseded by a new generation after the release")
		assert.Contains(t, l.audited(), "secret.outcome: canceled after the release: the enrollment ended")
	})
}

func TestBP15_OutcomeOfARotationThatIsCanceled(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		d := l.mac(nil)
		run, err := l.Rotate(t.Context(), practice.RotateRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r"})
		require.NoError(t, err)
		l.flush()
		_, err = l.server.Workflows().Cancel(t.Context(), "", run.ID, "not now")
		require.NoError(t, err)
		l.settle(d)
		assert.Empty(t, took(d))
		assert.Equal(t, []string{"rotation.requested", "rotation.outcome: canceled: not now"}, l.audited())
		_, err = l.Rotate(t.Context(), practice.RotateRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r"})
		require.NoError(t, err, "the next one may begin")
	})
}

func TestBP15_OutcomeOfWhatIsDoneOrFails(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		d := l.phone()
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.settle(d)
		require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("bootstrap")))
		for _, kind := range []practice.GuardedSecret{practice.GuardBootstrapToken, practice.GuardFileVaultKey} {
			_, err = l.Release(t.Context(), practice.ReleaseRequest{Secret: kind, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true})
			assert.Equal(t, kind == practice.GuardFileVaultKey, err != nil)
		}
		l.advance(2*time.Hour, d)
		var status []string
		for _, s := range l.outcomes() {
			status = append(status, s)
		}
		assert.ElementsMatch(t, []string{"done", "done", "failed"}, status)
	})
}

// TestBP15_NoSecretWithoutAnOutcome: what could not be said to be given out is not.
func TestBP15_NoSecretWithoutAnOutcome(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		full := true
		l := guarded(plain, func(g *practice.Guard) {
			g.Audit = deafLog{g.Audit, func(e audit.Entry) bool { return !full || e.Action != practice.GuardOutcome }}
			g.Approval = []practice.GuardedSecret{practice.GuardAdminPassword}
		})
		d := l.phone()
		for _, kind := range []practice.GuardedSecret{practice.GuardRecoveryLock, practice.GuardAdminPassword} {
			require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: kind, Enrollment: id(d), Value: mdm.SecretString("x"), Actor: "anna", Reason: "r"}))
		}
		r := practice.ReleaseRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true}
		s, err := l.Release(t.Context(), r)
		require.ErrorContains(t, err, "the log is full")
		assert.True(t, s.IsZero())

		// Of one that was approved there is a run, so that the outcome is not lost with the process.
		r.Secret = practice.GuardAdminPassword
		r.Approved = l.needsApproval(r)
		require.NoError(t, l.approve(r.Approved, "bob"))
		l.flush()
		s, err = l.Release(t.Context(), r)
		require.ErrorContains(t, err, "the log is full")
		assert.True(t, s.IsZero())
		l.flush()
		full = false
		l.flush()
		assert.NotContains(t, l.audited(), "secret.outcome: whether it came to anybody is not known", "somebody may be about to say")
		l.advance(2*time.Hour, d)
		entries := l.audited()
		assert.Equal(t, "secret.outcome: whether it came to anybody is not known", entries[len(entries)-1])
	})
}
