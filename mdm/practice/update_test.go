package practice_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// declared keeps what was declared, by device.
type declared struct {
	mu   sync.Mutex
	down int
	of   map[mdm.EnrollmentID][]ddm.Declaration
}

func (d *declared) Declare(_ context.Context, id mdm.EnrollmentID, g ddm.Group) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down > 0 {
		d.down--
		return errors.New("down")
	}
	d.of[id] = g.Declarations
	return nil
}

func (d *declared) Withdraw(_ context.Context, id mdm.EnrollmentID, _ mdm.Generation, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.of, id)
	return nil
}

func TestUpdate(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		to := &declared{down: 1, of: map[mdm.EnrollmentID][]ddm.Declaration{}}
		update := &practice.Update{Roster: l.stores.Roster, Declarer: to}
		l.serve(nil, update.Workflows()...)
		modern, old, there := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{OSVersion: "16.7"}), l.enrolled(mdmtest.Config{OSVersion: "18.3.1"})
		var results []string
		stuck := l.enrolled(mdmtest.Config{OSVersion: "16.0", Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType != "ScheduleOSUpdate" {
				return mdmtest.Answer{}
			}
			results = append(results, o.UUID)
			return mdmtest.Answer{Fields: map[string]any{"UpdateResults": []any{map[string]any{"ProductKey": "k", "InstallAction": "InstallASAP", "Status": "DownloadInsufficientSpace"}}}}
		}})
		away, kept := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		l.settle(l.devices...)
		order := practice.UpdateOrder{Actor: "ada", Reason: "a hole", Version: "18.3", Deadline: l.now().Add(72 * time.Hour)}
		runs := map[*mdmtest.Device]string{}
		for _, d := range l.devices {
			r, err := update.Begin(t.Context(), l.server.Workflows(), id(d), order)
			require.NoError(t, err)
			runs[d] = r.ID
		}
		online := []*mdmtest.Device{modern, old, there, stuck, kept}
		l.settle(online...)
		assert.Equal(t, workflow.Done, l.run(runs[there]).Status)
		l.advance(time.Hour, online...)
		for _, d := range []*mdmtest.Device{modern, kept} {
			require.Len(t, to.of[id(d)], 3)
			require.NoError(t, ddm.Check(to.of[id(d)]))
			assert.NotContains(t, took(d), "ScheduleOSUpdate", "it would be ignored")
			assert.Contains(t, l.run(runs[d]).Note, "it reports 18.2")
		}
		text, err := json.Marshal(to.of[id(modern)][0])
		require.NoError(t, err)
		assert.Contains(t, string(text), `"TargetLocalDateTime":"`+order.Deadline.Format("2006-01-02T15:04:05")+`"`)
		for _, d := range to.of[id(modern)] {
			assert.NoError(t, d.Validate(target("18.2")).Err())
		}
		assert.Contains(t, took(old), "ScheduleOSUpdate")
		assert.Equal(t, workflow.Open, l.run(runs[old]).Status, "acknowledged is not updated")
		assert.Contains(t, l.run(runs[stuck]).Note, "DownloadInsufficientSpace")

		modern.SetOSVersion("18.3")
		old.SetOSVersion("18.3")
		l.advance(96*time.Hour, online...)
		for _, d := range []*mdmtest.Device{modern, old} {
			assert.Equal(t, workflow.Done, l.run(runs[d]).Status, l.run(runs[d]).Note)
		}
		assert.Empty(t, to.of[id(modern)], "it has done its work")
		assert.Len(t, results, 5, "attempts are bounded")
		assert.Equal(t, workflow.Failed, l.run(runs[stuck]).Status)

		l.leap(15*24*time.Hour, kept)
		for _, d := range []*mdmtest.Device{kept, away} {
			assert.Equal(t, workflow.Failed, l.run(runs[d]).Status)
			assert.Contains(t, l.run(runs[d]).Note, "not updated in time: it reports 18.2")
			assert.Empty(t, to.of[id(d)])
		}
	})
}

func TestUpdateIsRefused(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		update := &practice.Update{Roster: l.stores.Roster}
		l.serve(nil, update.Workflows()...)
		d, byod, free := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{EnrollmentID: "E1"}), l.enrolled(mdmtest.Config{OSVersion: "16.0", Respond: unsupervised})
		l.settle(d, byod, free)
		soon := l.now().Add(time.Hour)
		for _, o := range []practice.UpdateOrder{{}, {Actor: "a", Reason: "b", Version: "18"}, {Actor: "a", Reason: "b", Deadline: soon}, {Actor: "a", Version: "18", Deadline: soon}} {
			_, err := update.Begin(t.Context(), l.server.Workflows(), id(d), o)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		}
		o := practice.UpdateOrder{Actor: "a", Reason: "b", Version: "18.3", Deadline: soon}
		_, err := update.Begin(t.Context(), l.server.Workflows(), id(byod), o)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
		r, err := update.Begin(t.Context(), l.server.Workflows(), id(free), o)
		require.NoError(t, err)
		l.settle(free)
		assert.Equal(t, workflow.Failed, l.run(r.ID).Status)
		assert.Contains(t, l.run(r.ID).Note, "supervised")
	})
}
