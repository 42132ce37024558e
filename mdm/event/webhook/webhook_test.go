package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	events "github.com/gomdm/applemdm/mdm/event"
)

func TestDelivery(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Secrets = secrets
		c.Authorization = mdm.SecretString("Bearer out-of-band")
	})
	require.NoError(t, k.Consume(t.Context(), event(7, "A", 0)))
	k.advance(time.Hour)
	require.NoError(t, k.Consume(t.Context(), event(7, "A", 0)))
	require.NoError(t, k.Consume(t.Context(), event(8, "A", 0)))
	got := k.requests()
	require.Len(t, got, 3)
	for i, r := range got {
		assert.Equal(t, "application/json", r.header.Get("Content-Type"))
		assert.Equal(t, userAgent, r.header.Get("User-Agent"))
		assert.Equal(t, "Bearer out-of-band", r.header.Get("Authorization"))
		for _, s := range secrets {
			require.NoError(t, Verify(r.header.Get(SignatureHeader), r.body, []mdm.Secret{s}, r.at, time.Second), i)
		}
		var d Delivery
		require.NoError(t, json.Unmarshal(r.body, &d))
		assert.Equal(t, r.header.Get(IDHeader), d.ID)
		assert.Equal(t, Version, d.Version)
		assert.Nil(t, d.Result)
	}
	var first Delivery
	require.NoError(t, json.Unmarshal(got[0].body, &first))
	assert.Equal(t, event(7, "A", 0), first.Event)
	assert.Equal(t, got[0].body, got[1].body, "the same event is the same body")
	assert.NotEqual(t, got[0].header.Get(SignatureHeader), got[1].header.Get(SignatureHeader), "at another time")
	assert.NotEqual(t, got[0].header.Get(IDHeader), got[2].header.Get(IDHeader))
}

func TestNew(t *testing.T) {
	dialing := &http.Transport{DialContext: http.DefaultTransport.(*http.Transport).DialContext}
	for text, cfg := range map[string]Config{
		"URL":           {},
		"http or https": {URL: "ftp://host"},
		"URL is no":     {URL: "http://"},
		"bytes":         {URL: "http://host", Secrets: []mdm.Secret{mdm.SecretString("short")}},
		"at least":      {URL: "http://host", Secrets: []mdm.Secret{secrets[0], {}}},
		"Commands":      {URL: "http://host", Results: true},
		"Timeout":       {URL: "http://host", Timeout: MaxTimeout + 1},
		"dialers":       {URL: "http://host", PublicOnly: true, Client: &http.Client{Transport: dialing}},
		"PublicOnly":    {URL: "http://host", PublicOnly: true, Client: &http.Client{Transport: http.NewFileTransport(http.Dir("."))}},
	} {
		_, err := New(cfg)
		require.ErrorContains(t, err, text)
	}
	_, err := New(Config{URL: "https://host"})
	require.NoError(t, err)
}

func TestFilters(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Types, c.Tenants = []mdm.EventType{"command.*", mdm.EventEnrolled}, []string{"red"}
	})
	for seq, c := range []struct {
		kind   mdm.EventType
		tenant string
	}{{mdm.EventCommandSent, "red"}, {mdm.EventEnrolled, "red"}, {mdm.EventEnrolled, "blue"}, {mdm.EventReenrolled, "red"}, {mdm.EventCommandSent, ""}} {
		require.NoError(t, k.Consume(t.Context(), mdm.Event{Seq: int64(seq), Type: c.kind, Enrollment: mdm.EnrollmentID{Tenant: c.tenant, Device: "A"}}))
	}
	assert.Len(t, k.requests(), 2)
}

// queue is an event.Log. Leases end when they are told to.
type queue struct {
	events []mdm.Event
	leased map[int64]bool
	acked  map[int64]bool
}

func (q *queue) Lease(context.Context, string, int, time.Duration) (out []mdm.Event, _ error) {
	held := map[mdm.EnrollmentID]bool{}
	for _, e := range q.events {
		held[e.Enrollment] = held[e.Enrollment] || q.leased[e.Seq] && !q.acked[e.Seq]
		if !q.acked[e.Seq] && !held[e.Enrollment] {
			out = append(out, e)
		}
	}
	for _, e := range out {
		q.leased[e.Seq] = true
	}
	return out, nil
}

