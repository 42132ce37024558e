package push_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func dead(device string, since time.Time) push.InvalidToken {
	return push.InvalidToken{Token: []byte(device), Topic: topic, Since: since}
}

func TestPollerSettlesWhatIsDead(t *testing.T) {
	t.Parallel()
	c, box, devices := newClock(), newOutbox(), &roster{}
	updated := c.now().Add(-time.Hour)
	for _, name := range []string{"a", "b", "c"} {
		devices.enroll("", name, updated)
	}
	devices.rows[2].State = mdm.Ended
	devices.enroll("", "none", updated).PushToken = nil
	devices.enroll("other", "a", updated)
	long := push.InvalidToken{Token: make([]byte, 101), Since: c.now()}
	source := &told{tokens: []push.InvalidToken{dead("a", updated.Add(time.Minute)), dead("c", c.now()), dead("nobody", c.now()), dead("", c.now()), long}}
	p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Clock: c.now}
	require.NoError(t, p.Poll(t.Context()))
	assert.Equal(t, []push.Result{{
		Target:  push.Target{Enrollment: mdm.EnrollmentID{Device: "a"}, Topic: topic, Token: []byte("a"), TokenUpdatedAt: updated},
		Outcome: push.Invalid, Reason: "Unregistered", Since: updated.Add(time.Minute), At: c.now(),
	}}, box.settled())
	passes := devices.passes
	require.NoError(t, p.Poll(t.Context()))
	assert.Len(t, box.settled(), 1)
	assert.Equal(t, passes, devices.passes, "nothing to find, nobody looks")
}

func TestPollerWhatCounts(t *testing.T) {
	t.Parallel()
	c := newClock()
	for name, tt := range map[string]struct {
		since, updated time.Duration // from a second on
		want           bool
	}{
		"after":                          {since: time.Second, want: true},
		"before":                         {since: -time.Second},
		"the same second, earlier in it": {since: 0, updated: 300 * time.Millisecond},
		"the same second, on it":         {since: 0, updated: 0},
		"the second after":               {since: time.Second, updated: 999 * time.Millisecond, want: true},
		"to the millisecond":             {since: 300 * time.Millisecond, updated: 300 * time.Millisecond, want: true},
		"to the millisecond, before":     {since: 300 * time.Millisecond, updated: 301 * time.Millisecond},
		"the future is now":              {since: 48 * time.Hour, updated: time.Hour + time.Nanosecond},
		"the future is now, after all":   {since: 48 * time.Hour, updated: time.Hour - time.Second, want: true},
	} {
		box, devices, source := newOutbox(), &roster{}, &told{tokens: []push.InvalidToken{dead("a", c.now().Add(tt.since))}}
		devices.enroll("", "a", c.now().Add(tt.updated))
		p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Clock: func() time.Time { return c.now().Add(time.Hour) }}
		require.NoError(t, p.Poll(t.Context()))
		assert.Equal(t, tt.want, len(box.settled()) == 1, name)
	}
}

func TestPollerTenantsAndTopics(t *testing.T) {
	t.Parallel()
	c, box, fleet := newClock(), newOutbox(), &roster{}
	for i := range 2500 {
		fleet.enroll("red", fmt.Sprintf("%04d", i), c.now().Add(-time.Hour))
	}
	fleet.enroll("blue", "2400", c.now().Add(-time.Hour)).Topic = "com.apple.mgmt.blue"
	source := &told{tokens: []push.InvalidToken{dead("0000", c.now()), dead("2400", c.now()), {Token: []byte("2400"), Topic: "another", Since: c.now()}}}
	p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: fleet, Store: box, Clock: c.now,
		Tenants: func(context.Context) ([]string, error) { return []string{"red", "blue"}, nil }}
	require.NoError(t, p.Poll(t.Context()))
	assert.Len(t, box.settled(), 2, "of red, and its topic")

	source.tokens = []push.InvalidToken{{Token: []byte("2400"), Since: c.now(), Reason: "ExpiredToken"}, dead("2400", c.now().Add(-time.Minute))}
	require.NoError(t, p.Poll(t.Context()))
	results := box.settled()[2:]
	require.Len(t, results, 2, "whatever the topic")
	assert.Equal(t, "ExpiredToken", results[0].Reason, "the later one counts")
	assert.Equal(t, "com.apple.mgmt.blue", results[1].Target.Topic)
}

