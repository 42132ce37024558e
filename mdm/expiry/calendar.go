// Package expiry is one calendar of all credentials that end: push certificates, the vendor's certificate, the CA that issues
// identities, the server's TLS chain, tokens of Apple's services, and whatever else a vendor has. A [Calendar] lists them; a
// [Notifier] raises an event and logs a line 60, 30, 7 and 1 days before one of them ends, and when it has.
//
// The most costly of them is the push certificate. It is valid for a year and is renewed by hand, and if it cannot be renewed
// every device has to enroll again.
package expiry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Stage is how urgent it is: that many days before the end, or fewer, are left.
type Stage int

// The stages that are not a number of days.
const (
	Expired Stage = 0
	NotYet  Stage = -1 // no stage is reached
)

// String returns the stage in words.
func (s Stage) String() string {
	switch {
	case s == Expired:
		return "expired"
	case s < 0:
		return "not yet"
	case s == 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", int(s))
}

// DefaultStages returns the stages of a Calendar that has none: 60, 30, 7 and 1 days before, and when it has expired.
func DefaultStages() []Stage { return []Stage{60, 30, 7, 1, Expired} }

// Day is what stages count in. It has 24 hours always, whatever clocks do in spring.
const Day = 24 * time.Hour

// DefaultTimeout is how long each source may take.
const DefaultTimeout = 30 * time.Second

// Calendar gathers what sources know. It keeps nothing. The zero value has no items.
type Calendar struct {
	Sources []Source

	// Stages says when an item is told of, in any order. Nil, or what it returns is empty: DefaultStages. What is renewed by a
	// machine thirty days before its end need not be told of sixty days before.
	Stages  func(Item) []Stage
	Timeout time.Duration // for each source; 0: DefaultTimeout
}

// Items returns what all sources yield, the earliest end first. Sources are asked side by side, and what one of them cannot tell
// hides nothing of the others: the items are complete but for the errors, which are joined, each a [*SourceError].
func (c *Calendar) Items(ctx context.Context) ([]Item, error) {
	answers := make([]answer, len(c.Sources))
	var group sync.WaitGroup
	for n, s := range c.Sources {
		group.Go(func() { answers[n].ask(ctx, s, c.timeout()) })
	}
	group.Wait()
	var errs []error
	first := map[key]Item{}
	for _, a := range answers {
		errs = append(errs, a.errs...)
		for _, i := range a.items {
			if same, ok := first[i.key()]; !ok || i.NotAfter.Before(same.NotAfter) {
				first[i.key()] = i
			}
		}
	}
	items := make([]Item, 0, len(first))
	for _, i := range first {
		items = append(items, i)
	}
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
	})
	return items, errors.Join(errs...)
}

func (c *Calendar) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}

// answer is what one source said.
type answer struct {
	items []Item
	errs  []error
}

// ask contains panics: one bad source must not end the calendar of all others.
func (a *answer) ask(ctx context.Context, s Source, timeout time.Duration) {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	defer func() {
		if r := recover(); r != nil {
			a.errs = append(a.errs, &SourceError{Err: fmt.Errorf("the source panicked: %v", r)})
		}
	}()
	for i, err := range s.Items(ctx) {
		if err == nil {
			i, err = i.check()
		}
		if err != nil {
			a.errs = append(a.errs, &SourceError{Kind: i.Kind, Tenant: i.Tenant, Name: i.Name, Err: err})
			continue
		}
		a.items = append(a.items, i)
	}
}

// Due returns the most urgent stage that i has reached, NotYet if none.
func (c *Calendar) Due(i Item, now time.Time) Stage {
	var stages []Stage
	if c.Stages != nil {
		stages = c.Stages(i)
	}
	if len(stages) == 0 {
		stages = DefaultStages()
	}
	due, left := NotYet, i.NotAfter.Sub(now)
	for _, s := range stages {
		if s >= 0 && left <= time.Duration(s)*Day && (due == NotYet || s < due) {
			due = s
		}
	}
	return due
}

// DaysLeft returns how many days i is still valid, a part of one counted as one. It is zero or less when it has expired.
func (i Item) DaysLeft(now time.Time) int {
	left := i.NotAfter.Sub(now)
	days := left / Day
	if left > days*Day {
		days++
	}
	return int(days)
}