func (q *queue) Ack(_ context.Context, _ string, done []mdm.Event) error {
	for _, e := range done {
		q.acked[e.Seq] = true
	}
	return nil
}

func (q *queue) Events(context.Context, string, int64, int) ([]mdm.Event, error) { return nil, nil }

func TestOrderBehindAFailure(t *testing.T) {
	k := newKit(t)
	fail := true
	k.answers(func(w http.ResponseWriter, r *http.Request) {
		if fail {
			w.WriteHeader(http.StatusServiceUnavailable)
			fail = false
		}
	})
	q := &queue{events: []mdm.Event{event(1, "A", 0), event(2, "B", 0), event(3, "A", 0), event(4, "B", 0)}, leased: map[int64]bool{}, acked: map[int64]bool{}}
	d := &events.Dispatcher{Log: q, Name: "webhook", Consumer: k}
	require.NoError(t, d.Flush(t.Context()))
	assert.Equal(t, []int64{1, 2, 4}, k.seqs(), "the receiver was left alone for a second, then the others went on")
	clear(q.leased)
	require.NoError(t, d.Flush(t.Context()))
	assert.Equal(t, []int64{1, 2, 4, 1, 3}, k.seqs())
	assert.Len(t, q.acked, 4)
}

func (k *kit) seqs() (out []int64) {
	for _, r := range k.requests() {
		var d Delivery
		require.NoError(k, json.Unmarshal(r.body, &d))
		out = append(out, d.Event.Seq)
	}
	return out
}

// consumeUntil consumes an event again and again until there were n requests more, and returns when they came.
func (k *kit) consumeUntil(n int, e mdm.Event) (at []time.Duration) {
	k.Helper()
	from := len(k.requests())
	for range 10_000 {
		if len(k.requests()) == from+n {
			for _, r := range k.requests()[from:] {
				at = append(at, r.at.Sub(noon))
			}
			return at
		}
		require.Error(k, k.Consume(k.Context(), e))
	}
	k.Fatal("it is not asked again")
	return nil
}

func TestPausesDouble(t *testing.T) {
	var log bytes.Buffer
	k := newKit(t, func(c *Config) {
		c.Retry.Most = 20 * time.Second
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	k.answers(status(http.StatusInternalServerError))
	at := k.consumeUntil(8, event(1, "A", 0))
	var pauses []time.Duration
	for i := 1; i < len(at); i++ {
		pauses = append(pauses, (at[i] - at[i-1]).Round(time.Second))
	}
	assert.Equal(t, []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 20e9, 20e9}, pauses)
	k.answers(status(http.StatusOK))
	k.advance(time.Minute)
	require.NoError(t, k.Consume(t.Context(), event(1, "A", 0)))
	assert.Contains(t, log.String(), "is down")
	assert.Contains(t, log.String(), "is back")
	assert.NotContains(t, log.String(), "in-the-query")
	k.answers(status(http.StatusBadGateway))
	require.Error(t, k.Consume(t.Context(), event(2, "A", 0)))
	assert.Equal(t, time.Second, k.left(), "it begins anew")
	assert.Empty(t, k.dead)
}

func TestPausesAreShortenedAtRandom(t *testing.T) {
	k := newKit(t)
	k.random = func() float64 { return 1 }
	k.answers(status(http.StatusInternalServerError))
	require.Error(t, k.Consume(t.Context(), event(1, "A", 0)))
	assert.Equal(t, time.Second/2, k.left())
}

func TestACallDoesNotWaitForLong(t *testing.T) {
	k := newKit(t)
	k.answers(status(http.StatusGone))
	require.Error(t, k.Consume(t.Context(), event(1, "A", 0)))
	before := k.clock()
	require.ErrorIs(t, k.Consume(t.Context(), event(1, "A", 0)), errPaused)
	assert.Equal(t, hold, k.clock().Sub(before))
	assert.Len(t, k.requests(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, k.Consume(ctx, event(1, "A", 0)), context.Canceled)
}

func TestWhatTheReceiverSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		pause  time.Duration // 0: it is not down
		code   mdm.Code
	}{
		{"seconds", status(503, "Retry-After", "120"), 2 * time.Minute, mdm.Unavailable},
		{"a date", status(429, "Retry-After", noon.Add(time.Minute).Format(http.TimeFormat)), time.Minute, mdm.Unavailable},
		{"too much", status(503, "Retry-After", "99999999999"), 5 * time.Minute, mdm.Unavailable},
		{"nonsense", status(503, "Retry-After", "-5"), time.Second, mdm.Unavailable},
		{"gone", status(410), 5 * time.Minute, mdm.Unavailable},
		{"wrong credentials", status(401), time.Second, mdm.Unavailable},
		{"wrong address", status(404), time.Second, mdm.Unavailable},
		{"moved", status(301, "Location", "/elsewhere"), time.Second, mdm.Unavailable},
		{"refused", status(400), 0, mdm.Malformed},
		{"too large", status(413), 0, mdm.Malformed},
		{"not understood", status(422), 0, mdm.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			k.answers(c.answer)
			err := k.Consume(t.Context(), event(1, "A", 0))
			require.Error(t, err)
			assert.Equal(t, c.code, mdm.CodeOf(err))
			assert.Equal(t, c.pause, max(k.left(), 0))
			assert.Len(t, k.requests(), 1, "a redirect is not followed")
		})
	}
}