func TestPollerKeepsWhatIsNotSettled(t *testing.T) {
	t.Parallel()
	c, box, devices, source := newClock(), newOutbox(), &roster{}, &told{err: errDown}
	var tenantsErr error
	p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Clock: c.now,
		Tenants: func(context.Context) ([]string, error) { return []string{""}, tenantsErr }}
	for i, fail := range []*error{&box.giveErr, &devices.err, &tenantsErr} {
		device := fmt.Sprint(i)
		devices.enroll("", device, c.now().Add(-time.Hour))
		source.tokens = []push.InvalidToken{dead(device, c.now())}
		before := len(box.settled())
		*fail = errDown
		require.ErrorIs(t, p.Poll(t.Context()), errDown)
		assert.Len(t, box.settled(), before)
		*fail = nil
		require.ErrorIs(t, p.Poll(t.Context()), errDown, "of the source")
		assert.Len(t, box.settled(), before+1)
	}
}

func TestPollerIsBounded(t *testing.T) {
	t.Parallel()
	c, box, devices := newClock(), newOutbox(), &roster{}
	source := &told{}
	for i := range 10 {
		name := fmt.Sprint(i)
		devices.enroll("", name, c.now().Add(-time.Hour))
		source.tokens = append(source.tokens, dead(name, c.now()))
	}
	p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Clock: c.now, Pending: 4}
	box.giveErr = errDown
	require.ErrorIs(t, p.Poll(t.Context()), errDown)
	require.ErrorIs(t, p.Poll(t.Context()), errDown)
	assert.Equal(t, 1, source.asked, "there is no room")
	assert.Len(t, source.tokens, 6)
	box.giveErr = nil
	require.NoError(t, p.Poll(t.Context()))
	assert.Len(t, box.settled(), 10)
}

// panics is a push.FeedbackSource.
type panics struct{}

func (panics) InvalidTokens(context.Context) iter.Seq2[push.InvalidToken, error] { panic("oops") }

func TestPollerOneSourceHidesNoOther(t *testing.T) {
	t.Parallel()
	c, box, devices := newClock(), newOutbox(), &roster{}
	devices.enroll("", "a", c.now().Add(-time.Hour))
	p := &push.Poller{Sources: []push.FeedbackSource{panics{}, &told{err: errDown}, &told{tokens: []push.InvalidToken{dead("a", c.now())}}},
		Devices: devices, Store: box, Clock: c.now}
	err := p.Poll(t.Context())
	require.ErrorIs(t, err, errDown)
	require.ErrorContains(t, err, "oops")
	assert.Len(t, box.settled(), 1)
}

// settles is a push.FeedbackStore.
type settles func([]push.Result) error

func (f settles) Feedback(_ context.Context, results []push.Result) error { return f(results) }

func TestPollerContainsPanicsOfTheStore(t *testing.T) {
	t.Parallel()
	c, devices := newClock(), &roster{}
	devices.enroll("", "a", c.now().Add(-time.Hour))
	well := false
	var settled []push.Result
	store := settles(func(results []push.Result) error {
		if !well {
			panic("oops")
		}
		settled = append(settled, results...)
		return nil
	})
	for _, pending := range []int{1, 0} { // in the middle of reading, and afterwards
		source := &told{tokens: []push.InvalidToken{dead("a", c.now())}}
		p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: store, Clock: c.now, Pending: pending}
		well, settled = false, nil
		err := p.Poll(t.Context())
		require.ErrorContains(t, err, "the store, the devices or the tenants panicked")
		require.ErrorContains(t, err, "oops")
		well = true
		require.NoError(t, p.Poll(t.Context()), "it is tried again")
		assert.Len(t, settled, 1)
	}
}

func TestPollerThatIsIncomplete(t *testing.T) {
	t.Parallel()
	c := newClock()
	for what, p := range map[string]*push.Poller{"Devices": {Store: newOutbox()}, "Store": {Devices: &roster{}}} {
		source := &told{tokens: []push.InvalidToken{dead("a", c.now())}}
		p.Sources = []push.FeedbackSource{source}
		require.ErrorContains(t, p.Poll(t.Context()), what)
		require.ErrorContains(t, p.Run(t.Context()), what)
		assert.Len(t, source.tokens, 1, "its list is not read for nothing")
	}
}

