package practice_test

import (
	"strings"
	"sync"
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

func TestBP15_Limit(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, nil)
		d, other := l.phone(), l.phone()
		release := func(l *guardLab, d *mdmtest.Device, actor string) error {
			_, err := l.Release(t.Context(), practice.ReleaseRequest{Secret: practice.GuardBootstrapToken, Enrollment: id(d), Actor: actor, Reason: "r", PossessionVerified: true})
			return err
		}
		for _, device := range []*mdmtest.Device{d, other} {
			require.NoError(t, device.SetBootstrapToken(t.Context(), []byte("bootstrap")))
		}
		require.NoError(t, release(l, d, "anna"))
		require.NoError(t, release(l, other, "Anna "))
		require.NoError(t, release(l, d, "bob"))
		l = guarded(plain, nil) // another process
		require.NoError(t, release(l, d, "anna"))
		err := release(l, d, "carl")
		forbidden(t, err)
		assert.ErrorContains(t, err, "limit of 3 for a device")
		err = release(l, other, "anna")
		forbidden(t, err)
		assert.ErrorContains(t, err, "limit of 3 for an actor")
		require.NoError(t, release(l, other, "carl"))
		for n := range 250 { // others write to the log, too
			_, err := l.stores.Audit.Append(t.Context(), audit.Entry{At: l.now(), Actor: "anna", Action: "other", Reason: strings.Repeat("r", n%3+1)})
			require.NoError(t, err)
		}
		forbidden(t, release(l, d, "dora"))
		l.ahead.Add(int64(61 * time.Minute))
		require.NoError(t, release(l, d, "anna"))

		var group sync.WaitGroup
		var mu sync.Mutex
		given := 0
		for range 6 {
			group.Go(func() {
				if release(l, other, "erik") == nil {
					mu.Lock()
					defer mu.Unlock()
					given++
				}
			})
		}
		group.Wait()
		assert.LessOrEqual(t, given, 3, "of many at once")
	})
}

func TestBP15_SecondApprover(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) { g.SecondApprover = true })
		d, other, third := l.phone(), l.phone(), l.phone()
		run, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.settle(d)
		assert.Empty(t, took(d))
		approve := func(run, who string) error {
			return l.Approve(t.Context(), practice.GuardApproval{Run: run, Approver: who})
		}
		forbidden(t, approve(run.ID, "ANNA"))
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(approve(run.ID, "")))
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(approve("unknown", "bob")))
		l.settle(d)
		assert.Empty(t, took(d))
		l = guarded(plain, func(g *practice.Guard) { g.SecondApprover = true }) // another process
		require.NoError(t, approve(run.ID, "bob"))
		l.settle(d)
		assert.Equal(t, []string{"ClearPasscode"}, took(d))
		forbidden(t, approve(run.ID, "bob"))
		assert.Equal(t, []string{"secret.requested", "approval.refused: it does not wait for the approval of this person", "secret.approved",
			"secret.released", "secret.outcome: the passcode is cleared", "approval.refused: it does not wait for the approval of this person"}, l.audited())

		r := clearing(other)
		r.Approver = "carl"
		run, err = l.ClearPasscode(t.Context(), r)
		require.NoError(t, err)
		l.flush()
		forbidden(t, approve(run.ID, "bob"))
		l.advance(25*time.Hour, other)
		assert.Empty(t, took(other))
		forbidden(t, approve(run.ID, "carl"))
		expired, err := l.stores.Runs.Run(t.Context(), "", run.ID)
		require.NoError(t, err)
		assert.Equal(t, workflow.Failed, expired.Status)
		assert.Equal(t, "nobody approved it in time", expired.Note)

		run, err = l.ClearPasscode(t.Context(), clearing(third))
		require.NoError(t, err)
		l.flush()
		leased, err := l.stores.Runs.LeaseRuns(t.Context(), []workflow.Known{{Workflow: practice.GuardClearPasscode}}, "somebody", l.now().Add(25*time.Hour), 25*time.Hour, 10)
		require.NoError(t, err)
		require.Len(t, leased, 1)
		require.NoError(t, approve(run.ID, "bob"), "while a step is being taken")
		run, err = l.stores.Runs.Run(t.Context(), "", run.ID)
		require.NoError(t, err)
		assert.Len(t, run.Missed, 1, "it is not forgotten")
	})
}
