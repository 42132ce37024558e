package workflow

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// ErrLost is the error of a step that came too late: its lease ended and somebody else took the run, or the run is over.
// Nothing of the step was written.
var ErrLost = errors.New("workflow: the run is somebody else's now, or over")

// ErrCollapsed is why the queue did not take an order that an open command with its collapse key makes needless: the run
// has no answer of its own then.
var ErrCollapsed = errors.New("workflow: an open command with its collapse key is enough")

// ErrOver is why the queue did not take an order of a run that outlived the generation of its enrollment.
var ErrOver = errors.New("workflow: the generation of the enrollment is over")

// Dropped is the note of a command that a workflow has withdrawn.
const Dropped = "withdrawn by its workflow"

// Store keeps runs. It loads and writes; what becomes of a run is decided by the functions that it is given, which are quick,
// have no effects of their own, and may be called more than once. It is safe for concurrent use by many goroutines and
// processes.
type Store interface {
	// BeginRun stores a new run and leaves an mdm.EventWorkflowBegun. It returns false, and the run that is there, if there is
	// one of that ID, open or over, or an open one (or one set aside) of the enrollment with the same Key. It returns a
	// NotFound error if the enrollment is unknown and a Forbidden one if it is not Enrolled ([Run.Begun]); the run gets its generation.
	BeginRun(ctx context.Context, r Run) (Run, bool, error)
	// TellRuns calls hear for every run of an enrollment that is not over, and writes those of which it returns true, in one
	// transaction. With users it does so for the runs of a device's users, too. It may ask hear first without a transaction.
	TellRuns(ctx context.Context, id mdm.EnrollmentID, users bool, hear func(*Run) bool) error
	// LeaseRuns gives up to max runs of these workflows to a holder whose step is due, as [Run.Lease] does: a [Fair] selection,
	// sorted as that. It gives no run of a newer version. A holder is another one each time.
	LeaseRuns(ctx context.Context, known []Known, holder string, now time.Time, d time.Duration, max int) ([]Run, error)
	// SettleRun writes what came of a step, in one transaction: it loads the run, returns ErrLost if the holder has it no
	// longer, and calls settle with it and with the enrollment, nil if there is none. Then it enqueues and withdraws what
	// settle returns, and tells it of refusals ([Settlement.Refused]), and writes the run and an event if its status is
	// another.
	SettleRun(ctx context.Context, id, holder string, settle func(*Run, *mdm.Enrollment) Settlement) (Run, error)
	// ChangeRun lets an operator's change become of a run that is not over, or returns a NotFound error. In the same transaction it
	// withdraws the commands whose UUIDs change returns, as far as they are open on the queue of the run's enrollment. It returns the
	// run as it is then.
	ChangeRun(ctx context.Context, tenant, id string, change func(*Run) (drops []string, err error)) (Run, error)
	// Run returns a run, or a NotFound error.
	Run(ctx context.Context, tenant, id string) (Run, error)
	// Runs yields what q selects, ordered by ID. After a non-nil error it yields no more.
	Runs(ctx context.Context, q Query) iter.Seq2[Run, error]
	// CountRuns counts the runs of a tenant by workflow, status and step.
	CountRuns(ctx context.Context, tenant, workflow string) ([]Count, error)
}

// Known is a workflow that a program knows, and the newest version of its state.
type Known struct {
	Workflow string
	Version  int
}

// Due is a run that may be leased.
type Due struct {
	ID, Workflow string
	At           time.Time
}

// Fair selects at most max of the runs that are due: what is due longest comes first, but workflows take turns, so that none
// waits for the many runs of another. Stores give it at least max of each workflow, if there are so many.
func Fair(due []Due, max int) []Due {
	slices.SortFunc(due, func(a, b Due) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	place, places := map[string]int{}, make(map[string]int, len(due))
	for _, d := range due {
		places[d.ID] = place[d.Workflow]
		place[d.Workflow]++
	}
	slices.SortStableFunc(due, func(a, b Due) int { return cmp.Compare(places[a.ID], places[b.ID]) })
	return due[:min(max, len(due))]
}

// Settlement is what a step asks of the queue.
type Settlement struct {
	Orders []command.Order // to the run's enrollment, with their UUIDs
	Drops  []string        // UUIDs to withdraw from its queue
	// Refused is called with the UUID of an order that the queue did not take, and why.
	Refused func(uuid string, err error)
}

// Query selects runs. Every set field must match.
type Query struct {
	Tenant     string
	Workflow   string
	Enrollment mdm.EnrollmentID // zero: all
	Status     []Status         // any of them; empty: any
	Step       string
	After      string // the ID of the last run of the page before
	Limit      int    // 0: no limit
}

// Count is how many runs of a workflow stand at a step.
type Count struct {
	Workflow string
	Status   Status
	Step     string
	Runs     int
}

// Selects reports whether q selects r, but for Limit.
func (q *Query) Selects(r *Run) bool {
	return r.Enrollment.Tenant == q.Tenant && (q.Workflow == "" || q.Workflow == r.Workflow) && (q.Enrollment.IsZero() || q.Enrollment == r.Enrollment) &&
		(len(q.Status) == 0 || slices.Contains(q.Status, r.Status)) && (q.Step == "" || q.Step == r.Step) && r.ID > q.After
}