// What a source or a Pusher of others tells goes into columns and logs: only what fits is taken.
func TestFeedbackOfOthersIsBounded(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{"ExpiredToken": "ExpiredToken", "a\x00b": "", "é": "", strings.Repeat("x", 65): ""} {
		c, box, devices := newClock(), newOutbox(), &roster{}
		devices.enroll("", "a", c.now().Add(-time.Hour))
		answers := &push.Answers{Pusher: always(push.Result{Outcome: push.Invalid, Reason: reason, Since: c.now()})}
		_, err := answers.Push(t.Context(), []push.Target{target("a")})
		require.NoError(t, err)
		tokens, err := all(t.Context(), answers)
		require.NoError(t, err)
		require.Len(t, tokens, 1)
		assert.Equal(t, want, tokens[0].Reason)
		odd := []push.InvalidToken{{Token: []byte("a"), Topic: "a\x00b"}, {Token: []byte("a"), Topic: strings.Repeat("x", 256)}}
		source := &told{tokens: append(odd, push.InvalidToken{Token: []byte("a"), Since: c.now(), Reason: reason})}
		p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Clock: c.now}
		require.NoError(t, p.Poll(t.Context()))
		require.Len(t, box.settled(), 1)
		assert.Equal(t, cmp.Or(want, "Unregistered"), box.settled()[0].Reason)
		assert.Equal(t, 1, devices.passes, "odd topics are nobody's")
	}
}

// TestPollerSettlesAfterItsEnd: reading has cleared the list at the provider, so a shutdown must not lose it.
func TestPollerSettlesAfterItsEnd(t *testing.T) {
	t.Parallel()
	c, box, devices := newClock(), newOutbox(), &roster{}
	devices.enroll("", "a", c.now().Add(-time.Hour))
	ctx, stop := context.WithCancel(t.Context())
	source := &told{tokens: []push.InvalidToken{dead("a", c.now())}}
	p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Clock: func() time.Time { stop(); return c.now() }}
	require.NoError(t, p.Poll(ctx))
	assert.Len(t, box.settled(), 1)
}

func TestPollerRuns(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	box, devices := newOutbox(), &roster{}
	devices.enroll("", "a", time.Unix(5, 0))
	source := &told{err: errDown, tokens: []push.InvalidToken{dead("a", time.Unix(6, 0))}}
	p := &push.Poller{Sources: []push.FeedbackSource{source}, Devices: devices, Store: box, Interval: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&out, nil))}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	require.Eventually(t, func() bool { return len(box.settled()) == 1 }, 10*time.Second, time.Millisecond)
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	assert.Contains(t, out.String(), "tokens=1 enrollments=1")
	assert.NotContains(t, out.String(), "YQ", "no token in a log")
}

// TestPollerOverTheBinaryInterface goes the whole way from a provider's stream, which breaks off, to the Store.
func TestPollerOverTheBinaryInterface(t *testing.T) {
	t.Parallel()
	box, devices := newOutbox(), &roster{}
	devices.enroll("", "a", time.Unix(5, 0))
	service := provided(t, append(tuple(6, 'a'), tuple(7, 'b')[:5]...))
	p := &push.Poller{Sources: []push.FeedbackSource{service}, Devices: devices, Store: box}
	require.ErrorContains(t, p.Poll(t.Context()), "unexpected EOF")
	require.Len(t, box.settled(), 1)
	assert.Equal(t, "a", box.settled()[0].Target.Enrollment.Device)
}

// A Poller runs beside the server, where no Dispatcher pushes: with one, nothing is left to ask for.
func ExamplePoller() {
	store, fleet := newOutbox(), &roster{} // Stores.Push and Stores.Roster
	fleet.enroll("", "00008103-000A", time.Now().Add(-time.Hour))

	answers := &push.Answers{Pusher: always(push.Result{Outcome: push.Invalid, Reason: "Unregistered", Since: time.Now()})} // an apns.Client
	if _, err := answers.Push(context.Background(), []push.Target{target("00008103-000A")}); err != nil {
		fmt.Println(err)
	}
	p := &push.Poller{Sources: []push.FeedbackSource{answers}, Devices: fleet, Store: store}
	if err := p.Poll(context.Background()); err != nil { // a server calls go p.Run(ctx)
		fmt.Println(err)
	}
	for _, r := range store.settled() {
		fmt.Println(r.Target.Enrollment, r.Outcome, r.Reason)
	}
	// Output: 00008103-000A invalid Unregistered
}
