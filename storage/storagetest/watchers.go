package storagetest

import (
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/presence"
)

func watchersShare(w *world) {
	const n, watchers = 60, 4
	all := w.enrollMany(n)
	at := w.now()
	var mu sync.Mutex
	judged := map[mdm.EnrollmentID]bool{}
	var group sync.WaitGroup
	for range watchers {
		group.Go(func() {
			for range 10 * n {
				n, err := w.Presence.Look(w.Context(), at, 7, func(s presence.Sighting) presence.Finding {
					mu.Lock()
					defer mu.Unlock()
					judged[s.Enrollment.ID] = true
					return presence.Finding{Presence: mdm.Quiet, Next: at.Add(time.Hour)}
				})
				if !assert.NoError(w, err) || n == 0 {
					return
				}
			}
		})
	}
	group.Wait()
	w.look(at, finds(mdm.Quiet, at.Add(time.Hour))) // what one passed over because another had it
	for _, id := range all {
		assert.Equal(w, mdm.Quiet, w.row(id).Presence)
		w.expectEvents(id, mdm.EventQuiet, 1)
	}
	assert.Len(w, judged, n)
}

func judgePanics(w *world) {
	d := w.enrolled("D")
	at := w.now()
	assert.Panics(w, func() {
		_, _ = w.Presence.Look(w.Context(), at, 10, func(presence.Sighting) presence.Finding { panic("test") })
	})
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	assert.Contains(w, w.look(at, finds(mdm.Quiet, at.Add(time.Hour))), d.id)
	d.expect(d.idle(), "")
}

func missedRoster(w *world) {
	var quiet []mdm.EnrollmentID
	var devices []*device
	for i := range 9 {
		d := w.enrolled(numbered("D", i))
		devices = append(devices, d)
		if i%3 == 0 {
			quiet = append(quiet, d.id)
		}
	}
	at := w.now()
	w.look(at, func(s presence.Sighting) presence.Finding {
		f := presence.Finding{Presence: mdm.Active, Next: at.Add(time.Hour)}
		for _, id := range quiet {
			if id == s.Enrollment.ID {
				f.Presence = mdm.Quiet
			}
		}
		return f
	})
	f := mdm.Filter{Presence: []mdm.Presence{mdm.Quiet}, Limit: 2}
	assert.Equal(w, quiet[:2], w.roster(f))
	f.After = quiet[1]
	assert.Equal(w, quiet[2:], w.roster(f))
	f = mdm.Filter{Presence: []mdm.Presence{mdm.Active, mdm.Quiet}}
	assert.Equal(w, ids(devices), w.roster(f))
	assert.Empty(w, w.roster(mdm.Filter{Presence: []mdm.Presence{mdm.Gone}}))
	w.drain()
	n, err := w.Push.Wake(w.Context(), mdm.Matching(mdm.Filter{Presence: []mdm.Presence{mdm.Quiet}}), w.now())
	require.NoError(w, err)
	assert.Equal(w, 3, n)
	assert.ElementsMatch(w, quiet, w.woken(w.now()))
}