func TestRefusedEventsAreGivenUp(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Attempts = 3 })
	k.answers(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(string(k.requests()[len(k.requests())-1].body), `"seq":1,`) {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	for range 2 {
		require.Error(t, k.Consume(t.Context(), event(1, "A", 0)))
		require.NoError(t, k.Consume(t.Context(), event(2, "B", 0)))
	}
	assert.Empty(t, k.dead)
	require.NoError(t, k.Consume(t.Context(), event(1, "A", 0)))
	assert.Equal(t, map[int64]string{1: "the receiver answered 422"}, k.dead)
	assert.Empty(t, k.refusals)
}

func TestAttemptsAreForgottenWithTheDelivery(t *testing.T) {
	k := newKit(t)
	k.answers(status(400))
	require.Error(t, k.Consume(t.Context(), event(1, "A", 0)))
	assert.Len(t, k.refusals, 1)
	k.answers(status(200))
	require.NoError(t, k.Consume(t.Context(), event(1, "A", 0)))
	assert.Empty(t, k.refusals)
}

func TestDeadLettersMayFail(t *testing.T) {
	full := errors.New("disk full")
	k := newKit(t, func(c *Config) {
		c.Attempts = 1
		c.Dead = func(context.Context, mdm.Event, string) error { return full }
	})
	k.answers(status(400))
	require.ErrorIs(t, k.Consume(t.Context(), event(1, "A", 0)), full)
}

func TestOutagesDoNotUseUpAttempts(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Attempts = 2 })
	k.answers(status(500))
	k.consumeUntil(30, event(1, "A", 0))
	k.advance(time.Hour)
	k.answers(status(400))
	require.Error(t, k.Consume(t.Context(), event(1, "A", 0)))
	assert.Empty(t, k.dead)
}

func TestOldEventsAreGivenUpInALongOutage(t *testing.T) {
	var log bytes.Buffer
	k := newKit(t, func(c *Config) {
		c.MaxAge, c.Retry.Most, c.Logger = 24*time.Hour, 4*time.Second, slog.New(slog.NewTextHandler(&log, nil))
	})
	old, young := event(1, "A", 25*time.Hour), event(2, "B", time.Hour)
	k.answers(status(500))
	k.consumeUntil(2, old) // a short outage costs nothing, however old it is
	assert.Empty(t, k.dead)
	require.NoError(t, k.Consume(t.Context(), old), "the pauses are the longest now")
	assert.Equal(t, map[int64]string{1: "the receiver answered 500"}, k.dead)
	assert.Contains(t, log.String(), eventID(&old))
	asked := len(k.requests())
	another := event(3, "A", 25*time.Hour)
	require.NoError(t, k.Consume(t.Context(), another), "nobody is asked for it")
	assert.Contains(t, k.dead, int64(3))
	assert.Len(t, k.requests(), asked)
	require.Error(t, k.Consume(t.Context(), young))
	assert.NotContains(t, k.dead, int64(2))

	k.answers(status(200))
	k.advance(time.Minute)
	require.NoError(t, k.Consume(t.Context(), event(4, "C", 99*time.Hour)), "while the receiver is there, age is nothing")
	assert.NotContains(t, k.dead, int64(4))
	require.NoError(t, k.Send(t.Context(), old), "again, by hand")
}

