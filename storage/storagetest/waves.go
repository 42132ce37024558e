package storagetest

import (
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

func waveCases() []testCase {
	return []testCase{
		{name: "everybody once, and counted",
			why: "push.Waves: AdvanceWave wakes the next up to Max, and ends the wave when there is nobody left",
			run: waveOfAll},
		{name: "another process goes on",
			why: "push.Wave: a row of the database says how far it is; any process can move it on",
			run: waveGoesOn},
		{name: "begun again",
			why: "push.Waves: BeginWave with a known ID returns the wave that is there: whoever got no answer may ask again",
			run: waveBegunAgain},
		{name: "canceled in the middle",
			why: "push.Waves: CancelWave ends a wave, the pushes that it has left are sent, and it stays ended",
			run: waveCanceled},
		{name: "many advance at once",
			why: "push.Waves: each is woken once, by however many processes, and none of them is left out",
			run: waveRace},
		{name: "moved on since",
			why: "push.Waves: nothing is done if the wave was moved on since: so several processes keep the pace of one",
			run: waveMovedOn},
		{name: "the filter",
			why: "push.Wave: To is who is woken, of all channels unless it says otherwise",
			run: waveFilter},
		{name: "who can not be woken",
			why: "push.Wave: those who are enrolled and not Gone",
			run: waveWithout},
		{name: "who enrolls meanwhile",
			why: "push.Waves: who is there all the time is woken, whoever comes and goes",
			run: waveChanges},
		{name: "what is no wave",
			why: "push.Waves: Malformed with pages, a negative rate or a bad ID; NotFound where there is none",
			run: noWave},
		{name: "of other tenants",
			why: "mdm.Filter: one tenant; a wave is named by its tenant and ID, so that nobody sees or stops another's",
			run: waveTenants},
		{name: "a wave waits for what is due",
			why: "push.Step: with Backlog pushes due a wave waits, so that who needs a push now has no fleet before him",
			run: waveWaits},
		{name: "a push that is due stays one",
			why: "package push: intents of one enrollment are coalesced",
			run: waveCoalesces},
		{name: "listed",
			why: "push.Waves: the latest first, by pages, and those under way of all tenants for whoever moves them on",
			run: wavesListed},
		{name: "swept", needs: needsSweep,
			why: "storage.Retention: a wave that has ended is kept as long as events are; one under way is kept",
			run: wavesSwept},
	}
}

func (w *world) wave(wave push.Wave) push.Wave {
	w.Helper()
	out, err := w.Waves.BeginWave(w.Context(), wave)
	require.NoError(w, err)
	return out
}

// advance moves a wave on by up to n.
func (w *world) advance(wave push.Wave, n int) push.Wave {
	w.Helper()
	out, err := w.Waves.AdvanceWave(w.Context(), wave, push.Step{At: w.now(), Max: n})
	require.NoError(w, err)
	return out
}

// carry moves a wave on to its end.
func (w *world) carry(wave push.Wave, n int) push.Wave {
	w.Helper()
	for steps := 0; wave.Open(); steps++ {
		require.Less(w, steps, 1000, "the wave does not end")
		wave = w.advance(wave, n)
	}
	return wave
}

func waveOfAll(w *world) {
	const n = 25
	all := w.enrollMany(n)
	w.drain()
	began := w.now().Add(-time.Minute)
	wave := w.wave(push.Wave{Rate: 7})
	assert.NotEmpty(w, wave.ID)
	assert.Equal(w, push.Wave{ID: wave.ID, Rate: 7, Begun: wave.Begun, Moved: wave.Begun, Total: n}, wave)
	assert.True(w, wave.Begun.After(began))
	assert.Empty(w, w.due(w.now()), "nobody is woken yet")
	at := w.now()
	wave, err := w.Waves.AdvanceWave(w.Context(), wave, push.Step{At: at, Max: 10})
	require.NoError(w, err)
	assert.Equal(w, 10, wave.Woken)
	assert.True(w, wave.Moved.Equal(at), wave.Moved)
	assert.Empty(w, w.due(at.Add(-time.Second)), "they are due at At")
	taken := map[mdm.EnrollmentID]int{}
	for _, id := range w.woken(at) {
		taken[id]++
	}
	assert.Len(w, taken, 10)
	wave = w.carry(wave, 10)
	assert.Equal(w, n, wave.Woken)
	assert.False(w, wave.Canceled)
	assert.False(w, wave.Ended.IsZero())
	for _, id := range w.woken(w.now()) {
		taken[id]++
	}
	assert.Len(w, taken, n)
	for _, id := range all {
		assert.Equal(w, 1, taken[id], id.String())
	}
	assert.Equal(w, wave, w.advance(wave, 10), "it has ended")
	stored, err := w.Waves.Wave(w.Context(), "", wave.ID)
	require.NoError(w, err)
	assert.Equal(w, wave, stored)
}

func waveGoesOn(w *world) {
	const n = push.WaveStep + 200
	w.enrollMany(n)
	w.drain()
	wave := w.advance(w.wave(push.Wave{ID: "wave", To: mdm.Filter{Channels: []mdm.Channel{mdm.DeviceChannel}}}), 10*push.WaveStep)
	assert.Equal(w, push.WaveStep, wave.Woken, "no more in one transaction")
	other := w.again()
	found, err := other.Waves.Wave(w.Context(), "", "wave")
	require.NoError(w, err)
	assert.Equal(w, wave, found)
	wave = other.carry(found, push.WaveStep)
	assert.Equal(w, n, wave.Woken)
	assert.Len(w, w.woken(w.now()), n)
}

func waveBegunAgain(w *world) {
	w.enrollMany(5)
	w.drain()
	first := w.wave(push.Wave{ID: "wave", Rate: 3})
	moved := w.advance(first, 2)
	assert.Equal(w, moved, w.wave(push.Wave{ID: "wave", Rate: 9}))
	ended := w.carry(moved, 2)
	assert.Equal(w, ended, w.wave(push.Wave{ID: "wave"}), "it does not begin anew")
	assert.NotEqual(w, w.wave(push.Wave{}).ID, w.wave(push.Wave{}).ID)
	handles := []*world{w, w.again()}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			wave, err := handles[i%2].Waves.BeginWave(w.Context(), push.Wave{ID: "race"})
			assert.NoError(w, err)
			assert.Equal(w, 5, wave.Total)
		})
	}
	group.Wait()
}

