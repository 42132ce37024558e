package webhook

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

const oldSecret, newSecret = "a secret of some length", "another secret of some length"

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// kit is a webhook and its receiver. The clock stands, but when the webhook sleeps.
type kit struct {
	*testing.T
	*Webhook
	url string

	mu     sync.Mutex
	now    time.Time
	answer http.HandlerFunc
	got    []request
	dead   map[int64]string // by Seq
}

// request is one that came.
type request struct {
	header http.Header
	body   []byte
	at     time.Time
}

func newKit(t *testing.T, change ...func(*Config)) *kit {
	t.Helper()
	k := &kit{T: t, now: noon, answer: status(http.StatusNoContent), dead: map[int64]string{}}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		k.mu.Lock()
		k.got = append(k.got, request{r.Header.Clone(), body, k.now})
		answer := k.answer
		k.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(receiver.Close)
	k.url = receiver.URL
	cfg := Config{URL: receiver.URL + "/hook?token=in-the-query", Secrets: []mdm.Secret{mdm.SecretString(oldSecret)}, Clock: k.clock,
		Dead: func(_ context.Context, e mdm.Event, reason string) error { k.dead[e.Seq] = reason; return nil }}
	for _, f := range change {
		f(&cfg)
	}
	w, err := New(cfg)
	require.NoError(t, err)
	w.sleep = func(_ context.Context, d time.Duration) { k.advance(d) }
	w.random = func() float64 { return 0 }
	k.Webhook = w
	return k
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) advance(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

func (k *kit) answers(f http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = f
}

func (k *kit) requests() []request {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.got
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

func event(seq int64, device string, age time.Duration) mdm.Event {
	return mdm.Event{Seq: seq, Type: mdm.EventEnrolled, At: noon.Add(-age), Enrollment: mdm.EnrollmentID{Device: device}, Generation: 1}
}
