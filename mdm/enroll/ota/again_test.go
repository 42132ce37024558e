package ota_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/profile"
)

const year = 365 * 24 * time.Hour

// yearly makes a profile that can be updated after some time.
func yearly(w **world, after time.Duration) func(*ota.Service) {
	return func(s *ota.Service) {
		s.Final = func(context.Context, enroll.Session) (*profile.Profile, error) {
			p := webClip()
			p.ExpirationDate = (*w).now().Add(after)
			return p, nil
		}
	}
}

func TestTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.delivered("S1")
	first := p.identity
	p.getIdentity(keys()[1])
	assert.Equal(t, http.StatusOK, p.step3().Code)
	assert.Equal(t, http.StatusOK, p.step3().Code, "the answer may have been lost")
	assert.False(t, first.Leaf.Equal(p.identity.Leaf))
	assert.Equal(t, mdm.FingerprintOf(p.identity.Leaf), p.session().Identity)
	assert.Equal(t, 3, p.session().Runs)
	assert.EqualValues(t, 3, w.finals.Load())
}

func TestRunsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ota.Service) { s.MaxRuns = 2 })
	p := w.delivered("S1")
	require.Equal(t, http.StatusOK, p.step3().Code)
	w.refuses(map[string]hostile{
		"step 3": {p.url, p.message(nil, p.identity), 403},
		"step 2": {p.url, p.message(nil, p.builtIn), 403},
	})
	p = w.identified("S2")
	require.Equal(t, http.StatusOK, p.step2().Code)
	w.refuses(map[string]hostile{"step 2": {p.url, p.message(nil, p.builtIn), 403}})
	assert.Equal(t, http.StatusOK, p.step3().Code, "what was begun is finished")
}

func TestSessionCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.delivered("S1")
	w.wait(ota.DefaultLifetime + time.Second)
	w.refuses(map[string]hostile{
		"step 3": {p.url, p.message(nil, p.identity), 403},
		"step 2": {p.url, p.message(nil, p.builtIn), 403},
	})
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(*phone){
		"by the identity": func(p *phone) { require.Equal(p.w.t, http.StatusOK, p.step3().Code) },
		"by the built-in certificate": func(p *phone) {
			p.getIdentity(keys()[1])
			require.Equal(p.w.t, http.StatusOK, p.step3().Code)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			var asked, refuse int
			w = newWorld(t, func(s *ota.Service) {
				yearly(&w, year/2)(s)
				s.MaxRuns = 1
				s.Admit = func(_ context.Context, session enroll.Session) error {
					asked++
					assert.Equal(t, "ada", session.User)
					assert.Equal(t, "S1", session.Device["SERIAL"])
					if refuse > 0 {
						return mdm.Errorf(mdm.Forbidden, "test", "left the company")
					}
					return nil
				}
			})
			p := w.delivered("S1")
			assert.True(t, p.session().UpdateFrom.Equal(w.now().Add(year/2)))
			assert.True(t, p.session().KeepUntil.After(w.now().Add(year)))
			thief := *p
			thief.builtIn = w.phone("S9").builtIn
			for _, early := range []time.Duration{time.Hour, year/2 - 2*time.Hour} {
				w.wait(early)
				w.refuses(map[string]hostile{
					"too early":          {p.url, p.message(nil, p.identity), 403},
					"too early, step 2":  {p.url, p.message(nil, p.builtIn), 403},
					"by another device":  {p.url, thief.message(map[string]any{"UDID": nil, "SERIAL": nil}, thief.builtIn), 403},
					"with another UDID":  {p.url, p.message(map[string]any{"UDID": "U"}, p.identity), 403},
					"without challenge":  {p.url, p.message(map[string]any{"CHALLENGE": nil}, p.builtIn), 403},
					"by another session": {otherSession(p.url), p.message(nil, p.identity), 403},
				})
			}
			w.wait(time.Hour)
			before := asked
			refuse = 1
			p.says["VERSION"] = "23A1" // a new system
			w.refuses(map[string]hostile{
				"not admitted any more":      {p.url, p.message(nil, p.identity), 403},
				"not admitted, step 2":       {p.url, p.message(nil, p.builtIn), 403},
				"when it expires, the thief": {p.url, thief.message(nil, thief.builtIn), 403},
			})
			assert.Equal(t, before+2, asked)
			refuse = 0
			step(p)
			row := p.session()
			assert.True(t, row.UpdateFrom.Equal(w.now().Add(year/2)), "and the next one in another half of a year")
			assert.True(t, row.DeliveredAt.Equal(w.now()))
			assert.Equal(t, "23A1", row.Device["VERSION"])
			assert.Equal(t, 1, row.Runs)
			w.refuses(map[string]hostile{"its runs are over": {p.url, p.message(nil, p.builtIn), 403}})
			w.wait(year / 2)
			p.getIdentity(keys()[0])
			assert.Equal(t, http.StatusOK, p.step3().Code)
		})
	}
}

func TestUpdateEnds(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, func(s *ota.Service) { yearly(&w, 30*24*time.Hour)(s); s.UpdateFor = time.Hour })
	p := w.delivered("S1")
	w.wait(30*24*time.Hour + 2*time.Hour)
	w.refuses(map[string]hostile{
		"step 3": {p.url, p.message(nil, p.identity), 403},
		"step 2": {p.url, p.message(nil, p.builtIn), 403},
	})
}

