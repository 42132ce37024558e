package apns_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

// TestSoak lets devices be woken all the time while everything fails in turn and together: streams, connections, answers,
// APNs as a whole, certificates, tokens, and the process that pushes. In the end every device that was woken was pushed after
// it was, none was pushed twice but by the rule, and nothing is left over. APPLEMDM_SOAK=1h makes it long.
func TestSoak(t *testing.T) {
	length := 4 * time.Second
	if text := os.Getenv("APPLEMDM_SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	goroutines := runtime.NumGoroutine()
	s := newSoak(t)
	s.run(length)
	s.drain()
	s.check()
	s.server.Close()
	for range 2000 { // not Eventually, which is a goroutine itself
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	assert.Fail(t, "goroutines are left")
}

const (
	soakDevices = 300
	soakStreams = 40
)

type soak struct {
	*testing.T
	server *mdmtest.APNs
	client *apns.Client
	stores storage.Stores
	calm   atomic.Bool // no more faults

	mu     sync.Mutex
	random *rand.Rand
	woken  [soakDevices]time.Time // last
	pushed [soakDevices]time.Time // last accepted
	ids    map[string]int         // how often each apns-id was taken
	told   map[string]int         // how often each was told to be delivered

	wakes    atomic.Int64
	outcomes [8]atomic.Int64 // of results
	unknown  atomic.Int64    // results without an answer to what was sent
	answered atomic.Int64
	mostOpen int
}

func newSoak(t *testing.T) *soak {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &soak{T: t, stores: memory.New().Stores(), random: rand.New(rand.NewPCG(seed, 1)), ids: map[string]int{}, told: map[string]int{}}
	s.server = mdmtest.APNsConfig{MaxStreams: soakStreams, CountRepeats: true}.Start()
	t.Cleanup(s.server.Close)
	s.server.OnTaken(func(p mdmtest.Push) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ids[p.ID]++
	})
	s.server.OnDelivery(func(p mdmtest.Push) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := deviceOf(p.Token); p.At.After(s.pushed[i]) {
			s.pushed[i] = p.At
		}
	})
	s.server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return s.answer() })
	s.client = &apns.Client{Certificates: s.stores.PushCertificates, Host: s.server.URL(), RootCAs: s.server.RootCAs(),
		Timeout: time.Second, PingInterval: 200 * time.Millisecond, Settle: -1}
	s.renew()
	for i := range soakDevices {
		s.tokenUpdate(i)
	}
	return s
}

func soakID(i int) mdm.EnrollmentID {
	return mdm.EnrollmentID{Device: string(binary.BigEndian.AppendUint32([]byte("D"), uint32(i)))}
}

func deviceOf(token []byte) int { return int(binary.BigEndian.Uint32(token)) }

// tokenUpdate is a request of a device, which brings the same token again.
func (s *soak) tokenUpdate(i int) {
	now := time.Now()
	e := mdm.Enrollment{ID: soakID(i), Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: topic,
		PushToken: binary.BigEndian.AppendUint32(nil, uint32(i)), PushMagic: "magic", EnrolledAt: now, TokenUpdatedAt: now}
	plan := checkin.Plan{Enrollments: []mdm.Enrollment{e}, Seen: true}
	assert.NoError(s, s.stores.Checkin.Update(bg, checkin.Key{ID: e.ID}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
}

func (s *soak) renew() {
	assert.NoError(s, s.stores.PushCertificates.SavePushCertificate(bg, certificate(s, topic)))
}

func (s *soak) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// answer draws what becomes of a push.
func (s *soak) answer() mdmtest.PushAnswer {
	if s.calm.Load() {
		return mdmtest.PushAnswer{}
	}
	switch s.draw(60) {
	case 0:
		return mdmtest.PushAnswer{Status: http.StatusTooManyRequests, Reason: "TooManyRequests", RetryAfter: time.Second}
	case 1:
		return mdmtest.PushAnswer{Status: http.StatusServiceUnavailable, Reason: "ServiceUnavailable"}
	case 2:
		return mdmtest.RefusePush(http.StatusInternalServerError, "InternalServerError")
	case 3:
		return mdmtest.Unregistered(time.Now().Add(-time.Hour)) // of a former registration: not true any more
	case 4:
		return mdmtest.Unregistered(time.Now())
	case 5:
		return mdmtest.PushAnswer{Reset: true}
	case 6: // connections are made at a pace
		return mdmtest.PushAnswer{Lose: s.draw(8) == 0}
	case 7:
		return mdmtest.PushAnswer{Drop: s.draw(8) == 0}
	case 8:
		return mdmtest.PushAnswer{GoAway: s.draw(8) == 0}
	case 9:
		return mdmtest.PushAnswer{Stall: s.draw(4) == 0}
	case 10, 11, 12:
		return mdmtest.PushAnswer{Refuse: true}
	case 13, 14, 15, 16, 17, 18:
		return mdmtest.PushAnswer{Delay: time.Duration(s.draw(30)) * time.Millisecond}
	}
	return mdmtest.PushAnswer{}
}

// Push implements push.Pusher around the client: each target has one result.
func (s *soak) Push(ctx context.Context, targets []push.Target) ([]push.Result, error) {
	results, err := s.client.Push(ctx, targets)
	assert.NoError(s, err)
	assert.Len(s, results, len(targets))
	for i, r := range results {
		assert.Equal(s, targets[i].Enrollment, r.Target.Enrollment)
		s.outcomes[r.Outcome].Add(1)
		if r.Status != 0 {
			s.answered.Add(1)
		}
		if r.Outcome == push.Delivered {
			s.mu.Lock()
			s.told[r.APNsID]++
			s.mu.Unlock()
		}
		if r.Outcome == push.Retry && r.Status == 0 {
			s.unknown.Add(1)
		}
	}
	return results, err
}

// process is one life of the process that pushes.
func (s *soak) process(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	d := &push.Dispatcher{Store: s.stores.Push, Pusher: s, Pacing: push.Pacing{Spacing: -1}, Interval: 10 * time.Millisecond, Gather: time.Millisecond,
		Batch: 50, Backoff: func(int) time.Duration { return time.Second }}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.Run(ctx) }()
	return func() { cancel(); <-ended }
}

func (s *soak) run(length time.Duration) {
	ctx, cancel := context.WithTimeout(s.Context(), length)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	for range 3 {
		group.Go(func() {
			for ctx.Err() == nil {
				s.wake(s.draw(soakDevices))
				time.Sleep(time.Duration(s.draw(2000)) * time.Microsecond)
			}
		})
	}
	end := s.process(s.Context())
	defer func() { end() }()
	for ctx.Err() == nil {
		s.fail(ctx, func() {
			end()
			end = s.process(s.Context())
		})
		open, _ := s.server.Connections()
		s.mostOpen = max(s.mostOpen, open)
	}
}

func (s *soak) wake(i int) {
	at := time.Now()
	_, err := s.stores.Push.Wake(bg, mdm.IDs(soakID(i)), at)
	assert.NoError(s, err)
	s.wakes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.woken[i]) {
		s.woken[i] = at
	}
}

