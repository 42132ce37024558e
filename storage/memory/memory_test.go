package memory_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/storagetest"
)

// opener opens stores by name; handles of one name share one.
func opener() storagetest.Opener {
	var databases sync.Map
	return func(_ testing.TB, name string) storage.Stores {
		db, _ := databases.LoadOrStore(name, memory.New())
		return db.(*memory.DB).Stores()
	}
}

func TestConformance(t *testing.T) {
	storagetest.Run(t, storagetest.Config{Open: opener(), Volatile: true})
}

func BenchmarkStore(b *testing.B) { storagetest.Benchmark(b, opener()) }

var device = mdm.EnrollmentID{Device: "8D4C3B2A"}

// enroll writes the row of an enrolled device.
func enroll(t testing.TB, s storage.Stores) {
	t.Helper()
	require.NoError(t, s.Checkin.Update(t.Context(), checkin.Key{ID: device}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Enrollments: []mdm.Enrollment{{ID: device, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1,
			PushToken: []byte{1}}}, Seen: true}, nil
	}))
}

func TestClosedStore(t *testing.T) {
	db := memory.New()
	stores := db.Stores()
	enroll(t, stores)
	require.NoError(t, db.Close())
	require.NoError(t, db.Close(), "twice is harmless")
	_, err := stores.Roster.Enrollment(t.Context(), device)
	require.Error(t, err)
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err), "the device repeats")
	for _, err := range stores.Command.Entries(t.Context(), command.Query{}) {
		assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
	}
}

func TestClockDatesWhatNoRequestDates(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db := memory.New()
	db.Clock = func() time.Time { return at }
	stores := db.Stores()
	enroll(t, stores)
	e, err := stores.Roster.Enrollment(t.Context(), device)
	require.NoError(t, err)
	assert.Equal(t, at, e.LastSeenAt)
	_, err = stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(device)})
	require.NoError(t, err)
	for e, err := range stores.Command.Entries(t.Context(), command.Query{From: device}) {
		require.NoError(t, err)
		assert.Equal(t, at, e.QueuedAt)
	}
	leased, err := stores.Events.Lease(t.Context(), "c", 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, leased, 1)
	at = at.Add(time.Minute - 1)
	again, err := stores.Events.Lease(t.Context(), "c", 10, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, again)
	at = at.Add(1)
	again, err = stores.Events.Lease(t.Context(), "c", 10, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, leased, again, "the lease ends by the clock")
}

func TestLastSeenIsThatOfTheReport(t *testing.T) {
	stores := memory.New().Stores()
	enroll(t, stores)
	seen := time.Now().Add(time.Hour)
	for _, at := range []time.Time{seen, seen.Add(-time.Minute)} { // the second one was overtaken on its way
		_, err := stores.Command.Exchange(t.Context(), &command.Report{ID: device, Status: command.StatusIdle, At: at},
			func(*identity.Standing) identity.Verdict { return identity.Verdict{} })
		require.NoError(t, err)
	}
	e, err := stores.Roster.Enrollment(t.Context(), device)
	require.NoError(t, err)
	assert.True(t, seen.Equal(e.LastSeenAt))
}

func Example() {
	db := memory.New()
	defer db.Close()
	stores := db.Stores()
	id := mdm.EnrollmentID{Device: "8D4C3B2A"}
	receipt, err := stores.Command.Enqueue(context.Background(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
	fmt.Println(receipt.Queued, receipt.RefusedAll, err)
	// Output: 0 1 <nil>
}