func TestExpiredIdentity(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, yearly(&w, year))
	w.ca.Lifetime = 24 * time.Hour
	p := w.delivered("S1")
	w.wait(year)
	w.refuses(map[string]hostile{"step 3": {p.url, p.message(nil, p.identity), 403}})
	p.getIdentity(keys()[1])
	assert.Equal(t, http.StatusOK, p.step3().Code, "the built-in certificate does not expire")
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	var w *world
	admit := true
	w = newWorld(t, func(s *ota.Service) {
		yearly(&w, year)(s)
		s.Restart = "https://mdm.example.com/start"
		s.Admit = func(context.Context, enroll.Session) error {
			if !admit {
				return mdm.Errorf(mdm.Forbidden, "test", "no")
			}
			return nil
		}
	})
	w.ca.Lifetime = 24 * time.Hour
	redirected := func(p *phone, step func() int) {
		t.Helper()
		before := w.sessions.all()
		assert.Equal(t, http.StatusSeeOther, step())
		assert.Equal(t, before, w.sessions.all())
	}
	open := w.begun("S0")
	admit = false
	assert.Equal(t, http.StatusForbidden, open.step2().Code, "nothing was delivered yet")
	admit = true
	p := w.delivered("S1")
	admit = false
	res := p.step3()
	assert.Equal(t, http.StatusSeeOther, res.Code)
	assert.Equal(t, w.service.Restart, res.Header().Get("Location"))
	assert.Equal(t, "no-store", res.Header().Get("Cache-Control"))
	admit = true
	w.wait(time.Hour)
	redirected(p, func() int { return p.step3().Code })
	redirected(p, func() int { return p.step2().Code })
	w.wait(48 * time.Hour)
	redirected(p, func() int { return p.step3().Code })
	thief := w.phone("S9")
	w.refuses(map[string]hostile{
		"another device":  {p.url, p.message(map[string]any{"UDID": nil, "SERIAL": nil}, thief.builtIn), 403},
		"wrong challenge": {p.url, p.message(map[string]any{"CHALLENGE": "x"}, p.builtIn), 403},
		"another UDID":    {p.url, p.message(map[string]any{"UDID": "U"}, p.builtIn), 403},
	})
}

func TestNewProcessEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.begun("S1")
	w.restart()
	p.getIdentity(keys()[0])
	w.restart()
	assert.Equal(t, http.StatusOK, p.step3().Code)
	w.restart()
	assert.Equal(t, http.StatusOK, p.step3().Code)
	assert.Equal(t, 2, p.session().Runs)
}

func TestRaceForAChallenge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range 5 {
		first := w.begun("S1")
		second := w.phone("S2")
		second.url, second.challenge = first.url, first.challenge
		var wg sync.WaitGroup
		codes := make([]int, 8)
		for i := range codes {
			wg.Go(func() { codes[i] = []*phone{first, second}[i%2].step2().Code })
		}
		wg.Wait()
		winner, loser := first, second
		if first.session().BuiltIn == mdm.FingerprintOf(second.builtIn.Leaf) {
			winner, loser = second, first
		}
		assert.Equal(t, winner.says["SERIAL"], winner.session().Device["SERIAL"])
		won := 0
		for i, code := range codes {
			if code == http.StatusOK {
				won++
				assert.Same(t, winner, []*phone{first, second}[i%2], "one of them only")
			} else {
				assert.Equal(t, http.StatusForbidden, code)
			}
		}
		assert.Positive(t, won)
		assert.Equal(t, won, winner.session().Runs, "counted as often as answered")
		assert.Equal(t, http.StatusForbidden, loser.step2().Code)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	down := mdm.Errorf(mdm.Unavailable, "store", "down")
	try := func(p *phone, body []byte) {
		t.Helper()
		for calls := range 2 { // reading, and writing what was decided
			before := w.sessions.all()
			w.sessions.outage(down, calls)
			res := w.post(p.url, body)
			assert.Equal(t, http.StatusServiceUnavailable, res.Code, calls)
			assert.NotEmpty(t, res.Header().Get("Retry-After"))
			w.sessions.outage(errors.New("who knows"), calls)
			assert.Equal(t, http.StatusInternalServerError, w.post(p.url, body).Code, calls)
			w.sessions.outage(nil, 0)
			assert.Equal(t, before, w.sessions.all())
		}
	}
	p := w.begun("S1")
	try(p, p.message(nil, p.builtIn))
	p.getIdentity(keys()[0])
	try(p, p.message(nil, p.identity))
	assert.Equal(t, http.StatusOK, p.step3().Code)
	assert.Equal(t, 1, p.session().Runs, "what failed is no run")

	ledger := &brokenLedger{Store: w.stores.SCEP, err: down}
	w.service.Ledger = ledger
	p2 := w.begun("S2")
	w.refuses(map[string]hostile{
		"no challenge can be stored": {p2.url, p2.message(nil, p2.builtIn), 503},
		"no certificate is found":    {p.url, p.message(nil, p.identity), 503},
	})
	ledger.err = nil
	assert.Equal(t, http.StatusOK, p2.step2().Code)
	assert.Equal(t, http.StatusOK, p.step3().Code)
}
