package server_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// background is a server that only does what is in the background.
func background(t *testing.T, stores storage.Stores, r storage.Retention) *server.Server {
	t.Helper()
	s, err := server.New(server.Config{Stores: stores, Extractor: identity.TLS(), Validator: identity.ValidatorFunc(func(context.Context, identity.Presented, identity.Claim) error { return nil }), Retention: r})
	require.NoError(t, err)
	return s
}

func enrolled(t *testing.T, stores storage.Stores, n int) {
	t.Helper()
	var plan checkin.Plan
	for i := range n {
		plan.Enrollments = append(plan.Enrollments, mdm.Enrollment{ID: mdm.EnrollmentID{Device: "D" + string(rune('a'+i%26)) + time.Duration(i).String()},
			Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "com.apple.mgmt.x", PushToken: []byte{1}, PushMagic: "m"})
	}
	require.NoError(t, stores.Checkin.Update(t.Context(), checkin.Key{ID: plan.Enrollments[0].ID}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
}

func TestRunDeletesWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := memory.New().Stores()
		enrolled(t, stores, 2)
		receipt, err := stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.Matching(mdm.Filter{})})
		require.NoError(t, err)
		_, err = stores.Command.Cancel(t.Context(), receipt.UUID, mdm.Targets{})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		for range 3 { // replicas
			s := background(t, stores, storage.Retention{Kinds: map[string]time.Duration{"SecurityInfo": 48 * time.Hour}})
			go func() { _ = s.Run(ctx) }()
		}
		count := func() (n int) {
			for _, err := range stores.Command.Entries(ctx, command.Query{}) {
				require.NoError(t, err)
				n++
			}
			return n
		}
		time.Sleep(47 * time.Hour)
		assert.Equal(t, 2, count())
		time.Sleep(4 * time.Hour)
		assert.Zero(t, count())
		stop()
		synctest.Wait()
	})
}

// TestRunGoesOnWithOrders gives up an order for many in the middle: a server that runs carries it out.
func TestRunGoesOnWithOrders(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	defer db.Close()
	stores := db.Stores()
	const n = command.OneTransaction + 50
	enrolled(t, stores, n)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.Matching(mdm.Filter{}), NoPush: true,
		Progress: func(command.Receipt) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- background(t, stores, storage.Retention{}).Run(running) }()
	require.Eventually(t, func() bool {
		under, err := stores.FanOuts.FanOuts(t.Context(), "")
		return assert.NoError(t, err) && len(under) == 0
	}, time.Minute, 50*time.Millisecond)
	stop()
	<-ended
	queued := 0
	for _, err := range stores.Command.Entries(t.Context(), command.Query{}) {
		require.NoError(t, err)
		queued++
	}
	assert.Equal(t, n, queued)
}
