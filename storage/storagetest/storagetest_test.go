package storagetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/storagetest"
)

// opener opens memory stores by name and changes them.
func opener(change func(*storage.Stores)) storagetest.Opener {
	var databases sync.Map
	return func(_ testing.TB, name string) storage.Stores {
		db, _ := databases.LoadOrStore(name, memory.New())
		stores := db.(*memory.DB).Stores()
		change(&stores)
		return stores
	}
}

// TestTheSmallestStore: two fields and seven methods are a complete store.
func TestTheSmallestStore(t *testing.T) {
	storagetest.Run(t, storagetest.Config{Volatile: true, Open: opener(func(s *storage.Stores) {
		*s = storage.Stores{Checkin: s.Checkin, Command: s.Command}
	})})
}

// TestDurableStore runs the cases that close and open again: in memory the data outlives a handle, too.
func TestDurableStore(t *testing.T) {
	storagetest.Run(t, storagetest.Config{Open: opener(func(*storage.Stores) {})})
}

// A fault of each kind that the suite has to find, and a case that finds it.
var faults = map[string]struct {
	found string
	plant func(*storage.Stores)
}{
	"loses refusals": {"a_refusal_is_returned_after_the_plan_was_written", func(s *storage.Stores) { s.Checkin = noRefusal{s.Checkin} }},
	"unenrolls on an outage": {"a_canceled_context_changes_nothing", func(s *storage.Stores) {
		s.Checkin = unmanagedOutage{s.Checkin}
	}},
	"loses results":       {"a_final_answer_finishes_a_command", func(s *storage.Stores) { s.Command = noResults{s.Command} }},
	"queues twice":        {"the_same_order_again", func(s *storage.Stores) { s.Command = noUUID{s.Command} }},
	"shuffles events":     {"leased_in_order,_acknowledged_once", func(s *storage.Stores) { s.Events = backwards{s.Events} }},
	"hurries waves":       {"moved_on_since", func(s *storage.Stores) { s.Waves = hurried{s.Waves} }},
	"writes what failed":  {"a_change_that_fails", func(s *storage.Stores) { s.Sessions = careless{s.Sessions} }},
	"keeps what failed":   {"keep_that_fails", func(s *storage.Stores) { s.DEP = hasty{s.DEP} }},
	"loses who is gone":   {"on_several_servers", func(s *storage.Stores) { s.DEP = forgetful{s.DEP} }},
	"reports every error": {"an_unknown_UUID", func(s *storage.Stores) { s.Command = strict{s.Command} }},
}

type hurried struct{ push.Waves }

func (s hurried) AdvanceWave(ctx context.Context, w push.Wave, step push.Step) (push.Wave, error) {
	w, err := s.Wave(ctx, w.To.Tenant, w.ID)
	if err != nil {
		return w, err
	}
	return s.Waves.AdvanceWave(ctx, w, step)
}

type careless struct{ enroll.Sessions }

func (s careless) ChangeEnrollmentSession(ctx context.Context, id string, change func(*enroll.Session) error) (enroll.Session, error) {
	var failed error
	out, err := s.Sessions.ChangeEnrollmentSession(ctx, id, func(now *enroll.Session) error {
		failed = change(now)
		return nil
	})
	return out, errors.Join(failed, err)
}

type hasty struct{ dep.Store }

func (s hasty) Keep(ctx context.Context, key dep.Key, serials []string, keep func(*dep.Server, map[string]*dep.Record) (dep.Kept, error)) error {
	var failed error
	err := s.Store.Keep(ctx, key, serials, func(now *dep.Server, known map[string]*dep.Record) (k dep.Kept, err error) {
		k, failed = keep(now, known)
		return k, nil
	})
	if failed != nil {
		return failed
	}
	return err
}

type forgetful struct{ dep.Store }

func (s forgetful) DeviceRecords(ctx context.Context, tenant, serial string) ([]dep.Record, error) {
	found, err := s.Store.DeviceRecords(ctx, tenant, serial)
	return slices.DeleteFunc(found, func(r dep.Record) bool { return r.Gone }), err
}

type noRefusal struct{ checkin.Store }

func (s noRefusal) Update(ctx context.Context, key checkin.Key, decide func(*checkin.Situation) (checkin.Plan, error)) error {
	return s.Store.Update(ctx, key, func(now *checkin.Situation) (checkin.Plan, error) {
		plan, err := decide(now)
		plan.Refusal = nil
		return plan, err
	})
}

type unmanagedOutage struct{ checkin.Store }

func (s unmanagedOutage) Update(ctx context.Context, key checkin.Key, decide func(*checkin.Situation) (checkin.Plan, error)) error {
	if ctx.Err() != nil {
		return mdm.Errorf(mdm.Unmanaged, "broken", "the database cannot be reached")
	}
	return s.Store.Update(ctx, key, decide)
}

type noResults struct{ command.Store }

func (s noResults) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	empty := *r
	empty.Raw = nil
	return s.Store.Exchange(ctx, &empty, admit)
}

type noUUID struct{ command.Store }

func (s noUUID) Enqueue(ctx context.Context, o command.Order) (command.Receipt, error) {
	o.UUID = ""
	return s.Store.Enqueue(ctx, o)
}

// strict answers a report that it cannot place with an error, which jams the device.
type strict struct{ command.Store }

func (s strict) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	if r.Status != command.StatusIdle {
		known := false
		for range s.Entries(ctx, command.Query{Tenant: r.ID.Tenant, From: r.ID, UUID: r.CommandUUID}) {
			known = true
		}
		if !known {
			return nil, mdm.Errorf(mdm.NotFound, "broken", "no such command")
		}
	}
	return s.Store.Exchange(ctx, r, admit)
}

type backwards struct{ event.Log }

func (l backwards) Lease(ctx context.Context, consumer string, n int, lease time.Duration) ([]mdm.Event, error) {
	events, err := l.Log.Lease(ctx, consumer, n, lease)
	slices.Reverse(events)
	return events, err
}

const plantedFault = "STORAGETEST_FAULT"

// TestFaultIsFound tests a store with a fault. It is run, and expected to fail, by TestFaultsAreFound.
func TestFaultIsFound(t *testing.T) {
	fault := os.Getenv(plantedFault)
	if fault == "" {
		t.Skip("runs in a process of its own")
	}
	storagetest.Run(t, storagetest.Config{Volatile: true, Open: opener(faults[fault].plant)})
}

func TestFaultsAreFound(t *testing.T) {
	for fault, want := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultIsFound$", "-test.short")
			child.Env = append(os.Environ(), plantedFault+"="+fault)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the suite passes a broken store")
			assert.Regexp(t, `--- FAIL: TestFaultIsFound/[a-z-]+/`+want.found, string(out))
			assert.Contains(t, string(out), "why: ", "it says which rule is broken")
		})
	}
}

func ExampleRun() {
	// This is the body of your TestConformance; yours opens a file or a schema by name.
	_ = func(t *testing.T) {
		var databases sync.Map
		storagetest.Run(t, storagetest.Config{
			Volatile: true, // nothing outlives the process
			Open: func(_ testing.TB, name string) storage.Stores {
				db, _ := databases.LoadOrStore(name, memory.New())
				return db.(*memory.DB).Stores()
			},
		})
	}
}
