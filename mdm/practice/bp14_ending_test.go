package practice_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
)

func target(version string) schema.Target {
	return schema.Target{Platform: schema.IOS, OSVersion: version, Channel: mdm.DeviceChannel, Supervised: schema.True}
}

// gate is a system that decides what devices may reach.
type gate struct {
	mu    sync.Mutex
	down  int
	calls []string // as "limit D"
}

func (g *gate) call(what string, e *mdm.Enrollment) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down > 0 {
		g.down--
		return errors.New("down")
	}
	g.calls = append(g.calls, what+" "+e.ID.String())
	return nil
}

func (g *gate) Limit(_ context.Context, e *mdm.Enrollment) error   { return g.call("limit", e) }
func (g *gate) Restore(_ context.Context, e *mdm.Enrollment) error { return g.call("restore", e) }

// of returns what was done about a device.
func (g *gate) of(d *mdmtest.Device) (out []string) {
	for _, c := range g.calls {
		if c == "limit "+d.ID() || c == "restore "+d.ID() {
			out = append(out, c[:len(c)-len(d.ID())-1])
		}
	}
	return out
}

// end and revoke are the server's, which is there later than they are wanted.
func (l *lab) end(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error {
	return l.server.Checkin().End(ctx, id, g, reason)
}

func (l *lab) revoke(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, fp mdm.Fingerprint, reason string) (bool, error) {
	return l.server.Checkin().Revoke(ctx, id, g, fp, reason)
}

func TestBP14_Ending(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		access := &gate{}
		var mu sync.Mutex
		var cleaned []practice.Ended
		failing := 2
		ending := &practice.Ending{Roster: l.stores.Roster, Profile: func(*mdm.Enrollment) string { return "com.example.mdm" }, Access: access,
			End: l.end,
			CleanUp: func(_ context.Context, e practice.Ended) error {
				mu.Lock()
				defer mu.Unlock()
				if failing > 0 {
					failing--
					return errors.New("down")
				}
				cleaned = append(cleaned, e)
				return nil
			}}
		l.serve(func(c *server.Config) { // no right to remove profiles
			c.Checkin.Rights = func(*checkin.Request) mdm.AccessRights { return mdm.QueryDevice }
		}, ending.Workflows()...)
		polite, rude, away, cannot := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			return mdmtest.Fail("MCMDMErrorDomain", 12036, "no")
		}})
		l.settle(l.devices...)
		runs := map[*mdmtest.Device]string{}
		for _, d := range l.devices {
			r, err := ending.Begin(t.Context(), l.server.Workflows(), id(d), practice.EndingOrder{Actor: "ada", Reason: "left the company"})
			require.NoError(t, err)
			runs[d] = r.ID
		}
		_, err := ending.Begin(t.Context(), l.server.Workflows(), id(away), practice.EndingOrder{Actor: "ada", Reason: "x"})
		require.Error(t, err)
		l.flush()
		assert.Equal(t, []string{"limit"}, access.of(away), "access is closed at once")
		require.NoError(t, polite.CheckOut(t.Context()))
		require.NoError(t, cannot.Poll(t.Context()))
		l.settle(rude)
		assert.False(t, rude.Managed())
		assert.Equal(t, []string{"RemoveProfile"}, took(rude), "the queue asks for no right")
		l.advance(3 * time.Hour)
		for d, note := range map[*mdmtest.Device]string{polite: "checked out", cannot: "12036"} {
			assert.Equal(t, workflow.Done, l.run(runs[d]).Status, note)
			assert.Contains(t, l.run(runs[d]).Note, note)
			e, err := l.stores.Roster.Enrollment(t.Context(), id(d))
			require.NoError(t, err)
			assert.Equal(t, mdm.Ended, e.State)
			assert.Empty(t, e.PushToken)
			assert.WithinDuration(t, l.start, e.EndedAt, 4*time.Hour, "by the clock of the server")
		}
		var refused *mdmtest.StatusError
		require.ErrorAs(t, cannot.Poll(t.Context()), &refused)
		assert.True(t, refused.Unenrolls())

		// One has removed its profile without a word, the other was never heard of: nobody can tell.
		for _, d := range []*mdmtest.Device{rude, away} {
			assert.Equal(t, workflow.Open, l.run(runs[d]).Status)
		}
		l.leap(8 * 24 * time.Hour)
		for _, d := range []*mdmtest.Device{rude, away} {
			assert.Equal(t, workflow.Done, l.run(runs[d]).Status)
			assert.Equal(t, "ended by the server", l.run(runs[d]).Note)
			assert.Equal(t, mdm.Ended, l.enrollmentOf(d).State)
		}
		require.ErrorAs(t, away.Poll(t.Context()), &refused)
		assert.True(t, refused.Unenrolls())
		require.Len(t, cleaned, 4)
		i := slices.IndexFunc(cleaned, func(e practice.Ended) bool { return e.CheckedOut })
		assert.Equal(t, id(polite), cleaned[i].Enrollment.ID)
		assert.Equal(t, "ada", cleaned[i].Actor)
	})
}

// TestBP14_EndingOfOneThatEnrollsAnew must not end the new enrollment.
func TestBP14_EndingOfOneThatEnrollsAnew(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		access := &gate{}
		ending := &practice.Ending{Roster: l.stores.Roster, Profile: func(*mdm.Enrollment) string { return "com.example.mdm" }, Access: access,
			End: l.end}
		l.serve(nil, ending.Workflows()...)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		r, err := ending.Begin(t.Context(), l.server.Workflows(), id(d), practice.EndingOrder{Actor: "ada", Reason: "x"})
		require.NoError(t, err)
		l.flush()
		d.Wipe()
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.leap(10*24*time.Hour, d)
		assert.True(t, d.Managed())
		assert.Empty(t, took(d))
		assert.Equal(t, workflow.Done, l.run(r.ID).Status)
		assert.Contains(t, l.run(r.ID).Note, "anew")
		assert.Equal(t, []string{"limit", "restore"}, access.of(d))
		e, err := l.stores.Roster.Enrollment(t.Context(), id(d))
		require.NoError(t, err)
		assert.Equal(t, mdm.Enrolled, e.State)
	})
}
