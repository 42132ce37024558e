package dbtest

import (
	"bufio"
	"context"
	"fmt"
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
	crowd(t, first, n)
	held := false
	_, err := first.Command.Enqueue(t.Context(), orderForAll(func(command.Receipt) {
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
	}))
	require.ErrorIs(t, err, command.ErrNotOurs)
	assert.Equal(t, n, queuedOn(t, first))
}

// crowd enrolls many devices.
func crowd(t *testing.T, stores storage.Stores, n int) {
	t.Helper()
	var plan checkin.Plan
	for i := range n {
		id := mdm.EnrollmentID{Device: fmt.Sprintf("crowd-%05d", i)}
		plan.Enrollments = append(plan.Enrollments, mdm.Enrollment{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "t",
			PushToken: []byte{1}, PushMagic: "m"})
		if len(plan.Enrollments) == 500 || i == n-1 {
			require.NoError(t, stores.Checkin.Update(t.Context(), checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
			plan = checkin.Plan{}
		}
	}
}

// queuedOn returns how many queues have the order.
func queuedOn(t *testing.T, stores storage.Stores) (n int) {
	t.Helper()
	for _, err := range stores.Command.Entries(t.Context(), command.Query{UUID: "order"}) {
		require.NoError(t, err)
		n++
	}
	return n
}

func orderForAll(progress func(command.Receipt)) command.Order {
	return command.Order{Command: command.SecurityInfo{}, UUID: "order", NoPush: true, To: mdm.Matching(mdm.Filter{}), Progress: progress}
}

// workForMany begins an order for many, until it is killed.
func workForMany(stores storage.Stores) error {
	_, err := stores.Command.Enqueue(context.Background(), orderForAll(func(r command.Receipt) { fmt.Println("queued", r.Queued) }))
	return err
}

// KilledFanOut kills a process in the middle of an order for many: what it had told of is there, and another process carries
// the order out, to each target once.
func KilledFanOut(t *testing.T, dsn string, open func(clock func() time.Time) storage.Stores) {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are killed in long runs only")
	}
	later := open(func() time.Time { return time.Now().Add(2 * time.Minute) }) // the order's lease is over
	const n = 5*command.OneTransaction + 10
	crowd(t, later, n)
	run := victimOf(t, dsn, "many")
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	told := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if scanner.Text() == "failed <nil>" { // it was quicker than we are, on a busy machine
			break
		}
		_, err := fmt.Sscanf(scanner.Text(), "queued %d", &told)
		require.NoError(t, err, scanner.Text())
		_ = run.Process.Kill() // SIGKILL; it may be gone already
	}
	_ = run.Wait()
	require.Positive(t, told, "the victim must have worked until it was killed")
	assert.GreaterOrEqual(t, queuedOn(t, later), told)
	for done := true; done; {
		done, err = later.FanOuts.Resume(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, n, queuedOn(t, later))
	under, err := later.FanOuts.FanOuts(t.Context(), "")
	require.NoError(t, err)
	assert.Empty(t, under)
}

// ClockBack lets the clock of a server jump back by an hour: what is queued afterwards comes after what was queued before,
// whoever queues it, and nobody was last seen earlier than it was known already.
func ClockBack(t *testing.T, open func(clock func() time.Time) storage.Stores) {
	t.Helper()
	var ahead atomic.Int64
	ahead.Store(int64(time.Hour))
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	before := open(clock)
	crowd(t, before, command.OneTransaction+1)
	id := mdm.EnrollmentID{Device: "crowd-00007"}
	report := func(stores storage.Stores, status command.Status, uuid string) *command.Offer {
		offer, err := stores.Command.Exchange(t.Context(), &command.Report{ID: id, Channel: mdm.DeviceChannel, Status: status, CommandUUID: uuid,
			Raw: []byte(uuid), At: clock()}, admit)
		require.NoError(t, err)
		return offer
	}
	enqueue := func(stores storage.Stores, uuid string, to mdm.Targets) {
		_, err := stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, UUID: uuid, To: to})
		require.NoError(t, err)
	}
	report(before, command.StatusIdle, "")
	enqueue(before, "first", mdm.IDs(id))
	ahead.Store(0)
	after := open(clock) // as after a restart: this process knows nothing of the time before
	enqueue(after, "second", mdm.IDs(id))
	enqueue(after, "third", mdm.Matching(mdm.Filter{}))
	enqueue(before, "fourth", mdm.IDs(id))
	offer := report(after, command.StatusIdle, "")
	for _, want := range []string{"first", "second", "third", "fourth"} {
		require.NotNil(t, offer, want)
		require.Equal(t, want, offer.UUID)
		offer = report(after, command.StatusAcknowledged, want)
	}
	require.Nil(t, offer)
	e, err := before.Roster.Enrollment(t.Context(), id)
	require.NoError(t, err)
	assert.True(t, e.LastSeenAt.After(time.Now().Add(30*time.Minute)), e.LastSeenAt)
}
