// Package presence finds out which enrolled devices are still there.
//
// A device that is unenrolled by its user tells the server once, if at all; one that is erased, lost or switched off tells
// nothing. So a server that guards access goes by silence (Apple, "MDM Best Practices": push, and take a device that does not
// answer for some days to a week as unmanaged until it does). A [Watcher] looks at each device about once a day: one that was
// silent for [Policy.Quiet] becomes Quiet and is pushed about once in [Policy.Nudge]; one that was silent for [Policy.Inactive]
// and did not answer a push that APNs had accepted becomes Inactive. A device whose token APNs calls dead, or that ended its
// management, is Gone at once, without a look here. Any accepted request makes it Active again, in the transaction of the
// request. Each change leaves an event, so that who grants access hears of it:
//
//	server.Config{
//		Consumers: map[string]event.Consumer{"access": presence.Changes(func(ctx context.Context, c presence.Change) error {
//			return vpn.Allow(ctx, c.Enrollment.Device, c.Presence == mdm.Active || c.Presence == mdm.Quiet)
//		})},
//	}
package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/event"
)

// Store keeps when each device is to be looked at next.
type Store interface {
	// Look takes up to max enrolled device channels whose look is due, calls judge for each, and writes what it found: the
	// presence, with an event if that is another, the next look, and a push if there is to be one. All in one transaction;
	// callers on several replicas get different devices. It returns how many it took: fewer than max if there are no more,
	// or others have them. A device is due as soon as it is enrolled or heard of after it was missed. judge may run twice and must have no side
	// effects.
	Look(ctx context.Context, now time.Time, max int, judge func(Sighting) Finding) (int, error)
}

// Sighting is what is known of a device. Of its Enrollment only the id, the state, the topic, the times, the presence and
// the device are there.
type Sighting struct {
	Enrollment mdm.Enrollment
	Pushed     time.Time // when APNs last accepted a push to it; zero: never
	Tried      time.Time // when one was last settled, however it ended
	Wanted     bool      // a push is to be sent already
	Waiting    bool      // commands wait for it
}

// Heard returns when the device last gave a sign of life.
func (s Sighting) Heard() time.Time {
	e := &s.Enrollment
	last := e.EnrolledAt
	for _, at := range []time.Time{e.TokenUpdatedAt, e.LastSeenAt} {
		if at.After(last) {
			last = at
		}
	}
	if e.Presence == mdm.Active && e.PresenceSince.After(last) { // written at once, which LastSeenAt is not
		last = e.PresenceSince
	}
	return last
}

// Finding is what to make of a Sighting.
type Finding struct {
	Presence mdm.Presence
	Reason   string    // of a change, in words
	Next     time.Time // when to look again
	Nudge    time.Time // when to push it; zero: not at all
}

// Policy says what silence means. The zero value has defaults.
type Policy struct {
	Quiet    time.Duration // silent for so long: quiet. 0: 24 h
	Inactive time.Duration // silent for so long, and a push unanswered: inactive. 0: 7 days; never less than Quiet
	Nudge    time.Duration // between pushes to a device that is silent. 0: 24 h, as APNs keeps the last push for a device that is off
	// Waiting is how long a device for which commands wait may be silent, and its last push old, before it is pushed again: a
	// push may be lost between APNs and the device. 0: as Quiet. A shorter one makes for more looks at every device.
	Waiting time.Duration
	// Unanswered is how long a push may go without an answer after APNs accepted it, before it counts. So an outage of this
	// process, of APNs or of the push certificate makes no device inactive. (One in which pushes go out and only the way to the
	// server is broken, for as long as Inactive, does.) 0: 1 h.
	Unanswered time.Duration
	// Spread is over which time the pushes of devices that fell silent together are spread, as after an outage of the server.
	// 0: 15 min.
	Spread time.Duration
}

// Defaults of [Policy].
const (
	DefaultQuiet      = 24 * time.Hour
	DefaultInactive   = 7 * 24 * time.Hour
	DefaultNudge      = 24 * time.Hour
	DefaultUnanswered = time.Hour
	DefaultSpread     = 15 * time.Minute
)

// mostBetween is how long a device is not looked at, at most: so a changed policy holds for all within a day.
const mostBetween = 24 * time.Hour

