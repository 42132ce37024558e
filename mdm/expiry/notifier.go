package expiry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/gomdm/applemdm/internal/recur"
	"github.com/gomdm/applemdm/mdm"
)

// Store remembers what was told. It is safe for concurrent use by many goroutines and processes.
type Store interface {
	// Remind appends e to the events and notes, in the same transaction, that stage was told of e's credential. It returns
	// true when that is committed.
	//
	// A note belongs to e.Subject, e.Enrollment.Tenant, e.Name and e.NotAfter (whole seconds) together, and holds the
	// last stage told. If there is one with this stage or a more urgent (smaller) one, Remind returns false, and nothing
	// is changed. Of several that are called at once with the same arguments, one returns true. After an error nothing
	// is changed, or nobody knows: the call may be repeated.
	//
	// A renewed credential has another NotAfter, and so a note of its own; those of its predecessors stay, because a
	// fleet of proxies may show both for a while. A note may be removed once its NotAfter is more than KeepNotes ago:
	// nobody asks for it then. So there are no more notes than credentials that came near their end within that time.
	Remind(ctx context.Context, e mdm.Event, stage Stage) (bool, error)
}

// KeepNotes is how long after NotAfter a [Store] has to keep a note. It is longer than a Notifier tells of what has expired.
const KeepNotes = 400 * Day

// tellExpired is how long ago something may have expired that is told of. After a year it is not news.
const tellExpired = 365 * Day

// DefaultInterval is how often a Notifier looks.
const DefaultInterval = time.Hour

// Notifier tells of each stage that an item of the Calendar reaches: an mdm.EventExpiring, or in the end an mdm.EventExpired,
// and a line in the log. Each is told once for each end of validity, whatever is started again, and however many processes run
// a Notifier on one Store. Of several stages that were reached at once, because no server was running or because the credential
// is new and does not live long, only the most urgent one is told. Calendar and Store are required.
type Notifier struct {
	Calendar *Calendar
	Store    Store

	Interval time.Duration    // between looks, half of it more or less; 0: DefaultInterval
	Clock    func() time.Time // nil: time.Now
	// Logger gets a line for each stage told: Info, Warn from 7 days before the end, Error from 1 day before it. What a
	// source could not tell is a Warn at each look. Nil: nothing is logged.
	Logger *slog.Logger
}

// Run looks now and then until ctx ends, and returns the cause of that.
func (n *Notifier) Run(ctx context.Context) error {
	interval := n.Interval
	if interval <= 0 {
		interval = DefaultInterval
	}
	return recur.Every(ctx, interval, interval/60, func() { _ = n.Look(ctx) }) // it logs
}

// Look tells what is to be told now. The error has what sources could not tell and what the Store could not note, joined; the
// other items are told.
func (n *Notifier) Look(ctx context.Context) error {
	items, err := n.Calendar.Items(ctx)
	failed := []error{err}
	now := n.now()
	for _, i := range items {
		stage := n.Calendar.Due(i, now)
		if stage == NotYet || now.Sub(i.NotAfter) > tellExpired {
			continue
		}
		failed = append(failed, n.tell(ctx, i, stage, now))
	}
	err = errors.Join(failed...)
	if err != nil && n.Logger != nil && ctx.Err() == nil {
		n.Logger.LogAttrs(ctx, slog.LevelWarn, "not all that may expire is known or told", slog.Any("error", err))
	}
	return err
}

func (n *Notifier) tell(ctx context.Context, i Item, stage Stage, now time.Time) error {
	e := i.event(stage, now)
	told, err := n.Store.Remind(ctx, e, stage)
	if err != nil {
		return &SourceError{Kind: i.Kind, Tenant: i.Tenant, Name: i.Name, Err: fmt.Errorf("not told: %w", err)}
	}
	if told && n.Logger != nil {
		n.Logger.LogAttrs(ctx, level(stage), e.Reason, slog.String("kind", string(i.Kind)), slog.String("tenant", i.Tenant),
			slog.String("name", i.Name), slog.Time("notAfter", i.NotAfter), slog.Int("daysLeft", i.DaysLeft(now)))
	}
	return nil
}

func level(s Stage) slog.Level {
	switch {
	case s > 7:
		return slog.LevelInfo
	case s > 1:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// event is what is told of i.
func (i Item) event(stage Stage, now time.Time) mdm.Event {
	e := mdm.Event{
		Type: mdm.EventExpiring, At: now, Enrollment: mdm.EnrollmentID{Tenant: i.Tenant},
		Subject: string(i.Kind), Name: i.Name, NotAfter: i.NotAfter, Reason: i.Text(now),
	}
	if stage == Expired {
		e.Type = mdm.EventExpired
	}
	return e
}

// Text tells of i in a sentence, as "push certificate com.apple.mgmt.External.x expires in 7 days, on 2026-12-05: renew it …".
func (i Item) Text(now time.Time) string {
	action := i.Action
	if action == "" {
		action = i.Kind.Action()
	}
	what := strings.TrimSpace(strings.ReplaceAll(string(i.Kind), "-", " ") + " " + i.Name)
	return fmt.Sprintf("%s %s: %s", what, i.when(now), action)
}

func (i Item) when(now time.Time) string {
	left, date := i.NotAfter.Sub(now), i.NotAfter.UTC().Format(time.DateOnly)
	hours := (left + time.Hour - 1) / time.Hour
	switch {
	case left <= 0:
		return "expired on " + date
	case hours == 1:
		return "expires within the hour, on " + date
	case left <= Day:
		return fmt.Sprintf("expires in %d hours, on %s", hours, date)
	}
	return fmt.Sprintf("expires in %d days, on %s", i.DaysLeft(now), date)
}

func (n *Notifier) now() time.Time {
	if n.Clock != nil {
		return n.Clock()
	}
	return time.Now()
}
