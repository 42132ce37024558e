package practice_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

var lostOrder = practice.LostModeOrder{Actor: "ada", Reason: "left in a train", Message: "Please call", PhoneNumber: "+49 30 1"}

// only returns the only run of a workflow.
func (l *lab) only(name string) workflow.Run {
	l.Helper()
	all := l.runs(name)
	require.Len(l, all, 1)
	return all[0]
}

func TestLostMode(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var where []practice.Location
		down := true
		lost := &practice.LostMode{Roster: l.stores.Roster, Every: 6 * time.Hour, Located: func(_ context.Context, at practice.Location) error {
			if down {
				down = false
				return errors.New("down")
			}
			where = append(where, at)
			return nil
		}}
		l.serve(nil, lost.Workflows()...)
		d := l.enrolled(mdmtest.Config{})
		d.SetLocation(52.52, 13.405)
		l.settle(d)
		r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		_, err = lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.ErrorContains(t, err, r.ID, "one is enough")
		l.settle(d)
		assert.True(t, d.Lost())
		assert.Equal(t, []string{"DeviceInformation", "EnableLostMode", "DeviceInformation", "DeviceLocation"}, took(d))
		assert.Equal(t, "watch", l.only("lost-mode").Step)
		assert.Empty(t, where)
		l.advance(time.Hour, d)
		require.Len(t, where, 1, "the system that was down is told again")
		assert.InDelta(t, 52.52, where[0].Latitude, 0.001)
		assert.Equal(t, r.ID, where[0].Run)

		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostLocate, "ada", "it moves"))
		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostSound, "ada", "it is here somewhere"))
		l.settle(d)
		assert.Len(t, where, 2)
		assert.Equal(t, 1, d.Sounds())

		d.SetLost(false)
		l.advance(13*time.Hour, d)
		assert.True(t, d.Lost(), "it is switched on again")

		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostEnd, "ada", "found"))
		l.flush()
		assert.Equal(t, workflow.Open, l.only("lost-mode").Status, "that it is sent is not that it is off")
		l.settle(d)
		assert.False(t, d.Lost())
		run := l.only("lost-mode")
		assert.Equal(t, workflow.Done, run.Status)
		told, seen := len(where), len(took(d))
		l.advance(48*time.Hour, d)
		assert.Len(t, where, told)
		assert.Len(t, took(d), seen)

		// Where a device is, is nobody's business but the hook's.
		texts, err := json.Marshal([]any{run, l.events(d)})
		require.NoError(t, err)
		assert.NotContains(t, string(texts), "52.5")
		assert.NotContains(t, string(texts), "13.4")
	})
}

func TestLostModeIsRefused(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		lost := &practice.LostMode{Roster: l.stores.Roster}
		l.serve(nil, lost.Workflows()...)
		phone := l.enrolled(mdmtest.Config{Respond: unsupervised})
		mac := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.1"})
		byod := l.enrolled(mdmtest.Config{EnrollmentID: "E1"})
		l.settle(phone, mac, byod)
		engine := l.server.Workflows()
		for _, d := range []*mdmtest.Device{mac, byod} {
			_, err := lost.Begin(t.Context(), engine, id(d), lostOrder)
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
		}
		for _, o := range []practice.LostModeOrder{{}, {Actor: "ada", Reason: "x"}, {Actor: "ada", Message: "x"}, {Reason: "x", Message: "x"}} {
			_, err := lost.Begin(t.Context(), engine, id(phone), o)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		}
		_, err := lost.Begin(t.Context(), engine, mdm.EnrollmentID{Device: "nobody"}, lostOrder)
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
		assert.Empty(t, l.runs("lost-mode"))

		// It never said whether it is supervised: it is asked, and nothing else.
		r, err := lost.Begin(t.Context(), engine, id(phone), lostOrder)
		require.NoError(t, err)
		require.Error(t, lost.Tell(t.Context(), engine, "", r.ID, practice.LostLocate, "ada", "x"), "nobody would be told")
		require.Error(t, lost.Tell(t.Context(), engine, "", r.ID, practice.LostEnd, "", "x"))
		l.settle(phone)
		assert.Equal(t, []string{"DeviceInformation"}, took(phone))
		assert.Equal(t, workflow.Failed, l.only("lost-mode").Status)
		assert.Contains(t, l.only("lost-mode").Note, "not supervised")
		_, err = lost.Begin(t.Context(), engine, id(phone), lostOrder)
		assert.ErrorContains(t, err, "not supervised")
	})
}

func unsupervised(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	if o.RequestType == "DeviceInformation" {
		return mdmtest.Answer{Fields: map[string]any{"QueryResponses": map[string]any{"IsSupervised": false}}}
	}
	return mdmtest.Answer{}
}

func TestLostModeOfADeviceThatIsAwayOrUnwilling(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		lost := &practice.LostMode{Roster: l.stores.Roster}
		l.serve(nil, lost.Workflows()...)
		failures := 2
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "EnableLostMode" && failures > 0 {
				failures--
				return mdmtest.Fail("MCMDMErrorDomain", 12066, "secret words")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		r, err := lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		l.leap(60 * 24 * time.Hour) // nobody connects
		assert.Equal(t, workflow.Open, l.only("lost-mode").Status)
		l.settle(d)
		assert.Contains(t, l.only("lost-mode").Note, "12066")
		assert.NotContains(t, l.only("lost-mode").Note, "secret")
		assert.False(t, d.Lost())
		l.advance(2*time.Hour, d)
		assert.True(t, d.Lost(), "failures are due again")
		assert.Equal(t, "watch", l.only("lost-mode").Step)

		// It ends while the device is away: the command waits, and so does the run.
		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostEnd, "ada", "found"))
		l.advance(24 * time.Hour)
		assert.Equal(t, workflow.Open, l.only("lost-mode").Status)
		l.settle(d)
		assert.Equal(t, workflow.Done, l.only("lost-mode").Status)

		// It ends before the device has heard of it.
		r, err = lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		l.flush()
		require.NoError(t, lost.Tell(t.Context(), l.server.Workflows(), "", r.ID, practice.LostEnd, "ada", "found"))
		l.settle(d)
		assert.False(t, d.Lost())
		assert.Equal(t, 1, strings.Count(strings.Join(took(d)[len(took(d))-2:], " "), "DisableLostMode"))
		r, err = l.stores.Runs.Run(t.Context(), "", r.ID)
		require.NoError(t, err)
		assert.Equal(t, workflow.Done, r.Status, r.Note)

		// And with the generation.
		r, err = lost.Begin(t.Context(), l.server.Workflows(), id(d), lostOrder)
		require.NoError(t, err)
		l.settle(d)
		require.NoError(t, d.CheckOut(t.Context()))
		l.settle(d)
		r, err = l.stores.Runs.Run(t.Context(), "", r.ID)
		require.NoError(t, err)
		assert.Equal(t, workflow.Canceled, r.Status)
	})
}
