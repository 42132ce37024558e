package dep_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// reply is an answer of a transport without a network, for which time is that of the test's bubble.
type reply struct {
	status int
	body   string
	header map[string]string
}

func replies(list *[]reply, calls *int) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		next := reply{200, `{"auth_session_token":"s"}`, nil}
		if r.URL.Path != "/session" {
			*calls++
			next = (*list)[0]
			if len(*list) > 1 {
				*list = (*list)[1:]
			}
		}
		resp := &http.Response{StatusCode: next.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(next.body)), Request: r}
		for key, value := range next.header {
			resp.Header.Set(key, value)
		}
		return resp, nil
	})}
}

func TestRetryAfter(t *testing.T) {
	good := reply{200, "{}", nil}
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble
	after := func(status int, header ...string) reply {
		r := reply{status, "", map[string]string{}}
		for i := 0; i < len(header); i += 2 {
			r.header[header[i]] = header[i+1]
		}
		return r
	}
	for name, c := range map[string]struct {
		list    []reply
		maxWait time.Duration
		calls   int
		waited  time.Duration
		after   time.Duration // in the error; -1: no error
	}{
		"seconds":              {[]reply{after(429, "Retry-After", "7"), good}, 0, 2, 7 * time.Second, -1},
		"503":                  {[]reply{after(503, "Retry-After", " 2 "), good}, 0, 2, 2 * time.Second, -1},
		"at once":              {[]reply{after(503, "Retry-After", "0"), good}, 0, 2, 0, -1},
		"a date":               {[]reply{after(429, "Retry-After", start.Add(5*time.Second).Format(http.TimeFormat)), good}, 0, 2, 5 * time.Second, -1},
		"a date of Apple's":    {[]reply{after(429, "Retry-After", start.Add(time.Hour+5*time.Second).Format(http.TimeFormat), "Date", start.Add(time.Hour).Format(http.TimeFormat)), good}, 0, 2, 5 * time.Second, -1},
		"a date gone by":       {[]reply{after(429, "Retry-After", start.Add(-time.Hour).Format(http.TimeFormat)), good}, 0, 2, 0, -1},
		"too long":             {[]reply{after(429, "Retry-After", "11"), good}, 0, 1, 0, 11 * time.Second},
		"allowed":              {[]reply{after(429, "Retry-After", "60"), good}, time.Minute, 2, time.Minute, -1},
		"in all":               {[]reply{after(429, "Retry-After", "6")}, 0, 2, 6 * time.Second, 6 * time.Second},
		"again and again":      {[]reply{after(429, "Retry-After", "1")}, 0, 3, 2 * time.Second, time.Second},
		"never":                {[]reply{after(429, "Retry-After", "0"), good}, -1, 1, 0, 0},
		"not said":             {[]reply{after(503), good}, 0, 1, 0, 0},
		"nonsense":             {[]reply{after(429, "Retry-After", "soon"), good}, 0, 1, 0, 0},
		"negative":             {[]reply{after(429, "Retry-After", "-5"), good}, 0, 1, 0, 0},
		"for ever":             {[]reply{after(429, "Retry-After", "99999999999999999999"), good}, 0, 1, 0, 48 * time.Hour},
		"with another refusal": {[]reply{after(400, "Retry-After", "1"), good}, 0, 1, 0, time.Second},
		"not a number":         {[]reply{after(429, "Retry-After", "NaN"), good}, 0, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				client := &dep.Client{Token: dep.StaticToken(callsToken()), HTTP: replies(&c.list, &calls), MaxWait: c.maxWait}
				began := time.Now()
				_, err := client.Account(t.Context())
				assert.Equal(t, c.waited, time.Since(began))
				assert.Equal(t, c.calls, calls)
				if c.after < 0 {
					require.NoError(t, err)
					return
				}
				var e *dep.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, c.after, e.RetryAfter)
				if e.Status != 400 {
					assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
					_, person := dep.AsProblem(err)
					assert.False(t, person)
				}
			})
		})
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		client := &dep.Client{
			Token: dep.StaticToken(callsToken()), MaxWait: time.Hour,
			HTTP: replies(&[]reply{{429, "", map[string]string{"Retry-After": "600"}}}, &calls),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := client.Account(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, dep.ErrThrottled)
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, 1, calls)
	})
}

// TestThrottledSession waits for a session, too.
func TestThrottledSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		client := &dep.Client{Token: dep.StaticToken(callsToken()), HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"auth_session_token":"s"}`)), Request: r}
			if asked++; asked == 1 {
				resp.StatusCode = 503
				resp.Header.Set("Retry-After", "3")
			}
			return resp, nil
		})}}
		began := time.Now()
		_, err := client.Account(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, asked)
		assert.Equal(t, 3*time.Second, time.Since(began))
	})
}

// TestRefusedSessionIsToldToAll who wait for it, and is asked for once.
func TestRefusedSessionIsToldToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, release := 0, make(chan struct{})
		client := &dep.Client{Token: dep.StaticToken(callsToken()), HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			<-release
			return &http.Response{StatusCode: 403, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("T_C_NOT_SIGNED")), Request: r}, nil
		})}}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := client.Account(t.Context())
				assert.ErrorIs(t, err, dep.ErrTermsNotSigned)
			})
		}
		synctest.Wait() // one asks, the others wait for it
		close(release)
		wg.Wait()
		assert.Equal(t, 1, asked)
	})
}
