package expiry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
)

// world is a Notifier over a clock and one token.
type world struct {
	*expiry.Notifier
	notes
	now  time.Time
	end  time.Time
	fail error
	log  bytes.Buffer
}

func newWorld() *world {
	w := &world{now: day(1, 1), end: day(12, 5)}
	w.restart()
	return w
}

// restart forgets all that is not in the Store.
func (w *world) restart() {
	token := expiry.One(expiry.Item{Kind: expiry.DEPToken, Tenant: "red", Name: "main"},
		func(context.Context) (time.Time, error) { return w.end, w.fail })
	w.Notifier = &expiry.Notifier{Calendar: &expiry.Calendar{Sources: []expiry.Source{token}}, Store: &w.notes,
		Clock: func() time.Time { return w.now }, Logger: slog.New(slog.NewTextHandler(&w.log, nil))}
}

// until looks every hour until a time and returns what was told, as "11-05 30".
func (w *world) until(t *testing.T, end time.Time) []string {
	t.Helper()
	var out []string
	for ; !w.now.After(end); w.now = w.now.Add(time.Hour) {
		require.NoError(t, w.Look(t.Context()))
		for _, e := range w.take() {
			_, when, _ := strings.Cut(e.Reason, " main ")
			when, _, _ = strings.Cut(when, ",")
			out = append(out, fmt.Sprint(e.At.Format("01-02 "), e.Type, " ", when))
		}
	}
	return out
}

func TestEachStageIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	assert.Equal(t, []string{
		"10-06 credential.expiring expires in 60 days",
		"11-05 credential.expiring expires in 30 days",
		"11-28 credential.expiring expires in 7 days",
		"12-04 credential.expiring expires in 24 hours",
		"12-05 credential.expired expired on 2026-12-05: download a new server token from Apple Business Manager or Apple School Manager",
	}, w.until(t, day(12, 20)))
	w.restart()
	assert.Empty(t, w.until(t, day(12, 21)), "over a restart")
	w.now = day(11, 1)
	assert.Empty(t, w.until(t, day(11, 2)), "when the clock is set back")

	text := w.log.String()
	assert.Equal(t, 5, strings.Count(text, "\n"), text)
	for level, n := range map[string]int{"INFO": 2, "WARN": 1, "ERROR": 2} {
		assert.Equal(t, n, strings.Count(text, "level="+level), text)
	}
}

func TestTheEvent(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now = day(11, 28)
	require.NoError(t, w.Look(t.Context()))
	assert.Equal(t, []mdm.Event{{
		Type: mdm.EventExpiring, At: day(11, 28), Enrollment: mdm.EnrollmentID{Tenant: "red"}, Subject: "dep-token", Name: "main", NotAfter: day(12, 5),
		Reason: "dep token main expires in 7 days, on 2026-12-05: " + expiry.DEPToken.Action(),
	}}, w.take())
}

func TestOnlyTheMostUrgentStageIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now = day(12, 2) // nobody was there at 60, 30 and 7
	assert.Equal(t, []string{"12-02 credential.expiring expires in 3 days"}, w.until(t, day(12, 3)))
}

func TestRenewalBeginsAnew(t *testing.T) {
	t.Parallel()
	w := newWorld()
	assert.Len(t, w.until(t, day(11, 10)), 2)
	w.end = day(12, 5).AddDate(1, 0, 0)
	assert.Empty(t, w.until(t, day(12, 30)), "in time")
	assert.Len(t, w.until(t, day(12, 30).AddDate(1, 0, 0)), 5)
	old := w.end
	for range 10 { // one of two proxies still shows the former certificate
		w.end = day(12, 5)
		require.NoError(t, w.Look(t.Context()))
		w.end = old
		require.NoError(t, w.Look(t.Context()))
	}
	assert.Empty(t, w.take())
}

// TestNotesMayGo: after KeepNotes nobody asks for a note any more, so that a Store can remove it.
func TestNotesMayGo(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now = w.end.Add(expiry.KeepNotes - 30*expiry.Day)
	require.NoError(t, w.Look(t.Context()))
	assert.Empty(t, w.take())
	w.now = w.end.Add(300 * expiry.Day)
	require.NoError(t, w.Look(t.Context()))
	assert.Len(t, w.take(), 1, "late, but news")
}

func TestFailuresAreToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now, w.notes.err = day(11, 28), errDown
	require.ErrorIs(t, w.Look(t.Context()), errDown)
	assert.Contains(t, w.log.String(), "level=WARN")
	w.notes.err, w.fail = nil, errDown
	require.ErrorIs(t, w.Look(t.Context()), errDown)
	assert.Empty(t, w.take())
	w.fail = nil
	require.NoError(t, w.Look(t.Context()))
	assert.Len(t, w.take(), 1)
}

func TestReplicasTellOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now = day(11, 28)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			n := *w.Notifier
			n.Logger = nil
			assert.NoError(t, n.Look(t.Context()))
		})
	}
	group.Wait()
	assert.Len(t, w.take(), 1)
}

func TestRunLooksUntilToldToStop(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now, w.Interval, w.Logger = day(11, 28), time.Millisecond, nil
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool { return len(w.take()) == 1 }, 10*time.Second, time.Millisecond)
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
}