func (p Policy) withDefaults() Policy {
	p.Quiet = orDefault(p.Quiet, DefaultQuiet)
	p.Inactive = max(orDefault(p.Inactive, DefaultInactive), p.Quiet)
	p.Nudge = orDefault(p.Nudge, DefaultNudge)
	p.Waiting = min(orDefault(p.Waiting, p.Quiet), p.Quiet)
	p.Unanswered = orDefault(p.Unanswered, DefaultUnanswered)
	p.Spread = orDefault(p.Spread, DefaultSpread)
	return p
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Judge applies the policy. jitter, from 0 up to 1, says where in Spread a push comes.
func (p Policy) Judge(s Sighting, now time.Time, jitter float64) Finding {
	p = p.withDefaults()
	heard := s.Heard()
	silent := now.Sub(heard)
	f := Finding{Presence: mdm.Quiet, Reason: "silent since " + stamp(heard)}
	switch {
	case silent < p.Quiet:
		// Who is quiet or inactive becomes active by a request, which is noticed there: a look changes it only when the
		// policy was changed.
		f.Presence, f.Reason = mdm.Active, "heard of at "+stamp(heard)
	case s.Enrollment.Presence == mdm.Inactive && silent >= p.Inactive:
		f.Presence = mdm.Inactive
	}
	nudge, wanted := p.nudge(s, heard, f.Presence)
	if wanted && !s.Wanted && !now.Before(nudge) {
		f.Nudge = now.Add(time.Duration(jitter * float64(p.Spread)))
		nudge = f.Nudge.Add(p.Nudge)
	}
	times := []time.Time{nudge, heard.Add(p.Quiet)}
	if f.Presence == mdm.Quiet {
		verdict, known := p.verdict(s, heard)
		if known && f.Nudge.IsZero() && !now.Before(verdict) {
			f.Presence, f.Reason = mdm.Inactive, fmt.Sprintf("silent since %s, and the push of %s is not answered", stamp(heard), stamp(s.Pushed))
		}
		switch { // see what becomes of the push that is on its way, but not all the time
		case !f.Nudge.IsZero():
			verdict = f.Nudge.Add(p.Unanswered)
		case !known:
			verdict = now.Add(max(p.Unanswered, p.Nudge/4))
		}
		times = append(times, verdict)
	}
	f.Next = next(now, times...)
	return f
}

// nudge returns when the device is to be pushed next; wanted is false if there is no reason to, as far as is known now.
func (p Policy) nudge(s Sighting, heard time.Time, to mdm.Presence) (at time.Time, wanted bool) {
	last := s.Pushed
	if s.Tried.After(last) {
		last = s.Tried
	}
	if to != mdm.Active {
		return last.Add(p.Nudge), true
	}
	if last.After(heard) {
		heard = last
	}
	return heard.Add(p.Waiting), s.Waiting
}

// verdict returns when the silence is long enough. It is not known before APNs has accepted a push since the device became
// quiet.
func (p Policy) verdict(s Sighting, heard time.Time) (at time.Time, known bool) {
	if s.Enrollment.Presence != mdm.Quiet || s.Pushed.Before(s.Enrollment.PresenceSince) {
		return time.Time{}, false
	}
	at = heard.Add(p.Inactive)
	if answer := s.Pushed.Add(p.Unanswered); answer.After(at) {
		at = answer
	}
	return at, true
}

// next returns the first of times that is still to come, but not more than a day from now.
func next(now time.Time, times ...time.Time) time.Time {
	first := now.Add(mostBetween)
	for _, at := range times {
		if at.After(now) && at.Before(first) {
			first = at
		}
	}
	return first
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// Change tells that a device is there, or not.
type Change struct {
	Enrollment mdm.EnrollmentID
	Presence   mdm.Presence
	At         time.Time
	Reason     string
}

// Changes makes a consumer of events that calls f for each device that enrolls, which is Active, and for each change of its
// presence. Of user channels it tells nothing: one whose token is dead says nothing of the device. Changes of one device come in
// order and at least once; while f fails for one, it is called again and again for that, and for the others as ever.
func Changes(f func(ctx context.Context, c Change) error) event.Consumer {
	return event.ConsumerFunc(func(ctx context.Context, e mdm.Event) error {
		c := Change{Enrollment: e.Enrollment, At: e.At, Reason: e.Reason}
		switch e.Type {
		case mdm.EventActive, mdm.EventEnrolled, mdm.EventReenrolled, mdm.EventAfterWipe, mdm.EventRestored:
			c.Presence = mdm.Active
		case mdm.EventQuiet:
			c.Presence = mdm.Quiet
		case mdm.EventInactive:
			c.Presence = mdm.Inactive
		case mdm.EventGone:
			c.Presence = mdm.Gone
		default:
			return nil
		}
		if c.Enrollment.IsUser() {
			return nil
		}
		return f(ctx, c)
	})
}
