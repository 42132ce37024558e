package dbtest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

// TakeOver lets a replica stand still in the middle of an order for many until another has taken the order over: every
// target has it once, and the first learns that the order is no longer its own.
func TakeOver(t *testing.T, open func(clock func() time.Time) storage.Stores) {
	t.Helper()
	var ahead atomic.Int64 // of the second replica's clock
	first := open(nil)
	second := open(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	const n = 2*command.OneTransaction + 10
	var plan checkin.Plan
	for i := range n {
		id := mdm.EnrollmentID{Device: "takeover-" + string(rune('a'+i/1000)) + string(rune('a'+i/100%10)) + string(rune('a'+i/10%10)) + string(rune('a'+i%10))}
		plan.Enrollments = append(plan.Enrollments, mdm.Enrollment{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "t"})
		if len(plan.Enrollments) == 500 || i == n-1 {
			require.NoError(t, first.Checkin.Update(t.Context(), checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
			plan = checkin.Plan{}
		}
	}
	held := false
	_, err := first.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, UUID: "order", NoPush: true,
		To: mdm.Matching(mdm.Filter{}), Progress: func(command.Receipt) {
			if held {
				t.Error("it went on")
			}
			held = true
			done, err := second.FanOuts.Resume(t.Context())
			require.NoError(t, err)
			assert.False(t, done, "the first is alive")
			ahead.Store(int64(2 * time.Minute))
			done, err = second.FanOuts.Resume(t.Context())
			require.NoError(t, err)
			assert.True(t, done)
		}})
	require.ErrorIs(t, err, command.ErrNotOurs)
	queued := 0
	for _, err := range first.Command.Entries(t.Context(), command.Query{UUID: "order"}) {
		require.NoError(t, err)
		queued++
	}
	assert.Equal(t, n, queued)
}
