package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// workOnWave moves the wave of a test on, until it is killed.
func workOnWave(stores storage.Stores) error {
	ctx := context.Background()
	w, err := stores.Waves.Wave(ctx, "", "wave")
	for err == nil && w.Open() {
		w, err = stores.Waves.AdvanceWave(ctx, w, push.Step{At: time.Now(), Max: waveChunk})
		fmt.Println("woken", w.Woken)
	}
	return err
}

const waveChunk = 20

// KilledWave kills processes in the middle of a wave, and ends it in another one. Everybody is pushed, and nobody twice:
// pushes are delivered between, so that whoever was woken again would be pushed again.
func KilledWave(t *testing.T, dsn string, stores storage.Stores) {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are killed in long runs only")
	}
	const n = 3000
	crowd(t, stores, n)
	w, err := stores.Waves.BeginWave(t.Context(), push.Wave{ID: "wave"})
	require.NoError(t, err)
	require.Equal(t, n, w.Total)
	pushed, told := map[mdm.EnrollmentID]int{}, 0
	for range 3 {
		told = max(told, killedInWave(t, dsn))
		w, err = stores.Waves.Wave(t.Context(), "", "wave")
		require.NoError(t, err)
		assert.GreaterOrEqual(t, w.Woken, told, "what was told of is there")
		deliver(t, stores, pushed)
		assert.Len(t, pushed, w.Woken, "a chunk and its count are one")
	}
	for w.Open() {
		w, err = stores.Waves.AdvanceWave(t.Context(), w, push.Step{At: time.Now(), Max: push.WaveStep})
		require.NoError(t, err)
	}
	deliver(t, stores, pushed)
	assert.Equal(t, n, w.Woken)
	assert.Len(t, pushed, n)
	for id, times := range pushed {
		if times != 1 {
			t.Errorf("%s was pushed %d times", id, times)
		}
	}
}

// killedInWave lets a process work on the wave and kills it. It returns how far that told it was.
func killedInWave(t *testing.T, dsn string) (told int) {
	t.Helper()
	run := victimOf(t, dsn, "wave")
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	lines := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
		if scanner.Text() == "failed <nil>" { // it was quicker than we are, on a busy machine
			break
		}
		_, err := fmt.Sscanf(scanner.Text(), "woken %d", &told)
		require.NoError(t, err, scanner.Text())
		if lines == 4 {
			_ = run.Process.Kill() // SIGKILL; it may be gone already
		}
	}
	_ = run.Wait()
	return told
}

// deliver pushes all that is due.
func deliver(t *testing.T, stores storage.Stores, pushed map[mdm.EnrollmentID]int) {
	t.Helper()
	for {
		targets, err := stores.Push.DuePushes(t.Context(), time.Now().Add(time.Second), 500, time.Minute)
		require.NoError(t, err)
		if len(targets) == 0 {
			return
		}
		results := make([]push.Result, len(targets))
		for i, target := range targets {
			pushed[target.Enrollment]++
			results[i] = push.Result{Target: target, Outcome: push.Delivered, At: time.Now()}
		}
		require.NoError(t, stores.Push.Feedback(t.Context(), results))
	}
}