func waveCanceled(w *world) {
	w.enrollMany(20)
	w.drain()
	before := w.advance(w.wave(push.Wave{ID: "wave"}), 8)
	wave, err := w.again().Waves.CancelWave(w.Context(), "", "wave")
	require.NoError(w, err)
	assert.True(w, wave.Canceled)
	assert.False(w, wave.Open())
	assert.Equal(w, 8, wave.Woken)
	assert.Equal(w, wave, w.advance(before, 8), "whoever does not know yet moves nothing on")
	again, err := w.Waves.CancelWave(w.Context(), "", "wave")
	require.NoError(w, err)
	assert.Equal(w, wave, again)
	assert.Len(w, w.woken(w.now()), 8)
	done := w.carry(w.wave(push.Wave{ID: "done"}), 100)
	again, err = w.Waves.CancelWave(w.Context(), "", "done")
	require.NoError(w, err)
	assert.Equal(w, done, again, "what has ended was not canceled")
}

// waveRace lets several advance a wave at once, while one takes its pushes, so that who is woken twice is pushed twice.
func waveRace(w *world) {
	const n = 120
	w.enrollMany(n)
	w.drain()
	begun := w.wave(push.Wave{ID: "wave"})
	handles := []*world{w, w.again()}
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			h, wave, err := handles[i%2], begun, error(nil)
			for steps := 0; wave.Open() && steps < 10*n; steps++ {
				wave, err = h.Waves.AdvanceWave(w.Context(), wave, push.Step{At: w.now(), Max: 7})
				if !assert.NoError(w, err) {
					return
				}
			}
			assert.False(w, wave.Open())
		})
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	taken := map[mdm.EnrollmentID]int{}
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		default:
		}
		targets := w.due(w.now())
		for _, target := range targets {
			taken[target.Enrollment]++
		}
		w.settle(targets, push.Result{Outcome: push.Delivered})
	}
	wave, err := w.Waves.Wave(w.Context(), "", "wave")
	require.NoError(w, err)
	assert.Equal(w, n, wave.Woken)
	assert.Len(w, taken, n)
	for id, times := range taken {
		assert.Equal(w, 1, times, id.String())
	}
}

