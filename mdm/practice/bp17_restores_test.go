package practice_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/push"
)

// enrollmentOf returns what the server knows of a device.
func (l *lab) enrollmentOf(d *mdmtest.Device) *mdm.Enrollment {
	l.Helper()
	e, err := l.stores.Roster.Enrollment(l.Context(), id(d))
	require.NoError(l, err)
	return e
}

// has reports whether there is such an event of a device.
func (l *lab) has(d *mdmtest.Device, kind mdm.EventType) bool {
	l.Helper()
	for _, e := range l.events(d) {
		if e.Type == kind {
			return true
		}
	}
	return false
}

func refusedAnd(t *testing.T, err error, unenrolls bool) {
	t.Helper()
	var refused *mdmtest.StatusError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, unenrolls, refused.Unenrolls())
}

func TestBP17_RestoresByDefault(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var apns *line
		l.serve(func(c *server.Config) {
			apns = l.line(c)
			practice.Restores{}.Apply(&c.Checkin)
			c.Presence = presence.Policy{Inactive: 48 * time.Hour}
		})
		for name, before := range map[string]func(*mdmtest.Device){
			"enrolled": func(*mdmtest.Device) {},
			"inactive": func(d *mdmtest.Device) { l.missed(d, mdm.Inactive) },
			"gone":     func(d *mdmtest.Device) { l.kill(apns, d) },
		} {
			d := l.earthly(mdmtest.Config{})
			l.settle(d)
			old, b := l.enrollmentOf(d), d.Backup()
			before(d)
			require.NoError(t, d.Restore(t.Context(), b), name)
			e := l.enrollmentOf(d)
			assert.Equal(t, mdm.Enrolled, e.State, name)
			assert.Equal(t, mdm.Active, e.Presence, name)
			assert.Equal(t, old.Generation, e.Generation, name)
			assert.NotEqual(t, old.PushToken, e.PushToken, name)
			assert.True(t, l.has(d, mdm.EventRestored), name)
			require.NoError(t, d.Poll(t.Context()), name)
		}

		// Ended, by the device and by the server: told to remove its management.
		d := l.earthly(mdmtest.Config{})
		b := d.Backup()
		require.NoError(t, d.CheckOut(t.Context()))
		refusedAnd(t, d.Restore(t.Context(), b), true)
		d = l.earthly(mdmtest.Config{})
		require.NoError(t, l.server.Checkin().End(t.Context(), id(d), 0, "retired"))
		refusedAnd(t, d.Restore(t.Context(), d.Backup()), true)
		assert.Equal(t, mdm.Ended, l.enrollmentOf(d).State)

		// On another device there is no management after a restore, and nothing is sent.
		d = l.earthly(mdmtest.Config{})
		other := l.device(mdmtest.Config{})
		require.NoError(t, other.Restore(t.Context(), d.Backup()))
		assert.False(t, other.Managed())
	})
}

// TestBP17_OfAnUnknownDevice: a store that lost its data must not end a fleet's management.
func TestBP17_OfAnUnknownDevice(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var elsewhere atomic.Pointer[checkin.Service]
		l.serve(func(c *server.Config) {
			c.Wrap = func(h checkin.Handler) checkin.Handler {
				return checkin.HandlerFunc(func(ctx context.Context, r *checkin.Request) (*checkin.Reply, error) {
					if s := elsewhere.Load(); s != nil {
						return s.Checkin(ctx, r)
					}
					return h.Checkin(ctx, r)
				})
			}
		})
		d := l.enrolled(mdmtest.Config{})
		b := d.Backup()
		service := &checkin.Service{Store: inMemory(t, l.now).Checkin}
		practice.Restores{Within: time.Hour}.Apply(service)
		elsewhere.Store(service)
		refusedAnd(t, d.Restore(t.Context(), b), false)
	})
}

func TestBP17_RestoresByPolicy(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		retired := map[mdm.EnrollmentID]bool{}
		l.serve(func(c *server.Config) {
			practice.Restores{Within: 24 * time.Hour, Clock: l.now, Retired: func(e *mdm.Enrollment) bool { return retired[e.ID] }}.Apply(&c.Checkin)
		})
		back, late, ended, lost, lostAgain := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		backups := map[*mdmtest.Device]mdmtest.Backup{}
		for _, d := range l.devices {
			backups[d] = d.Backup()
		}
		require.NoError(t, back.CheckOut(t.Context()))
		require.NoError(t, late.CheckOut(t.Context()))
		require.NoError(t, lostAgain.CheckOut(t.Context()))
		require.NoError(t, l.server.Checkin().End(t.Context(), id(ended), 0, "sold"))
		retired[id(lost)], retired[id(lostAgain)] = true, true
		require.NoError(t, lost.Poll(t.Context()), "it is only judged when it is restored")
		require.NoError(t, lost.TokenUpdate(t.Context(), true), "and a new token is no restore")
		require.NoError(t, back.Restore(t.Context(), backups[back]))
		assert.Equal(t, mdm.Enrolled, l.enrollmentOf(back).State)
		for _, d := range []*mdmtest.Device{ended, lost, lostAgain} {
			refusedAnd(t, d.Restore(t.Context(), backups[d]), true)
			assert.Equal(t, mdm.Ended, l.enrollmentOf(d).State)
		}
		assert.False(t, lost.Managed())
		l.advance(25 * time.Hour)
		refusedAnd(t, late.Restore(t.Context(), backups[late]), true)
	})
}

// missed lets time pass until a device is missed so much.
func (l *lab) missed(d *mdmtest.Device, p mdm.Presence) {
	l.Helper()
	for range 24 * 30 {
		if l.enrollmentOf(d).Presence == p {
			return
		}
		l.advance(time.Hour)
	}
	require.Fail(l, "it is not missed")
}

// line is an APNs that accepts pushes, but for tokens that are dead.
type line struct {
	mu    sync.Mutex
	now   func() time.Time
	dead  map[string]bool // by token
	count map[mdm.EnrollmentID]int
}

func (p *line) Push(_ context.Context, targets []push.Target) ([]push.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]push.Result, len(targets))
	for i, t := range targets {
		p.count[t.Enrollment]++
		out[i].Outcome = push.Delivered
		if p.dead[string(t.Token)] {
			out[i] = push.Result{Outcome: push.Invalid, Reason: "Unregistered", Since: p.now()}
		}
	}
	return out, nil
}

func (p *line) pushes(d *mdmtest.Device) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[id(d)]
}

// line connects the lab to an APNs.
func (l *lab) line(c *server.Config) *line {
	p := &line{now: l.now, dead: map[string]bool{}, count: map[mdm.EnrollmentID]int{}}
	c.Pusher, c.Pacing = p, push.Pacing{Spacing: -1}
	return p
}

// kill lets APNs call the token of a device dead, and pushes it.
func (l *lab) kill(p *line, d *mdmtest.Device) {
	l.Helper()
	p.mu.Lock()
	p.dead[string(l.enrollmentOf(d).PushToken)] = true
	p.mu.Unlock()
	l.ahead.Add(int64(time.Minute)) // the token is older than the word that it is dead
	_, err := l.stores.Command.Enqueue(l.Context(), command.Order{Command: command.ProfileList{}, To: mdm.IDs(id(d))})
	require.NoError(l, err)
	l.flush()
	l.ahead.Add(int64(10 * time.Minute)) // no other push waits for it
	l.flush()
	require.Equal(l, mdm.Gone, l.enrollmentOf(d).Presence)
}