func TestReceiversThatMisbehave(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	t.Run("no answer", func(t *testing.T) {
		k := newKit(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
		k.answers(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
		err := k.Consume(t.Context(), event(1, "A", 0))
		require.ErrorContains(t, err, "no answer")
		assert.NotContains(t, err.Error(), "in-the-query")
	})
	t.Run("a body that does not come", func(t *testing.T) {
		k := newKit(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
		k.answers(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			flush(w)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
		require.NoError(t, k.Consume(t.Context(), event(1, "A", 0)), "its status says enough")
	})
	t.Run("a body without end", func(t *testing.T) {
		k := newKit(t)
		k.answers(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
				flush(w)
			}
		})
		require.NoError(t, k.Consume(t.Context(), event(1, "A", 0)))
	})
	t.Run("headers without end", func(t *testing.T) {
		k := newKit(t)
		k.answers(status(200, "X", strings.Repeat("x", 100<<10)))
		require.Error(t, k.Consume(t.Context(), event(1, "A", 0)))
	})
	t.Run("the program stops", func(t *testing.T) {
		k := newKit(t)
		ctx, cancel := context.WithCancel(t.Context())
		k.answers(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		require.ErrorIs(t, k.Consume(ctx, event(1, "A", 0)), context.Canceled)
		assert.Zero(t, k.failures, "it says nothing about the receiver")
	})
}

func TestTLS(t *testing.T) {
	came := 0
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came++ }))
	defer receiver.Close()
	receiver.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w, err := New(Config{URL: receiver.URL})
	require.NoError(t, err)
	require.ErrorContains(t, w.Send(t.Context(), event(1, "A", 0)), "certificate")
	w, err = New(Config{URL: receiver.URL, Client: receiver.Client()})
	require.NoError(t, err)
	require.NoError(t, w.Send(t.Context(), event(1, "A", 0)))
	assert.Equal(t, 1, came)
	assert.Nil(t, receiver.Client().CheckRedirect, "the client is the caller's")
}

func TestPublicOnly(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost"} {
		k := newKit(t, func(c *Config) {
			c.PublicOnly = true
			c.URL = strings.Replace(c.URL, "127.0.0.1", host, 1)
		})
		require.ErrorContains(t, k.Consume(t.Context(), event(1, "A", 0)), "not on the public Internet")
		assert.Empty(t, k.requests())
	}
	for text, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700::1111": true, "64:ff9b::1.1.1.1": true, "::ffff:1.1.1.1": true,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false,
		"224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "192.0.2.1": false, "::1": false, "::": false, "fe80::1": false,
		"fc00::1": false, "fec0::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "64:ff9b::10.0.0.1": false, "2002:7f00:1::": false,
		"2001::1": false, "2001:db8::1": false, "::127.0.0.1": false, "64:ff9b:1::1": false, "fe80::1%eth0": false,
	} {
		assert.Equal(t, want, public(netip.MustParseAddr(text)), text)
	}
	require.Error(t, publicOnly("tcp", "nonsense", nil))
	proxy := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("the proxy was asked for") }}
	k := newKit(t, func(c *Config) { c.PublicOnly, c.Client = true, &http.Client{Transport: proxy} })
	require.ErrorContains(t, k.Consume(t.Context(), event(1, "A", 0)), "not on the public Internet", "a proxy would connect unseen")
}
