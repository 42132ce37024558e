package push

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
)

// Wave wakes everybody that a filter selects, so many a second. What is asked for is ID, To and Rate; the store keeps the
// rest. It is a row of the database that says how far it is: there is no list of its targets, and any process can move it on.
type Wave struct {
	ID string // at most 255 printable ASCII bytes without a slash, of one tenant; empty: a UUID
	// To is who is woken: those of them that are enrolled and not Gone, devices and users unless Channels says otherwise. It has
	// no pages.
	To   mdm.Filter
	Rate int // how many a second; 0: that of the WaveRunner

	Begun    time.Time
	Moved    time.Time // up to when its pace is used up; at first Begun
	Ended    time.Time // zero: it is under way
	Canceled bool      // ended before its time
	Total    int       // how many there were when it began
	Woken    int       // how many have a push; more than Total if some enrolled meanwhile
}

// WaveStep is the most that AdvanceWave wakes in one transaction.
const WaveStep = 1000

// Waves keeps waves. A wave is named by its tenant, which is that of its filter, and its ID. One that is not there is a
// NotFound error.
type Waves interface {
	// BeginWave stores a wave; nobody is woken yet. If there is one of that tenant and ID, that is returned and nothing is
	// changed. It is Malformed if w has pages, a negative rate or a bad ID.
	BeginWave(ctx context.Context, w Wave) (Wave, error)
	// AdvanceWave wakes the next channels of a wave: up to s.Max, no more than WaveStep, and no more than leave s.Backlog
	// pushes waiting. The pushes are due at s.At, which is then Moved. The wave ends when there is nobody left. All that is
	// one transaction, and it returns the wave as it is then.
	//
	// w is the wave as the caller knows it. If it has been moved on or has ended since, nothing is done: so each is woken
	// once, at the pace of one, by however many processes. Everybody is woken whom the filter selects all the time; who
	// enrolls or becomes another meanwhile may be left out, since he has just connected.
	AdvanceWave(ctx context.Context, w Wave, s Step) (Wave, error)
	// CancelWave ends a wave. The pushes that it has left already are sent. One that has ended stays as it is.
	CancelWave(ctx context.Context, tenant, id string) (Wave, error)
	// Wave returns a wave. One that has ended is kept as long as events are.
	Wave(ctx context.Context, tenant, id string) (Wave, error)
	// ListWaves lists waves, the latest first.
	ListWaves(ctx context.Context, q WaveQuery) ([]Wave, error)
}

// Step says how far AdvanceWave goes.
type Step struct {
	At      time.Time
	Max     int // channels
	Backlog int // the wave waits while so many pushes are due at At, in nobody's hands; 0: it does not wait
}

// WaveQuery selects waves.
type WaveQuery struct {
	Tenant     string
	AllTenants bool // instead of Tenant
	Open       bool // only those under way
	After      string
	Limit      int // at most so many, of one Tenant those after the ID After; 0: no limit
}

// Open reports whether a wave is under way.
func (w Wave) Open() bool { return w.Ended.IsZero() }

// Percent is how much of a wave is done, from 0 to 100.
func (w Wave) Percent() int {
	switch {
	case !w.Open() && !w.Canceled:
		return 100
	case w.Total <= 0:
		return 0
	}
	return min(99, int(int64(w.Woken)*100/int64(w.Total)))
}

// Estimate is when a wave will have ended if it goes on as it did; zero if it has, or if that cannot be said yet.
func (w Wave) Estimate(now time.Time) time.Time {
	took := now.Sub(w.Begun)
	if !w.Open() || w.Woken <= 0 || took <= 0 {
		return time.Time{}
	}
	left := float64(max(0, w.Total-w.Woken)) / float64(w.Woken)
	return now.Add(time.Duration(left * float64(took))).Truncate(time.Second)
}

// Same reports whether a wave is as far as another one of its name. It is for stores.
func (w Wave) Same(other Wave) bool {
	return w.Woken == other.Woken && w.Open() == other.Open() && w.Moved.Equal(other.Moved)
}

// Prepared is a wave as it begins at now, with an ID. The error is Malformed. It is for stores, which count its Total.
func (w Wave) Prepared(now time.Time) (Wave, error) {
	switch {
	case !w.To.After.IsZero() || w.To.Limit != 0:
		return Wave{}, malformed("the filter of a wave has no pages")
	case w.Rate < 0:
		return Wave{}, malformed("the rate of a wave is not negative")
	case len(w.ID) > 255 || strings.ContainsFunc(w.ID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Wave{}, malformed("the ID of a wave is at most 255 printable ASCII bytes")
	case strings.Contains(w.ID, "/") || w.ID == "." || w.ID == "..": // it is a part of URLs
		return Wave{}, malformed("the ID of a wave has no slash and is not . or ..")
	}
	now = now.UTC().Truncate(time.Microsecond) // as precise as all stores are
	return Wave{ID: cmp.Or(w.ID, strings.ToUpper(uuid.NewString())), To: w.To, Rate: w.Rate, Begun: now, Moved: now}, nil
}

func malformed(text string) error { return mdm.Errorf(mdm.Malformed, "push.BeginWave", "%s", text) }

// present are all that can be pushed.
var present = []mdm.Presence{mdm.Active, mdm.Quiet, mdm.Inactive}

// Targets is the filter of a wave, narrowed to whom it wakes. It is false if that is nobody. It is for stores.
func (w Wave) Targets() (mdm.Filter, bool) {
	f := w.To
	if len(f.States) > 0 && !slices.Contains(f.States, mdm.Enrolled) {
		return f, false
	}
	f.States = []mdm.State{mdm.Enrolled}
	if len(f.Presence) == 0 {
		f.Presence = present
	}
	f.Presence = slices.DeleteFunc(slices.Clone(f.Presence), func(p mdm.Presence) bool { return p == mdm.Gone })
	return f, len(f.Presence) > 0
}
