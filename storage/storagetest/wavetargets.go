package storagetest

import (
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func waveFilter(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	anna := a.user("anna")
	phone := w.enrolled("P")
	row := *w.row(phone.id)
	row.Topic, row.Device.SerialNumber = "another", "SN"
	w.update(phone.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}})
	w.drain()
	for name, c := range map[string]struct {
		to   mdm.Filter
		want []mdm.EnrollmentID
	}{
		"all":      {mdm.Filter{}, []mdm.EnrollmentID{a.id, anna.id, b.id, phone.id}},
		"devices":  {mdm.Filter{Channels: []mdm.Channel{mdm.DeviceChannel}}, []mdm.EnrollmentID{a.id, b.id, phone.id}},
		"device":   {mdm.Filter{Device: "A"}, []mdm.EnrollmentID{a.id, anna.id}},
		"topic":    {mdm.Filter{Topic: "another"}, []mdm.EnrollmentID{phone.id}},
		"serial":   {mdm.Filter{SerialNumber: "SN"}, []mdm.EnrollmentID{phone.id}},
		"pending":  {mdm.Filter{States: []mdm.State{mdm.Pending}}, nil},
		"either":   {mdm.Filter{States: []mdm.State{mdm.Pending, mdm.Enrolled}, Device: "B"}, []mdm.EnrollmentID{b.id}},
		"presence": {mdm.Filter{Presence: []mdm.Presence{mdm.Quiet, mdm.Gone}}, nil},
		"gone":     {mdm.Filter{Presence: []mdm.Presence{mdm.Gone}}, nil},
	} {
		wave := w.wave(push.Wave{ID: name, To: c.to})
		assert.Equal(w, len(c.want), wave.Total, name)
		assert.Equal(w, c.to, wave.To, name)
		wave = w.carry(wave, 2)
		assert.Equal(w, len(c.want), wave.Woken, name)
		assert.Equal(w, c.to, wave.To, name)
		targets := w.due(w.now())
		var got []mdm.EnrollmentID
		for _, t := range targets {
			got = append(got, t.Enrollment)
		}
		assert.ElementsMatch(w, c.want, got, name)
		w.settle(targets, push.Result{Outcome: push.Delivered})
	}
}

func waveWithout(w *world) {
	w.enrollMany(5)
	ended, gone := w.enrolled("E"), w.enrolled("G")
	ended.checkOut()
	pending := w.device(mdm.EnrollmentID{Device: "P"})
	require.NoError(w, pending.authenticate())
	w.drain()
	_, err := w.Push.Wake(w.Context(), mdm.IDs(gone.id), w.now())
	require.NoError(w, err)
	w.settle(w.due(w.now()), push.Result{Outcome: push.Invalid, Reason: "Unregistered", Since: w.now()})
	wave := w.wave(push.Wave{})
	assert.Equal(w, 5, wave.Total)
	assert.Equal(w, 5, w.carry(wave, 3).Woken)
	assert.Len(w, w.woken(w.now()), 5)
}

func waveChanges(w *world) {
	all := w.enrollMany(20)
	w.drain()
	wave := w.advance(w.wave(push.Wave{}), 5)
	w.enrolled("A-new")
	w.enrolled("z-new")
	w.drain()
	row := *w.row(all[10])
	row.State = mdm.Ended
	w.update(all[10], checkin.Plan{Enrollments: []mdm.Enrollment{row}})
	wave = w.carry(wave, 5)
	assert.Equal(w, 20, wave.Total)
	woken := w.woken(w.now())
	for _, id := range append(all[6:10:10], all[11:]...) {
		assert.Contains(w, woken, id)
	}
	assert.NotContains(w, woken, all[10])
	assert.GreaterOrEqual(w, wave.Woken, 19)
	assert.LessOrEqual(w, wave.Woken, 21)
}

func noWave(w *world) {
	for _, wave := range []push.Wave{
		{To: mdm.Filter{Limit: 5}}, {To: mdm.Filter{After: mdm.EnrollmentID{Device: "D"}}}, {Rate: -1}, {ID: strings.Repeat("x", 256)}, {ID: "a b"}, {ID: "ä"},
	} {
		_, err := w.Waves.BeginWave(w.Context(), wave)
		require.Error(w, err)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err))
	}
	_, err := w.Waves.Wave(w.Context(), "", "none")
	require.Error(w, err)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
	_, err = w.Waves.CancelWave(w.Context(), "", "none")
	require.Error(w, err)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
	_, err = w.Waves.AdvanceWave(w.Context(), push.Wave{ID: "none"}, push.Step{At: w.now(), Max: 5})
	require.Error(w, err)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
	empty := w.carry(w.wave(push.Wave{ID: strings.Repeat("x", 255)}), 5)
	assert.Zero(w, empty.Total+empty.Woken, "a wave of nobody ends at once")
}

func waveTenants(w *world) {
	twins := w.twins()
	w.drain()
	for _, d := range twins {
		to := mdm.Filter{Tenant: d.id.Tenant}
		wave := w.wave(push.Wave{ID: "wave", To: to})
		assert.Equal(w, 1, wave.Total)
		assert.Zero(w, wave.Woken, "another's of the same ID is not this one")
		assert.Equal(w, 1, w.carry(wave, 5).Woken)
		assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(w.now()))
		listed, err := w.Waves.ListWaves(w.Context(), push.WaveQuery{Tenant: d.id.Tenant})
		require.NoError(w, err)
		assert.Len(w, listed, 1)
	}
	w.wave(push.Wave{ID: "mine", To: mdm.Filter{Tenant: tenants[1]}})
	_, err := w.Waves.CancelWave(w.Context(), tenants[2], "mine")
	require.Error(w, err)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
}
