package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/event"
)

// log is a Log with one consumer: leased events stay away until release is called.
type log struct {
	mu     sync.Mutex
	events []mdm.Event
	leased map[int64]bool
	acked  []int64
	err    error
}

func newLog(events ...mdm.Event) *log {
	for i := range events {
		events[i].Seq = int64(i + 1)
	}
	return &log{events: events, leased: map[int64]bool{}}
}

func (l *log) Lease(_ context.Context, _ string, max int, _ time.Duration) ([]mdm.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []mdm.Event
	for _, e := range l.events {
		if !l.leased[e.Seq] && len(out) < max {
			l.leased[e.Seq] = true
			out = append(out, e)
		}
	}
	return out, l.err
}

func (l *log) Ack(_ context.Context, _ string, done []mdm.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range done {
		l.acked = append(l.acked, e.Seq)
	}
	return nil
}

func (l *log) Events(context.Context, string, int64, int) ([]mdm.Event, error) { return l.events, nil }

func (l *log) append(e mdm.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = int64(len(l.events) + 1)
	l.events = append(l.events, e)
}

func of(device string) mdm.Event {
	return mdm.Event{Type: mdm.EventCommandSent, Enrollment: mdm.EnrollmentID{Device: device}}
}

func TestFlushKeepsOrderBehindAFailure(t *testing.T) {
	l := newLog(of("a"), of("b"), of("a"), of("b"))
	var got []string
	var logged bytes.Buffer
	d := &event.Dispatcher{Log: l, Name: "test", Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		Consumer: event.ConsumerFunc(func(_ context.Context, e mdm.Event) error {
			got = append(got, fmt.Sprintf("%s%d", e.Enrollment, e.Seq))
			if e.Enrollment.Device == "a" {
				return errors.New("down")
			}
			return nil
		})}
	require.NoError(t, d.Flush(t.Context()))
	assert.Equal(t, []string{"a1", "b2", "b4"}, got, "event 3 must wait for event 1")
	assert.Equal(t, []int64{2, 4}, l.acked)
	assert.Contains(t, logged.String(), "down")
}

func TestFlushContainsPanics(t *testing.T) {
	l := newLog(of("a"), of("b"))
	d := &event.Dispatcher{Log: l, Name: "test", Consumer: event.ConsumerFunc(func(_ context.Context, e mdm.Event) error {
		if e.Seq == 1 {
			panic("bug")
		}
		return nil
	})}
	require.NoError(t, d.Flush(t.Context()))
	assert.Equal(t, []int64{2}, l.acked)
}

func TestFlushReportsTheLog(t *testing.T) {
	l := newLog()
	l.err = errors.New("disk full")
	err := (&event.Dispatcher{Log: l, Name: "test"}).Flush(t.Context())
	require.ErrorIs(t, err, l.err)
}

func TestFlushAcknowledgesWhatIsDoneWhenCanceled(t *testing.T) {
	l := newLog(of("a"), of("b"), of("c"))
	ctx, cancel := context.WithCancel(t.Context())
	d := &event.Dispatcher{Log: l, Name: "test", Consumer: event.ConsumerFunc(func(context.Context, mdm.Event) error {
		cancel()
		return nil
	})}
	require.ErrorIs(t, d.Flush(ctx), context.Canceled)
	assert.Equal(t, []int64{1}, l.acked)
}

func TestRunIsNotified(t *testing.T) {
	l := newLog()
	seen := make(chan int64, 10)
	d := &event.Dispatcher{Log: l, Name: "test", Interval: time.Hour,
		Consumer: event.ConsumerFunc(func(_ context.Context, e mdm.Event) error { seen <- e.Seq; return nil })}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for i := range 3 {
		l.append(of("a"))
		d.Notify()
		assert.Equal(t, int64(i+1), <-seen)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func ExampleDispatcher() {
	l := newLog(mdm.Event{Type: mdm.EventEnrolled, Enrollment: mdm.EnrollmentID{Device: "phone"}})
	d := &event.Dispatcher{Log: l, Name: "inventory", Consumer: event.ConsumerFunc(func(_ context.Context, e mdm.Event) error {
		fmt.Println(e.Type, e.Enrollment)
		return nil
	})}
	if err := d.Flush(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: enrollment.enrolled phone
}
