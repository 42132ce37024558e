package presence_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/presence"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

// start is when everything begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestJudge(t *testing.T) {
	t.Parallel()
	now := start.Add(100 * day)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	type sighting struct {
		found   mdm.Presence
		since   time.Duration // ago, as all of these; 0: never
		seen    time.Duration
		pushed  time.Duration
		waiting bool
		tried   time.Duration
		wanted  bool
	}
	tests := []struct {
		name  string
		s     sighting
		want  mdm.Presence
		next  time.Duration // from now
		nudge bool
	}{
		{"seen just now", sighting{seen: time.Second, pushed: day}, mdm.Active, day - time.Second, false},
		{"seen an hour ago", sighting{seen: hour, pushed: 10 * day}, mdm.Active, 23 * hour, false},
		{"silent for a day", sighting{seen: day}, mdm.Quiet, hour, true},
		{"silent for a day, pushed before", sighting{seen: day, pushed: 20 * hour}, mdm.Quiet, 4 * hour, false},
		{"quiet, nudged", sighting{found: mdm.Quiet, since: 2 * day, seen: 3 * day, pushed: 2 * hour}, mdm.Quiet, 22 * hour, false},
		{"quiet, to be nudged again", sighting{found: mdm.Quiet, since: 2 * day, seen: 3 * day, pushed: day}, mdm.Quiet, hour, true},
		{"the week is over", sighting{found: mdm.Quiet, since: 6 * day, seen: 7 * day, pushed: 2 * hour}, mdm.Inactive, 22 * hour, false},
		{"but the push is young", sighting{found: mdm.Quiet, since: 6 * day, seen: 7 * day, pushed: hour / 2}, mdm.Quiet, hour / 2, false},
		{"but a push is due first", sighting{found: mdm.Quiet, since: 6 * day, seen: 7 * day, pushed: 25 * hour}, mdm.Quiet, hour, true},
		{"but no push was accepted", sighting{found: mdm.Quiet, since: 6 * day, seen: 8 * day, pushed: 7 * day}, mdm.Quiet, hour, true},
		{"our certificate is bad: a push is wanted already", sighting{found: mdm.Quiet, since: 6 * day, seen: 8 * day, pushed: 7 * day, wanted: true}, mdm.Quiet, 6 * hour, false},
		{"its pushes are rejected", sighting{found: mdm.Quiet, since: 6 * day, seen: 8 * day, pushed: 7 * day, tried: 2 * hour}, mdm.Quiet, 6 * hour, false},
		{"after an outage of the server of a month", sighting{found: mdm.Active, seen: 30 * day, pushed: 29 * day}, mdm.Quiet, hour, true},
		{"inactive for long", sighting{found: mdm.Inactive, since: 20 * day, seen: 30 * day, pushed: 2 * hour}, mdm.Inactive, 22 * hour, false},
		{"inactive, nudged daily", sighting{found: mdm.Inactive, since: 20 * day, seen: 30 * day, pushed: 25 * hour}, mdm.Inactive, day, true},
		{"back, but its time is written behind", sighting{found: mdm.Active, since: time.Minute, seen: 30 * day}, mdm.Active, day - time.Minute, false},
		{"quiet by a policy that is no more", sighting{found: mdm.Quiet, since: time.Minute, seen: hour}, mdm.Active, 23 * hour, false},
		{"inactive by a policy that is no more", sighting{found: mdm.Inactive, since: day, seen: 3 * day, pushed: hour}, mdm.Quiet, 6 * hour, false},
		{"commands wait", sighting{seen: 5 * hour, pushed: 5 * hour, waiting: true}, mdm.Active, 19 * hour, false},
		{"clock of the store is ahead", sighting{seen: -hour}, mdm.Active, day, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := presence.Sighting{Waiting: tt.s.waiting, Enrollment: mdm.Enrollment{EnrolledAt: start, TokenUpdatedAt: start, LastSeenAt: ago(tt.s.seen), Presence: tt.s.found}}
			if s.Wanted = tt.s.wanted; tt.s.tried != 0 {
				s.Tried = ago(tt.s.tried)
			}
			if tt.s.since != 0 {
				s.Enrollment.PresenceSince = ago(tt.s.since)
			}
			if tt.s.pushed != 0 {
				s.Pushed = ago(tt.s.pushed)
			}
			f := presence.Policy{}.Judge(s, now, 0)
			assert.Equal(t, tt.want, f.Presence, f.Reason)
			assert.Equal(t, tt.next, f.Next.Sub(now))
			assert.Equal(t, tt.nudge, !f.Nudge.IsZero())
			assert.NotEmpty(t, f.Reason)
		})
	}
}

