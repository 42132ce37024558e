package command

import (
	"cmp"
	"time"
)

// The rules of the queue, for stores to share. They are pure, and say nothing of whose queue it is. What a status does to
// a command is [Status.Final].

// Eligible reports whether e may be offered now: open, not deferred in this session, due and alive. In setup, a session
// with UserConfiguration, only what a Mac takes there is.
func Eligible(e *Entry, t Traits, now time.Time, setup bool) bool {
	return (e.State == Queued || e.State == Sent) &&
		(e.NotBefore.IsZero() || !now.Before(e.NotBefore)) &&
		!Overdue(e, now) &&
		(!setup || t.DuringSetup())
}

// Overdue reports whether an open command is past its NotAfter; at that very moment it is not. Its state becomes Expired.
func Overdue(e *Entry, now time.Time) bool {
	return e.State.Open() && !e.NotAfter.IsZero() && now.After(e.NotAfter)
}

// Compare orders the entries of one queue as they are offered: by priority, then by sequence.
func Compare(a, b *Entry) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Seq, b.Seq))
}