// fail draws what happens to all.
func (s *soak) fail(ctx context.Context, restart func()) {
	wait := func(most int) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(s.draw(most)) * time.Millisecond):
		}
	}
	wait(150)
	switch s.draw(12) {
	case 0:
		s.server.GoAwayAll("IdleTimeout")
	case 1:
		s.server.Disconnect()
	case 2:
		thaw := s.server.Freeze()
		wait(600)
		thaw()
	case 3:
		s.server.SetStreams(1 + s.draw(soakStreams))
	case 4:
		s.server.Unavailable(true)
		wait(300)
		s.server.Unavailable(false)
	case 5:
		s.server.Silent(true)
		wait(100)
		s.server.Silent(false)
	case 6:
		s.renew()
	case 7:
		restart()
	case 8:
		s.client.CloseIdleConnections()
	case 9:
		for range 20 { // devices come back whose token was called dead
			s.tokenUpdate(s.draw(soakDevices))
		}
	case 10:
		resume := s.server.Hang()
		wait(2000)
		resume()
	case 11:
		s.server.WithholdWindows(true)
		wait(1000)
		s.server.WithholdWindows(false)
	}
}

// drain lets everything be well again until nothing is wanted any more.
func (s *soak) drain() {
	s.calm.Store(true)
	s.server.SetStreams(soakStreams)
	for i := range soakDevices {
		s.tokenUpdate(i)
	}
	end := s.process(s.Context())
	defer end()
	require.Eventually(s, func() bool {
		for i := range soakDevices {
			if last, err := s.stores.Push.LastPush(bg, soakID(i)); err != nil || !last.Due.IsZero() {
				return false
			}
		}
		return true
	}, 3*time.Minute, 20*time.Millisecond, "pushes are left")
}

func (s *soak) check() {
	s.client.CloseIdleConnections()
	require.Eventually(s, func() bool { open, _ := s.server.Connections(); return open == 0 }, 20*time.Second, 10*time.Millisecond, "connections are left")
	require.Eventually(s, func() bool {
		t := s.server.Totals()
		return t.Taken == t.Answered+t.Reset+t.Lost+t.Canceled
	}, 20*time.Second, 10*time.Millisecond, "pushes are under way")
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range soakDevices {
		assert.False(s, s.pushed[i].Before(s.woken[i]), "device %d was woken at %s and last pushed at %s: a push was lost", i, s.woken[i], s.pushed[i])
	}
	for id, n := range s.ids {
		assert.LessOrEqual(s, n, 2, "push %s", id)
	}
	for id, n := range s.told {
		assert.Equal(s, 1, n, "push %s", id)
		assert.Positive(s, s.ids[id], "push %s was told of that was not taken", id)
	}
	totals := s.server.Totals()
	assert.Equal(s, totals.Taken, len(s.ids)+totals.Repeated)
	assert.LessOrEqual(s, s.answered.Load(), int64(totals.Answered))
	delivered, accepted := s.outcomes[push.Delivered].Load(), int64(totals.Accepted)
	assert.LessOrEqual(s, delivered, accepted, "pushes were told of that were not accepted")
	assert.LessOrEqual(s, accepted, delivered+s.unknown.Load()+int64(totals.Repeated), "pushes were accepted, and nobody was told that it is not known")
	assert.Empty(s, s.server.Violations())
	s.Logf("%d wakes, results %v, %+v, at most %d connections", s.wakes.Load(), s.counts(), totals, s.mostOpen)
}

func (s *soak) counts() map[string]int64 {
	out := map[string]int64{}
	for o := range s.outcomes {
		if n := s.outcomes[o].Load(); n > 0 {
			out[push.Outcome(o).String()] = n
		}
	}
	return out
}
