// Package workflow runs what takes several commands and days: a profile that waits for a passcode, a renewal that is tried
// until it is done.
//
// A [Workflow] is a value with named steps. A step is a function that looks at what is known (the enrollment, the answers to
// the commands that were sent, the workflow's own state) and returns a [Next]: which step is next, which commands go out, and
// what the run waits for. Its commands, its state and its events are written in one transaction, so a step happened or did not,
// whatever is killed when. What a step does besides may happen twice.
//
// A [Run] is one workflow on one enrollment. It ends with the generation of its enrollment: what was begun for a device that
// was wiped since does not go on. The [Engine] starts runs, wakes them and takes their steps, in any number of processes on one
// [Store].
package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Workflow describes what is done, step by step, with a state of type S. It is not changed once an [Engine] has it. S is kept
// as JSON and must hold no secrets: an mdm.Secret in it fails the step.
type Workflow[S any] struct {
	Name string // stored with every run; at most 64 printable ASCII characters
	// Version is of S. Upgrade turns what an older version stored into S; nil: S is read from it as it is.
	Version int
	Upgrade func(version int, state []byte) (S, error)

	First string // the step that a run begins with
	Steps map[string]func(context.Context, *Turn, *S) (Next, error)

	// Start begins a run for an event that Listens names, and says with which state. Nil, or false: none. What has the same
	// Key as an open run of the enrollment does not begin. It may be called more than once for an event.
	Start   func(context.Context, mdm.Event) (state S, key string, ok bool, err error)
	Listens []mdm.EventType // what Start and [Next.On] want to hear of

	// Canceled, if not empty, is the step that takes back what a run leaves outside of itself, when an operator cancels it
	// ([Engine.Cancel]). A run that was begun and canceled at once takes it, too, as does one whose last step came to nothing: its effects
	// may be there, and not be in the state. However it ends the run, that is canceled. It may go on with other steps, and send.
	Canceled string

	// Outlived says how a run ends whose enrollment ended or began anew, and why: Done for a workflow that has just that for its
	// purpose, as an erasure, if it has come to that step. Nil, or any status but Done and Failed: Canceled. The event tells what
	// became of the enrollment: it checked out, was ended, or came with another generation. Outlived must be quick and have no
	// effects, and may be called more than once.
	Outlived func(r *Run, e mdm.Event) (s Status, note string)
	// Outlives makes runs go on when the generation of their enrollment ends, and begin on enrollments that ended: for what a
	// device that is gone leaves to be done. Outlived is not asked then. Their steps look at [Turn.Over]; from then on the queue
	// takes nothing of theirs ([ErrOver]). It holds for runs that begin after it was set.
	Outlives bool

	Retry Retry
}

// Retry says how a step that fails is tried again.
type Retry struct {
	Limit int           // attempts, until the run is set aside; 0: 10
	First time.Duration // between the first two; 0: 10 s. It doubles each time
	Most  time.Duration // between two; 0: 1 h
}

// wait returns how long to wait after so many attempts have failed; false if it was the last.
func (r Retry) wait(attempts int) (time.Duration, bool) {
	limit, first, most := r.Limit, r.First, r.Most
	if limit <= 0 {
		limit = 10
	}
	if first <= 0 {
		first = 10 * time.Second
	}
	if most <= 0 {
		most = time.Hour
	}
	if attempts >= limit {
		return 0, false
	}
	return min(first<<min(attempts-1, 20), most), true
}

// Turn is what a step is told.
type Turn struct {
	Run        *Run            // read only
	Enrollment *mdm.Enrollment // as it is now
	Now        time.Time
	// Answers has the commands of the run by name, as far as there is a final answer, with results.
	Answers map[string]command.Entry
	// Waiting has those that are on the queue without a final answer, without their bodies: Sends says whether the device was
	// offered one.
	Waiting map[string]command.Entry
}

// Over reports whether the generation that the run began in is over. It is always false unless the workflow [Workflow.Outlives] it.
func (t *Turn) Over() bool { return past(t.Run, t.Enrollment) }

// Words are what operators told the run ([Engine.Tell]) since its last step, the oldest first. They are forgotten when this step
// is written.
func (t *Turn) Words() []Word { return t.Run.Words }

// Signal returns the event that woke the run, nil if its time came.
func (t *Turn) Signal() *mdm.Event { return t.Run.Signal }

// Answer returns the final state of a command, and its result. It is false while there is none.
func (t *Turn) Answer(name string) (command.Entry, bool) {
	e, ok := t.Answers[name]
	return e, ok
}

// Refused returns why the queue did not take a command; empty if it did.
func (t *Turn) Refused(name string) string { return t.Run.Sent[name].Refused }