func waveMovedOn(w *world) {
	w.enrollMany(9)
	w.drain()
	begun := w.wave(push.Wave{})
	first := w.advance(begun, 3)
	assert.Equal(w, first, w.again().advance(begun, 3))
	assert.Equal(w, first, w.advance(first, 0), "nobody is nobody")
	assert.Equal(w, 6, w.advance(first, 3).Woken)
}

// waveWaits moves a wave on as a runner does. Whoever takes the pushes is slower, and has a batch in hand.
func waveWaits(w *world) {
	const n, batch, backlog = 100, 10, 25
	w.enrollMany(n)
	d := w.enrolled("urgent") // in both orders it comes last
	w.drain()
	wave := w.wave(push.Wave{})
	step := func() {
		before, s := wave, push.Step{At: w.now(), Max: 40, Backlog: backlog}
		var err error
		wave, err = w.Waves.AdvanceWave(w.Context(), wave, s)
		require.NoError(w, err)
		assert.LessOrEqual(w, wave.Woken-before.Woken, backlog)
	}
	take := func() []mdm.EnrollmentID {
		targets, err := w.Push.DuePushes(w.Context(), w.now(), batch, lease)
		require.NoError(w, err)
		var out []mdm.EnrollmentID
		for _, t := range targets {
			out = append(out, t.Enrollment)
		}
		return out
	}
	step()
	require.Equal(w, backlog, wave.Woken)
	waiting := wave
	step()
	assert.Equal(w, waiting, wave, "so many are due that it waits")
	require.Len(w, take(), batch)
	step()
	assert.Equal(w, backlog+batch, wave.Woken, "what is in somebody's hands does not wait")
	w.queued(security(), d)
	step()
	var before []mdm.EnrollmentID
	for batches := 0; ; batches++ {
		require.LessOrEqual(w, batches*batch, backlog, "within one chunk")
		taken := take()
		before = append(before, taken...)
		step() // the wave goes on meanwhile
		if slices.Contains(taken, d.id) {
			break
		}
	}
	assert.LessOrEqual(w, len(before), backlog+batch)
	assert.True(w, wave.Open())
}

func waveCoalesces(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	wave := w.carry(w.wave(push.Wave{}), 5)
	assert.Equal(w, 1, wave.Woken)
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(w.now()))
}

func wavesListed(w *world) {
	w.enrollMany(3)
	var want []string
	for _, id := range []string{"b", "a", "c"} {
		w.wave(push.Wave{ID: id})
		want = append([]string{id}, want...)
		time.Sleep(2 * time.Millisecond) // the store's clock tells them apart
	}
	w.wave(push.Wave{ID: "a", To: mdm.Filter{Tenant: tenants[1]}})
	list := func(q push.WaveQuery) (out []string) {
		waves, err := w.Waves.ListWaves(w.Context(), q)
		require.NoError(w, err)
		for _, wave := range waves {
			out = append(out, wave.ID)
		}
		return out
	}
	assert.Equal(w, want, list(push.WaveQuery{}))
	assert.Equal(w, want[:2], list(push.WaveQuery{Limit: 2}))
	assert.Equal(w, want[2:], list(push.WaveQuery{After: want[1], Limit: 2}))
	assert.Empty(w, list(push.WaveQuery{After: want[2]}))
	assert.Empty(w, list(push.WaveQuery{After: "none"}))
	_, err := w.Waves.CancelWave(w.Context(), "", "a")
	require.NoError(w, err)
	assert.Equal(w, []string{"c", "b"}, list(push.WaveQuery{Open: true}))
	assert.Equal(w, append([]string{"a"}, "c", "b"), list(push.WaveQuery{Open: true, AllTenants: true}))
}

func wavesSwept(w *world) {
	w.enrollMany(3)
	w.drain()
	w.carry(w.wave(push.Wave{ID: "done"}), 5)
	w.wave(push.Wave{ID: "open"})
	assert.Zero(w, w.sweep(week, storage.Retention{}).Waves)
	assert.Zero(w, w.sweep(100*week, storage.Retention{Events: -1}).Waves)
	assert.Equal(w, 1, w.sweep(2*week, storage.Retention{Events: week}).Waves)
	waves, err := w.Waves.ListWaves(w.Context(), push.WaveQuery{})
	require.NoError(w, err)
	require.Len(w, waves, 1)
	assert.Equal(w, "open", waves[0].ID)
}
