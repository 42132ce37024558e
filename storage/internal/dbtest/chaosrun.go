package dbtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// Chaos lets two replicas run n workflows at once and kills them again and again. Every workflow comes to its end, by each of
// its steps once, and no command of a step is queued twice.
func Chaos(t *testing.T, dsn string, stores storage.Stores, n, kills int) {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are killed in long runs only")
	}
	crowd(t, stores, n)
	engine, err := chaosEngine(stores)
	require.NoError(t, err)
	runs := begin(t, engine, n)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	var killed atomic.Int64
	for range 2 {
		group.Go(func() { replica(t, ctx, dsn, kills, &killed) })
	}
	group.Go(func() { answerPushes(t, ctx, stores) })
	done := func() bool {
		counts, err := stores.Runs.CountRuns(t.Context(), "", "chaos")
		require.NoError(t, err)
		over := 0
		for _, c := range counts {
			if c.Status == workflow.Done {
				over += c.Runs
			}
		}
		return over == n
	}
	for !done() {
		select {
		case <-ctx.Done():
			counts, err := stores.Runs.CountRuns(t.Context(), "", "chaos")
			t.Errorf("they do not come to an end: %+v %v", counts, err)
			return
		case <-time.After(100 * time.Millisecond): // nothing is asserted by it
		}
	}
	cancel()
	group.Wait()
	assert.GreaterOrEqual(t, killed.Load(), int64(2), "it is about processes that are killed")
	judge(t, stores, runs)
}

// begin begins a run on each device of the crowd.
func begin(t *testing.T, engine *workflow.Engine, n int) map[string]bool {
	runs := map[string]bool{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < n; i += 8 {
				r, fresh, err := engine.Begin(t.Context(), "chaos", mdm.EnrollmentID{Device: fmt.Sprintf("crowd-%05d", i)}, "chaos", nil)
				assert.NoError(t, err)
				assert.True(t, fresh)
				mu.Lock()
				runs[r.ID] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return runs
}

// replica starts a process, and another one for each that it has killed.
func replica(t *testing.T, ctx context.Context, dsn string, kills int, killed *atomic.Int64) {
	for life := 0; ctx.Err() == nil; life++ {
		run := victimOf(t, dsn, "runs")
		in, err := run.StdinPipe()
		if !assert.NoError(t, err) {
			return
		}
		out, err := run.StdoutPipe()
		if !assert.NoError(t, err) || !assert.NoError(t, run.Start()) {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = run.Process.Kill() })
		last, lines := 20+rand.IntN(200), 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			if !strings.HasPrefix(scanner.Text(), "step ") {
				t.Errorf("a replica ended: %s", scanner.Text())
			}
			if lines == last && life < kills {
				_ = run.Process.Kill() // SIGKILL
			}
		}
		_ = run.Wait()
		stop()
		_ = in.Close()
		if life < kills {
			killed.Add(1)
		}
	}
}

// answerPushes is all devices: who is pushed connects and answers.
func answerPushes(t *testing.T, ctx context.Context, stores storage.Stores) {
	for ctx.Err() == nil {
		targets, err := stores.Push.DuePushes(ctx, time.Now().Add(time.Second), 100, chaosLease)
		if err != nil {
			assert.Error(t, ctx.Err(), err)
			return
		}
		results := make([]push.Result, len(targets))
		for i, target := range targets {
			results[i] = push.Result{Target: target, Outcome: push.Delivered, At: time.Now()}
		}
		if err := stores.Push.Feedback(context.WithoutCancel(ctx), results); err != nil {
			t.Error(err)
		}
		var group sync.WaitGroup
		for worker := range min(4, len(targets)) {
			group.Go(func() {
				for i := worker; i < len(targets); i += 4 {
					assert.NoError(t, connectOnce(stores, targets[i].Enrollment))
				}
			})
		}
		group.Wait()
		if len(targets) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// connectOnce is a session of a device. Questions fail now and then, and a new push token comes after the answer to a list.
func connectOnce(stores storage.Stores, id mdm.EnrollmentID) error {
	offer, err := Report(stores, id, mdm.Fingerprint{}, command.StatusIdle, "")
	for err == nil && offer != nil {
		status := command.StatusAcknowledged
		if offer.RequestType == "SecurityInfo" && rand.IntN(4) == 0 {
			status = command.StatusError
		}
		before := offer
		if offer, err = Report(stores, id, mdm.Fingerprint{}, status, offer.UUID); err == nil && before.RequestType == "ProfileList" {
			err = stores.Checkin.Update(context.Background(), checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) {
				return checkin.Plan{Events: []mdm.Event{{Type: mdm.EventTokenUpdated, At: time.Now(), Enrollment: id, Generation: 1}}}, nil
			})
		}
	}
	return err
}

// judge looks what became of the runs.
func judge(t *testing.T, stores storage.Stores, runs map[string]bool) {
	asked, found := map[mdm.EnrollmentID]int{}, 0
	for r, err := range stores.Runs.Runs(t.Context(), workflow.Query{Workflow: "chaos"}) {
		require.NoError(t, err)
		assert.True(t, runs[r.ID], "nobody began it")
		var s chaos
		require.NoError(t, json.Unmarshal(r.State, &s))
		assert.True(t, s.took(), "%v", s)
		assert.Equal(t, len(s.Took), r.Turns)
		asked[r.Enrollment] = s.Asked
		found++
	}
	assert.Equal(t, len(runs), found)
	commands, uuids := map[mdm.EnrollmentID]map[string]int{}, map[string]bool{}
	for e, err := range stores.Command.Entries(t.Context(), command.Query{}) {
		require.NoError(t, err)
		if commands[e.Enrollment] == nil {
			commands[e.Enrollment] = map[string]int{}
		}
		commands[e.Enrollment][e.RequestType]++
		assert.False(t, uuids[e.UUID], "%s is there twice", e.UUID)
		uuids[e.UUID] = true
	}
	for id, n := range asked {
		assert.Equal(t, map[string]int{"SecurityInfo": n, "ProfileList": 1, "CertificateList": 1}, commands[id], "%s", id)
	}
	told := map[mdm.EventType]int{}
	events, err := stores.Events.Events(t.Context(), "", 0, 0)
	require.NoError(t, err)
	for _, e := range events {
		if strings.HasPrefix(string(e.Type), "workflow.") {
			told[e.Type]++
		}
	}
	assert.Equal(t, map[mdm.EventType]int{mdm.EventWorkflowBegun: len(runs), mdm.EventWorkflowDone: len(runs)}, told)
}
