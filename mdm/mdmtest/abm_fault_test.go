package mdmtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestABMFailsAsItIsTold(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, now.now)
	c.login()
	define := func() (int, string, http.Header, error) {
		return c.try("POST", "/profile", object{"profile_name": "One", "url": "https://mdm.example.com/"}, nil)
	}
	const call = "POST /profile"
	abm.Queue(call, mdmtest.ABMFault{Status: 429, RetryAfter: 90 * time.Second}, mdmtest.ABMFault{Status: 503, RetryAfter: time.Minute, RetryDate: true},
		mdmtest.ABMFault{Status: 500, Body: "<html>", Type: "text/html", Done: true}, mdmtest.ABMFault{Cut: true}, mdmtest.ABMFault{Cut: true, Done: true},
		mdmtest.ABMFault{Half: true}, mdmtest.ABMFault{Size: 1 << 20})
	c.call("GET", "/account", nil, nil) // the faults are of another call

	status, _, h, err := define()
	require.NoError(t, err)
	require.Equal(t, 429, status)
	require.Equal(t, "90", h.Get("Retry-After"))
	status, _, h, err = define()
	require.NoError(t, err)
	require.Equal(t, 503, status)
	require.Equal(t, "Sun, 01 Nov 2026 09:01:00 GMT", h.Get("Retry-After"))
	status, text, h, err := define()
	require.NoError(t, err)
	require.Equal(t, 500, status)
	require.Equal(t, "<html>", text)
	require.Equal(t, "text/html", h.Get("Content-Type"))
	for range 3 {
		_, _, _, err = define()
		require.Error(t, err)
	}
	status, text, _, err = define()
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Greater(t, len(text), 1<<20)
	require.Contains(t, text, "profile_uuid")
	totals := abm.Totals()
	require.Equal(t, 7, totals.Calls[call])
	require.Equal(t, 7, totals.Faults)
	require.Equal(t, 3, totals.Cut)
	require.Equal(t, map[int]int{200: 3, 429: 1, 500: 1, 503: 1}, totals.ByStatus)
	require.Empty(t, abm.Violations())
}

func TestABMFaultsLeaveOrMakeTheChange(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, nil)
	c.login()
	set := func(f mdmtest.ABMFault) bool {
		abm.AddSerials(hq, "A")
		abm.Queue("POST /devices/disown", f)
		_, _, _, _ = c.try("POST", "/devices/disown", object{"devices": []string{"A"}}, nil)
		_, s, _ := abm.Device("A")
		return s == nil
	}
	for _, tt := range []struct {
		fault mdmtest.ABMFault
		made  bool
	}{
		{mdmtest.ABMFault{}, true}, {mdmtest.ABMFault{Cut: true}, false}, {mdmtest.ABMFault{Cut: true, Done: true}, true}, {mdmtest.ABMFault{Half: true}, true},
		{mdmtest.ABMFault{Status: 500}, false}, {mdmtest.ABMFault{Status: 500, Done: true}, true}, {mdmtest.ABMFault{Delay: time.Millisecond}, true},
	} {
		assert.Equal(t, tt.made, set(tt.fault), "%+v", tt.fault)
	}
}

func TestABMInjectsByARule(t *testing.T) {
	t.Parallel()
	run := func(f mdmtest.ABMFaults) string {
		abm := startABM(t, mdmtest.ABMConfig{Seed: 7})
		c := newABMClient(t, abm, abm.Server("HQ"), nil)
		c.login()
		abm.Inject(f)
		var said []string
		for range 12 {
			status, _, _, err := c.try("POST", abmFetch, object{}, nil) // net/http does not repeat it by itself
			if err != nil {
				status = -1
			}
			said = append(said, fmt.Sprint(status))
		}
		require.Empty(t, abm.Violations())
		return strings.Join(said, " ")
	}
	bad := []mdmtest.ABMFault{{Status: 500}}
	require.Equal(t, "200 200 500 500 500 200 200 200 200 200 200 200", run(mdmtest.ABMFaults{Faults: bad, After: 2, Times: 3}))
	require.NotContains(t, run(mdmtest.ABMFaults{Faults: bad, Calls: []string{"POST /profile"}}), "500")
	mix := run(mdmtest.ABMFaults{Faults: mdmtest.ABMTroubles(), Rate: 0.5})
	require.Equal(t, mix, run(mdmtest.ABMFaults{Faults: mdmtest.ABMTroubles(), Rate: 0.5}), "the same seed, the same faults")
	require.Contains(t, mix, "200")
	require.Contains(t, mix, "5")
}

func TestABMStallsInTheMiddle(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	abm.AddMany(hq, 10)
	c := newABMClient(t, abm, hq, nil)
	c.login()
	abm.Queue("POST "+abmFetch, mdmtest.ABMFault{Stall: true})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", abm.URL()+abmFetch, strings.NewReader("{}"))
	require.NoError(t, err)
	r.Header = c.header.Clone()
	r.Header.Set("X-ADM-Auth-Session", c.session)
	resp, err := c.http.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	half := make([]byte, resp.ContentLength/2)
	_, err = io.ReadFull(resp.Body, half)
	require.NoError(t, err)

	c.page(abmFetch, "", 0) // a second one, while the first is under way
	require.Equal(t, 2, abm.Totals().AtOnce["HQ"])
	cancel()
	_, err = resp.Body.Read(half)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, abm.Violations())
}

func TestABMSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, nil)
	c.http.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	c.login()
	r, err := http.NewRequest("GET", abm.URL()+"/account", nil)
	require.NoError(t, err)
	resp, err := c.http.Do(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
	for _, f := range []mdmtest.ABMFault{{Cut: true}, {Cut: true, Done: true}, {Half: true}} {
		abm.Queue("", f)
		_, _, _, err := c.try("POST", abmFetch, object{}, nil)
		require.Error(t, err)
	}
	c.page(abmFetch, "", 0)
}

func TestABMQuotesErrors(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	c := newABMClient(t, abm, abm.Server("HQ"), nil)
	c.login()
	abm.SetOddities(mdmtest.ABMOddities{QuoteErrors: true})
	abm.RequireTerms(true)
	c.refused(403, " \"T_C_NOT_SIGNED\" \r\n", "GET", "/account", nil)
}

func TestABMSlowAnswersEndWithTheClient(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, nil)
	c.login()
	abm.Inject(mdmtest.ABMFaults{Faults: []mdmtest.ABMFault{{Delay: time.Hour}}})
	arrived := make(chan struct{})
	abm.OnCall(func(string, int) { close(arrived) })
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", abm.URL()+"/account", nil)
	require.NoError(t, err)
	go func() {
		<-arrived
		cancel()
	}()
	_, err = c.http.Do(r)
	require.ErrorIs(t, err, context.Canceled)
	abm.OnCall(nil)
	errs := make(chan error)
	go func() {
		_, _, _, err := c.try("GET", "/account", nil, nil)
		errs <- err
	}()
	for abm.Calls("GET /account") < 2 {
		time.Sleep(time.Millisecond)
	}
	abm.Close()
	require.Error(t, <-errs)
}

// Many clients at once, while devices come, move and go, and calls fail by chance.
func TestABMIsSafeForManyAtOnce(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{Seed: 3})
	servers := []*mdmtest.ABMServer{abm.Server("A"), abm.Server("B"), abm.Org("Other").Server("A")}
	first := abm.AddMany(servers[0], 300)
	abm.Inject(mdmtest.ABMFaults{Faults: mdmtest.ABMTroubles(), Rate: 0.2})
	abm.RotateSessions(5, false)
	var clients, others sync.WaitGroup
	var done atomic.Bool
	for i, s := range servers {
		c := newABMClient(t, abm, s, nil)
		clients.Go(func() { abmHammer(c, i) })
	}
	others.Go(func() {
		for i := 0; !done.Load(); i++ {
			serial := mdmtest.ABMSerial(first + i%300)
			abm.Move(servers[i%2], serial)
			abm.Activate(serial)
			abm.AddSerials(servers[2], fmt.Sprint("X", i%50))
			abm.Fingerprint(servers[0])
			_, _, _ = abm.Device(serial)
			_ = abm.Totals()
			time.Sleep(100 * time.Microsecond)
		}
	})
	clients.Wait()
	done.Store(true)
	others.Wait()
	for _, v := range abm.Violations() {
		t.Error(v)
	}
	total := 0
	for _, s := range servers[:2] {
		require.Len(t, slices.Collect(abm.Serials(s)), abm.Count(s))
		total += abm.Count(s)
	}
	require.Equal(t, 300, total)
}

// abmHammer makes some hundred calls, and begins anew whenever something goes wrong.
func abmHammer(c *abmClient, seed int) {
	var cursor, uuid string
	path := abmFetch
	for i := range 300 {
		if c.session == "" {
			status, text, _, err := c.try("GET", "/session", nil, http.Header{"Authorization": {c.sign(c.oauth(), "GET", c.url+"/session")}})
			if err == nil && status == 200 {
				c.session = strings.Split(text, `"`)[3]
			}
			continue
		}
		var status int
		var text string
		var err error
		switch (i + seed) % 3 {
		case 0:
			status, text, _, err = c.try("POST", "/profile", object{"profile_name": "P", "url": "https://mdm.example.com/", "devices": []string{mdmtest.ABMSerial(i)}}, nil)
			if err == nil && status == 200 {
				uuid = strings.Split(text, `"`)[3]
			}
		case 1:
			if uuid != "" {
				_, _, _, err = c.try("PUT", "/profile/devices", object{"profile_uuid": uuid, "devices": []string{mdmtest.ABMSerial(i)}}, nil)
			}
		default:
			body := object{"limit": 7}
			if cursor != "" {
				body["cursor"] = cursor
			}
			status, text, _, err = c.try("POST", path, body, nil)
			if err == nil && status == 200 {
				cursor = strings.Split(text, `"`)[3]
				if strings.HasSuffix(strings.TrimSpace(text), "false}") {
					path = abmSync
				}
			}
		}
		if status == http.StatusUnauthorized {
			c.session = ""
		}
		_ = err
	}
}