func TestPolicyIsTheVendors(t *testing.T) {
	t.Parallel()
	p := presence.Policy{Quiet: hour, Inactive: 3 * hour, Nudge: 2 * hour, Waiting: time.Minute, Unanswered: time.Minute, Spread: 10 * time.Minute}
	s := presence.Sighting{Enrollment: mdm.Enrollment{LastSeenAt: start}}
	now := start.Add(hour)
	f := p.Judge(s, now, 0.5)
	assert.Equal(t, mdm.Quiet, f.Presence)
	assert.Equal(t, now.Add(5*time.Minute), f.Nudge, "spread, so that a fleet that fell silent together is not pushed at once")
	assert.Equal(t, now.Add(6*time.Minute), f.Next)

	s = presence.Sighting{Waiting: true, Pushed: start.Add(-hour), Enrollment: mdm.Enrollment{LastSeenAt: start}}
	f = p.Judge(s, start.Add(30*time.Second), 0)
	assert.True(t, f.Nudge.IsZero())
	assert.Equal(t, start.Add(time.Minute), f.Next)
	f = p.Judge(s, start.Add(time.Minute), 0)
	assert.Equal(t, mdm.Active, f.Presence)
	assert.False(t, f.Nudge.IsZero(), "commands wait, and the push for them may be lost")
	s.Pushed = start.Add(time.Minute)
	assert.True(t, p.Judge(s, start.Add(61*time.Second), 0).Nudge.IsZero())

	odd := presence.Policy{Quiet: 10 * day, Inactive: day}
	s = presence.Sighting{Enrollment: mdm.Enrollment{LastSeenAt: start, Presence: mdm.Quiet, PresenceSince: start}, Pushed: start.Add(hour)}
	assert.Equal(t, mdm.Active, odd.Judge(s, start.Add(9*day), 0).Presence, "not inactive before it is quiet")
}

// device is one that a Store of tests holds, and what became of it.
type device struct {
	presence.Sighting
	next  time.Time
	nudge []time.Time
	found []mdm.Presence
}

// devices is a Store in memory.
type devices struct {
	all []*device
	err error
}

func (d *devices) Look(_ context.Context, now time.Time, max int, judge func(presence.Sighting) presence.Finding) (n int, err error) {
	for _, one := range d.all {
		if one.next.After(now) || n == max {
			continue
		}
		n++
		f := judge(one.Sighting)
		one.next = f.Next
		if !f.Nudge.IsZero() {
			one.nudge = append(one.nudge, f.Nudge)
		}
		if f.Presence != one.Enrollment.Presence {
			one.Enrollment.Presence, one.Enrollment.PresenceSince = f.Presence, now
			one.found = append(one.found, f.Presence)
		}
	}
	return n, d.err
}

func newDevice() *device {
	return &device{Sighting: presence.Sighting{Enrollment: mdm.Enrollment{LastSeenAt: start, EnrolledAt: start}}}
}

// TestAMonthOfSilence runs a month in steps of ten minutes. Pushes reach APNs two minutes after they are left.
func TestAMonthOfSilence(t *testing.T) {
	t.Parallel()
	d := newDevice()
	now := start
	w := presence.Watcher{Store: &devices{all: []*device{d}}, Clock: func() time.Time { return now }}
	var inactive, quiet time.Time
	for ; now.Before(start.Add(30 * day)); now = now.Add(10 * time.Minute) {
		require.NoError(t, w.Flush(t.Context()))
		if n := len(d.nudge); n > 0 && now.After(d.nudge[n-1].Add(2*time.Minute)) && d.Pushed.Before(d.nudge[n-1]) {
			d.Pushed = d.nudge[n-1].Add(2 * time.Minute)
		}
		switch {
		case d.Enrollment.Presence == mdm.Quiet && quiet.IsZero():
			quiet = now
		case d.Enrollment.Presence == mdm.Inactive && inactive.IsZero():
			inactive = now
		}
	}
	assert.Equal(t, []mdm.Presence{mdm.Quiet, mdm.Inactive}, d.found, "each change once")
	assert.WithinDuration(t, start.Add(day), quiet, hour)
	assert.WithinDuration(t, start.Add(7*day), inactive, 2*hour)
	assert.InDelta(t, 29, len(d.nudge), 2, "about one a day")
	for i := range d.nudge[1:] {
		assert.GreaterOrEqual(t, d.nudge[i+1].Sub(d.nudge[i]), presence.DefaultNudge)
	}
}

