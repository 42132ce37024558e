package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
)

// fleetVariable says for how many devices TestWaveOfMany is, as 1000000.
const fleetVariable = "APPLEMDM_TEST_FLEET"

// accepts is a Pusher that is APNs on a good day.
type accepts struct {
	n      atomic.Int64
	urgent atomic.Int64 // when the device of that name was pushed, in nanoseconds
}

const urgent = "urgent"

func (a *accepts) Push(_ context.Context, targets []push.Target) ([]push.Result, error) {
	out := make([]push.Result, len(targets))
	for i, t := range targets {
		out[i].Outcome = push.Delivered
		if t.Enrollment.Device == urgent {
			a.urgent.Store(time.Now().UnixNano())
		}
	}
	a.n.Add(int64(len(targets)))
	return out, nil
}

// TestWaveOfMany wakes a large fleet through a Dispatcher and looks at the heap on the way: it must not grow with the fleet.
func TestWaveOfMany(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv(fleetVariable))
	if n == 0 {
		t.Skipf("%s is not set: no large fleet", fleetVariable)
	}
	path := filepath.Join(t.TempDir(), "mdm.db")
	db := open(t, path)
	stores := db.Stores()
	_, err := dbtest.Enroll(stores, mdm.EnrollmentID{Device: "template"})
	require.NoError(t, err)
	cloneEnrollment(t, path, n-1)
	enroll(t, stores, mdm.EnrollmentID{Device: urgent}) // in the order of rows the last
	a := &accepts{}
	ctx, stop := context.WithCancel(t.Context())
	dispatcher := &push.Dispatcher{Store: stores.Push, Pusher: a, Pacing: push.Pacing{Spacing: -1}}
	defer stores.Watch.Watch(func(c storage.Change) {
		if c.Pushes {
			dispatcher.Notify()
		}
	})()
	ended := make(chan error, 2)
	go func() { ended <- dispatcher.Run(ctx) }()

	began := time.Now()
	w, err := stores.Waves.BeginWave(ctx, push.Wave{ID: "wave", Rate: 100_000})
	require.NoError(t, err)
	t.Logf("%d channels, counted in %v", w.Total, time.Since(began).Round(time.Millisecond))
	require.Equal(t, n+1, w.Total)
	runner := &push.WaveRunner{Store: stores.Waves, Interval: 100 * time.Millisecond}
	go func() { ended <- runner.Run(ctx) }()
	var heaps []uint64
	queued := map[int]bool{}
	for w.Open() {
		time.Sleep(200 * time.Millisecond)
		w, err = stores.Waves.Wave(ctx, "", "wave")
		require.NoError(t, err)
		if tenth := w.Percent() / 10; !queued[tenth] {
			queued[tenth] = true
			heaps = append(heaps, heap())
			t.Logf("%3d %% after %v: heap in use %.1f MB; a command was pushed after %v", w.Percent(), time.Since(began).Round(time.Millisecond),
				float64(heaps[len(heaps)-1])/1e6, urgentCommand(t, db.Stores().Command, a))
		}
	}
	require.Eventually(t, func() bool { return a.n.Load() > int64(n) }, time.Minute, 10*time.Millisecond)
	took := time.Since(began)
	t.Logf("%d pushes in %v, %.0f/s", a.n.Load(), took.Round(time.Millisecond), float64(n)/took.Seconds())
	stop()
	<-ended
	<-ended
	for _, h := range heaps[1:] {
		assert.Less(t, h, heaps[0]+16<<20, "the heap must not grow with what is done")
	}
}

// urgentCommand queues a command in the middle of the wave, and returns how long it took until its device was pushed.
func urgentCommand(t *testing.T, commands command.Enqueuer, a *accepts) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := commands.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(mdm.EnrollmentID{Device: urgent})})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return a.urgent.Load() > began.UnixNano() }, time.Minute, time.Millisecond)
	return time.Unix(0, a.urgent.Load()).Sub(began).Round(time.Millisecond)
}

// heap is how much of the heap is in use behind a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// cloneEnrollment multiplies the row of the enrollment "template", in one statement.
func cloneEnrollment(t *testing.T, path string, n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT name FROM pragma_table_info('mdm_enrollments') WHERE name NOT IN ('id', 'device')")
	require.NoError(t, err)
	var columns []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		columns = append(columns, name)
	}
	require.NoError(t, rows.Err())
	list := strings.Join(columns, ", ")
	_, err = db.ExecContext(t.Context(), fmt.Sprintf(`WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)
		INSERT INTO mdm_enrollments (device, %s) SELECT printf('device-%%08d', n), %s FROM numbers, (SELECT * FROM mdm_enrollments WHERE device = 'template')`, n, list, list))
	require.NoError(t, err)
}