// Key returns a text that is the same each time this step of this run is tried, and no other's: for effects outside, which may
// happen twice.
func (t *Turn) Key() string { return t.Run.ID + "/" + strconv.Itoa(t.Run.Turns) }

// kind is a workflow without the type of its state.
type kind interface {
	name() string
	check() error
	listens() []mdm.EventType
	start(ctx context.Context, e mdm.Event) (run Run, ok bool, err error)
	begin(state any) (Run, error)
	take(ctx context.Context, t *Turn) (Next, json.RawMessage, error)
	retry() Retry
	version() int
	canceled() string
	outlived(r *Run, e mdm.Event) (Status, string)
}

func (w *Workflow[S]) name() string             { return w.Name }
func (w *Workflow[S]) listens() []mdm.EventType { return w.Listens }
func (w *Workflow[S]) retry() Retry             { return w.Retry }
func (w *Workflow[S]) canceled() string         { return w.Canceled }
func (w *Workflow[S]) version() int             { return w.Version }

func (w *Workflow[S]) outlived(r *Run, e mdm.Event) (s Status, note string) {
	if w.Outlived == nil {
		return Canceled, ""
	}
	defer func() {
		if p := recover(); p != nil { // it must not hold up the events of the enrollment
			s, note = Canceled, fmt.Sprintf("the enrollment ended, and Outlived panicked: %v", p)
		}
	}()
	c := r.Clone()
	return w.Outlived(&c, e)
}

func (w *Workflow[S]) check() error {
	switch {
	case !plain(w.Name):
		return fmt.Errorf("workflow: %q is no name of 1 to %d printable ASCII characters", w.Name, maxName)
	case w.Steps[w.First] == nil:
		return fmt.Errorf("workflow: %s has no step %q to begin with", w.Name, w.First)
	case w.Canceled != "" && w.Steps[w.Canceled] == nil:
		return fmt.Errorf("workflow: %s has no step %q to be canceled with", w.Name, w.Canceled)
	}
	for step := range w.Steps {
		if !plain(step) {
			return fmt.Errorf("workflow: %s: %q is no name of 1 to %d printable ASCII characters", w.Name, step, maxName)
		}
	}
	return nil
}

const maxName = 64

func plain(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func (w *Workflow[S]) start(ctx context.Context, e mdm.Event) (Run, bool, error) {
	if w.Start == nil {
		return Run{}, false, nil
	}
	state, key, ok, err := w.Start(ctx, e)
	if err != nil || !ok {
		return Run{}, false, err
	}
	r, err := w.run(state)
	r.ID, r.Enrollment, r.Key, r.Woke = eventID(w.Name, e), e.Enrollment, key, e.Seq
	return r, true, err
}

func (w *Workflow[S]) begin(state any) (Run, error) {
	s, ok := state.(S)
	if !ok && state != nil {
		return Run{}, mdm.Errorf(mdm.Malformed, "workflow.Begin", "the state of %s is a %T, not a %T", w.Name, s, state)
	}
	r, err := w.run(s)
	r.ID = uuid.NewString()
	return r, err
}

func (w *Workflow[S]) run(state S) (Run, error) {
	data, err := json.Marshal(state)
	return Run{Workflow: w.Name, Version: w.Version, Step: w.First, State: data, Status: Open, Outlives: w.Outlives}, err
}

// eventID is the ID of the run that an event begins, however often it is delivered.
func eventID(workflow string, e mdm.Event) string {
	sum := sha256.Sum256([]byte(workflow + "\x00" + e.Enrollment.Tenant + "\x00" + e.Enrollment.String() + "\x00" + strconv.FormatInt(e.Seq, 10)))
	return hex.EncodeToString(sum[:16])
}

func (w *Workflow[S]) take(ctx context.Context, t *Turn) (Next, json.RawMessage, error) {
	step := w.Steps[t.Run.Step]
	if step == nil {
		return Next{}, nil, fmt.Errorf("%s has no step %q", w.Name, t.Run.Step)
	}
	state, err := w.state(t.Run)
	if err != nil {
		return Next{}, nil, err
	}
	next, err := step(ctx, t, &state)
	if err != nil {
		return Next{}, nil, err
	}
	if next.end == 0 && w.Steps[next.step] == nil {
		return Next{}, nil, fmt.Errorf("%s goes on with a step %q that it does not have", w.Name, next.step)
	}
	data, err := json.Marshal(state)
	if err == nil {
		err = next.check(t.Run, data, t.Answers)
	}
	return next, data, err
}

func (w *Workflow[S]) state(r *Run) (S, error) {
	var state S
	if w.Upgrade != nil && r.Version < w.Version {
		return w.Upgrade(r.Version, r.State)
	}
	err := json.Unmarshal(r.State, &state)
	return state, err
}
