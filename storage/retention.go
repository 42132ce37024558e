package storage

import (
	"context"
	"time"
)

// Retention says for how long a store keeps what is over. The zero value has the defaults. A zero duration is the default,
// a negative one is for ever. What is open, and what makes a device known, is never deleted. A session of a way in says itself
// how long it is kept. Devices that Apple told of stay until their server is deleted, gone or not.
type Retention struct {
	// Commands is for finished commands with their answers, counted from the answer. 0: 90 days. An order that is repeated
	// with its old UUID after that is a new one.
	Commands time.Duration
	// Kinds is instead of Commands for some request types: a DeviceInformation an hour is of no use after a week, an
	// EraseDevice may be asked for after a year.
	Kinds map[string]time.Duration
	// Asides is for reports that were kept aside, which somebody should look at. 0: 180 days.
	Asides time.Duration
	// Events is for events, the audit trail. 0: 90 days. One that a consumer has not acknowledged is kept, but not for more
	// than four times that: the consumer is gone. It is for waves of pushes and for runs of workflows, too, counted from their end.
	Events time.Duration
	// Challenges is for SCEP challenges, counted from when they expire. 0: 30 days.
	Challenges time.Duration
}

// Defaults of [Retention].
const (
	day               = 24 * time.Hour
	DefaultCommands   = 90 * day
	DefaultAsides     = 180 * day
	DefaultEvents     = 90 * day
	DefaultChallenges = 30 * day
)

// Before returns the time before which something kept for d is over; zero if it never is. The default is for a d of 0.
func Before(now time.Time, d, otherwise time.Duration) time.Time {
	if d == 0 {
		d = otherwise
	}
	if d < 0 {
		return time.Time{}
	}
	return now.Add(-d)
}

// Swept counts what a sweep deleted.
type Swept struct {
	Commands   int // entries of queues
	Bodies     int // of commands that are on no queue any more
	Asides     int
	Events     int
	Challenges int
	Waves      int // of pushes, that have ended
	Runs       int // of workflows, that are over
	Sessions   int // of ways in, whose KeepUntil has passed
}

// Sweeper deletes what is over.
type Sweeper interface {
	// Sweep deletes what r says, in small transactions with pauses between them, so that devices wait for none. It returns
	// what it has deleted, even with an error. It may run in several processes at once, but need not: see [Leases].
	Sweep(ctx context.Context, now time.Time, r Retention) (Swept, error)
}

// Leases are for work that one process at a time shall do. They save work and keep no two processes from anything: a
// process that was held up learns of the end of its lease only when it asks again.
type Leases interface {
	// Acquire takes the named lease for so long, or renews it. It is false if another owner has it.
	Acquire(ctx context.Context, name, owner string, d time.Duration) (bool, error)
	// Release gives a lease back before its time. To give back what one does not have is no error.
	Release(ctx context.Context, name, owner string) error
}
