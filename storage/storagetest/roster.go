package storagetest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

func rosterCases() []testCase {
	return []testCase{
		{name: "one enrollment",
			why: "checkin.Roster: Enrollment returns one, or a NotFound error",
			run: rosterOne},
		{name: "selecting",
			why: "mdm.Filter: every set field must match",
			run: rosterFilters},
		{name: "page by page",
			why: "checkin.Roster: in the order of device, then user: without a total order pages skip rows (capabilities L16)",
			run: rosterPages},
		{name: "breaking off",
			why: "a reader that stops must not leave a lock or a connection behind",
			run: rosterBreak},
	}
}

func (w *world) roster(f mdm.Filter) []mdm.EnrollmentID {
	w.Helper()
	var out []mdm.EnrollmentID
	for e, err := range w.Roster.Enrollments(w.Context(), f) {
		require.NoError(w, err)
		out = append(out, e.ID)
	}
	return out
}

func rosterOne(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	for _, channel := range []*device{d, u} {
		e, err := w.Roster.Enrollment(w.Context(), channel.id)
		require.NoError(w, err)
		assert.Equal(w, channel.id, e.ID)
		assert.Equal(w, channel.channel, e.Channel)
		assert.Equal(w, normal(*w.row(channel.id)), normal(*e))
	}
	for _, id := range []mdm.EnrollmentID{{Device: "X"}, {Device: "D", User: "bert"}, {Tenant: "other", Device: "D"}, {}} {
		e, err := w.Roster.Enrollment(w.Context(), id)
		require.Error(w, err)
		assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
		assert.Nil(w, e)
	}
}

// population enrolls devices of several kinds and returns their ids in order.
func population(w *world) []mdm.EnrollmentID {
	w.Helper()
	b, a := w.enrolled("B"), w.enrolled("A")
	z, c := a.user("zoe"), a.user("carl")
	ended, pending := w.enrolled("C"), w.device(mdm.EnrollmentID{Device: "D"})
	ended.checkOut()
	require.NoError(w, pending.authenticate())
	return []mdm.EnrollmentID{a.id, c.id, z.id, b.id, ended.id, pending.id}
}

func rosterFilters(w *world) {
	all := population(w)
	for _, tt := range []struct {
		f    mdm.Filter
		want []mdm.EnrollmentID
	}{
		{mdm.Filter{}, all},
		{mdm.Filter{States: []mdm.State{mdm.Enrolled}}, all[:4]},
		{mdm.Filter{States: []mdm.State{mdm.Ended, mdm.Pending}}, all[4:]},
		{mdm.Filter{Channels: []mdm.Channel{mdm.UserChannel}}, all[1:3]},
		{mdm.Filter{Channels: []mdm.Channel{mdm.UserChannel, mdm.DeviceChannel}}, all},
		{mdm.Filter{Device: "A"}, all[:3]},
		{mdm.Filter{Device: "A", Channels: []mdm.Channel{mdm.DeviceChannel}}, all[:1]},
		{mdm.Filter{SerialNumber: "SNB"}, all[3:4]},
		{mdm.Filter{Topic: topic}, all},
		{mdm.Filter{Topic: "other"}, nil},
		{mdm.Filter{Tenant: "other"}, nil},
		{mdm.Filter{Device: "A", SerialNumber: "SNB"}, nil},
		{mdm.Filter{Limit: 2}, all[:2]},
		{mdm.Filter{After: all[1], Limit: 2}, all[2:4]},
		{mdm.Filter{After: mdm.EnrollmentID{Device: "A", User: "x"}}, all[2:]},
		{mdm.Filter{After: all[5]}, nil},
	} {
		assert.Equal(w, tt.want, w.roster(tt.f), "%+v", tt.f)
	}
}

func rosterPages(w *world) {
	all := population(w)
	for limit := 1; limit <= len(all)+1; limit++ {
		var paged []mdm.EnrollmentID
		f := mdm.Filter{Limit: limit}
		for {
			page := w.roster(f)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			require.LessOrEqual(w, len(paged), len(all), "by %d: the pages do not end", limit)
			f.After = page[len(page)-1]
		}
		require.Equal(w, all, paged, "by %d", limit)
	}
}

func rosterBreak(w *world) {
	w.enrollMany(20)
	for range 20 {
		for range w.Roster.Enrollments(w.Context(), mdm.Filter{}) {
			break
		}
	}
	w.enrolled("still writable")
}
