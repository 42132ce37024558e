// Package event delivers what happened. Stores write an [mdm.Event] in the transaction of the change it tells of; a
// [Dispatcher] hands events to a [Consumer], at least once, in order within one enrollment, and never on the path of
// a device's request.
package event

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Log is the outbox that stores fill. It is safe for concurrent use by many goroutines and processes. Consumers are
// told apart by name; a name that is new starts with the oldest event that is kept.
type Log interface {
	// Lease hands up to max events to the caller until the lease ends: events of one enrollment in the order of Seq, and
	// none of an enrollment of which an earlier event is leased to somebody or waits to be leased again. Events whose
	// lease ended without an Ack are handed out again.
	Lease(ctx context.Context, consumer string, max int, lease time.Duration) ([]mdm.Event, error)
	// Ack marks leased events as delivered. An event whose lease ended is left to its next holder.
	Ack(ctx context.Context, consumer string, done []mdm.Event) error
	// Events returns up to limit events of a tenant with a Seq greater than after, in the order of Seq, delivered or
	// not. It is for operators who look on; it changes nothing.
	Events(ctx context.Context, tenant string, after int64, limit int) ([]mdm.Event, error)
}

// Consumer takes events. It must be idempotent: after an error or a crash it gets an event again, and those of the same
// enrollment that follow wait for it.
type Consumer interface {
	Consume(ctx context.Context, e mdm.Event) error
}

// ConsumerFunc is a function as a [Consumer].
type ConsumerFunc func(ctx context.Context, e mdm.Event) error

// Consume calls f.
func (f ConsumerFunc) Consume(ctx context.Context, e mdm.Event) error { return f(ctx, e) }