// TestAnOutageIsNobodysSilence: for ten days the server is off. Then it wakes everybody, and they answer.
func TestAnOutageIsNobodysSilence(t *testing.T) {
	t.Parallel()
	store := &devices{}
	for range 1200 {
		store.all = append(store.all, newDevice())
	}
	now := start.Add(10 * day)
	w := presence.Watcher{Store: store, Clock: func() time.Time { return now }, Pause: time.Nanosecond}
	require.NoError(t, w.Flush(t.Context()))
	early := 0
	for _, d := range store.all {
		require.Equal(t, []mdm.Presence{mdm.Quiet}, d.found)
		require.Len(t, d.nudge, 1, "it is woken")
		if d.nudge[0].Before(now.Add(presence.DefaultSpread / 2)) {
			early++
		}
		d.Pushed, d.Enrollment.LastSeenAt = d.nudge[0], d.nudge[0].Add(time.Second)
		d.Enrollment.Presence, d.Enrollment.PresenceSince = mdm.Active, d.Enrollment.LastSeenAt
	}
	assert.InDelta(t, 600, early, 150, "not all at once")
	now = now.Add(2 * hour)
	require.NoError(t, w.Flush(t.Context()))
	for _, d := range store.all {
		require.Equal(t, mdm.Active, d.Enrollment.Presence)
	}
}

func TestHeadsetsMayBeSilentForLonger(t *testing.T) {
	t.Parallel()
	headset, phone := newDevice(), newDevice()
	headset.Enrollment.Device.ProductName = "RealityDevice14,1"
	now := start.Add(2 * day)
	w := presence.Watcher{Store: &devices{all: []*device{headset, phone}}, Clock: func() time.Time { return now }}
	require.NoError(t, w.Flush(t.Context()))
	assert.Empty(t, headset.found)
	assert.Equal(t, []mdm.Presence{mdm.Quiet}, phone.found)

	always := newDevice()
	w = presence.Watcher{Store: &devices{all: []*device{always}}, Clock: func() time.Time { return now },
		For: func(_ *mdm.Enrollment, p presence.Policy) presence.Policy { p.Quiet = 5 * day; return p }}
	require.NoError(t, w.Flush(t.Context()))
	assert.Empty(t, always.found)

	w.For = func(*mdm.Enrollment, presence.Policy) presence.Policy { panic("test") }
	always.next = time.Time{}
	require.NoError(t, w.Flush(t.Context()))
	assert.Equal(t, []mdm.Presence{mdm.Quiet}, always.found, "the policy for all holds")
}

func TestTheStoresErrorsAreReturned(t *testing.T) {
	t.Parallel()
	store := &devices{err: errors.New("down")}
	w := presence.Watcher{Store: store}
	require.ErrorIs(t, w.Flush(t.Context()), store.err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	require.ErrorContains(t, w.Run(ctx), "over")
}

func TestChangesPassesOnWhatConcernsIt(t *testing.T) {
	t.Parallel()
	var got []presence.Change
	failing := errors.New("the directory is down")
	c := presence.Changes(func(_ context.Context, c presence.Change) error {
		got = append(got, c)
		if c.Presence == mdm.Gone {
			return failing
		}
		return nil
	})
	id := mdm.EnrollmentID{Device: "D"}
	for _, kind := range []mdm.EventType{mdm.EventQuiet, mdm.EventCommandSent, mdm.EventInactive, mdm.EventActive} {
		require.NoError(t, c.Consume(t.Context(), mdm.Event{Type: kind, Enrollment: id, At: start, Reason: "why"}))
		require.NoError(t, c.Consume(t.Context(), mdm.Event{Type: kind, Enrollment: mdm.EnrollmentID{Device: "D", User: "anna"}}))
	}
	require.NoError(t, c.Consume(t.Context(), mdm.Event{Type: mdm.EventGone, Enrollment: mdm.EnrollmentID{Device: "D", User: "anna"}}), "a user is not the device")
	require.ErrorIs(t, c.Consume(t.Context(), mdm.Event{Type: mdm.EventGone, Enrollment: id}), failing)
	require.NoError(t, c.Consume(t.Context(), mdm.Event{Type: mdm.EventEnrolled, Enrollment: id}))
	require.Len(t, got, 5)
	assert.Equal(t, mdm.Active, got[4].Presence, "who enrolls is there")
	assert.Equal(t, presence.Change{Enrollment: id, Presence: mdm.Quiet, At: start, Reason: "why"}, got[0])
	assert.Equal(t, mdm.Gone, got[3].Presence)
}

func TestWords(t *testing.T) {
	t.Parallel()
	for p, event := range map[mdm.Presence]mdm.EventType{mdm.Active: mdm.EventActive, mdm.Quiet: mdm.EventQuiet, mdm.Inactive: mdm.EventInactive, mdm.Gone: mdm.EventGone} {
		assert.Equal(t, event, p.Event())
		again, err := mdm.ParsePresence(p.String())
		require.NoError(t, err)
		assert.Equal(t, p, again)
	}
	_, err := mdm.ParsePresence("away")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}
