package workflow

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Run is one workflow on one enrollment, as a [Store] keeps it.
type Run struct {
	ID         string
	Workflow   string
	Version    int // of State
	Enrollment mdm.EnrollmentID
	Generation mdm.Generation // of the enrollment when the run began; it does not outlive it
	// Key, if not empty, keeps the enrollment from having two open runs with it.
	Key string

	Status Status
	Step   string          // the step to take next, or the last one
	Note   string          // where it stands, in words; for people
	State  json.RawMessage // the workflow's own; it holds no secrets

	Sent   map[string]Sent // the commands of the run, by the names that its steps gave them
	Waits  Waits
	Signal *mdm.Event  // what woke it; nil: the time that it waited for
	Woke   int64       // Seq of the event that woke it last: delivered again, it does not
	Missed []mdm.Event // what happened since a step was due, and until it was taken: the next wait may be for that
	More   bool        // there was more than Missed holds
	Words  []Word      `json:",omitempty"` // what operators told it, for its next step

	Canceling bool   `json:",omitempty"` // an operator canceled it, and it takes back what it has done; see [Workflow.Canceled]
	Why       string `json:",omitempty"` // it was canceled

	Outlives bool `json:",omitempty"` // it goes on when its generation is over; see [Workflow.Outlives]

	Due      time.Time // when the next step is to be taken, whatever happens; zero: when it is told
	Turns    int       // steps that were taken
	Attempts int       // of the step at hand that failed
	Error    string    // of the last attempt

	Holder      string    // who takes a step now
	LeasedUntil time.Time // and until when nobody else does

	BegunAt time.Time
	MovedAt time.Time
	EndedAt time.Time // zero: open
}

// Sent is a command that a run has put on the queue of its enrollment.
type Sent struct {
	UUID    string `json:"uuid"`
	Refused string `json:"refused,omitempty"` // why the queue did not take it; it has no answer then
}

// Waits says what wakes a run. Any one of them is enough.
type Waits struct {
	Answers []string        `json:"answers,omitempty"` // names of commands in Sent that get a final state
	Events  []mdm.EventType `json:"events,omitempty"`  // of the run's enrollment
}

// Status is how far a run is.
type Status uint8

// The statuses. All but Open and Aside are final.
const (
	Open     Status = iota + 1
	Aside           // a step failed too often; an operator may have it tried again
	Done            // the workflow reached its end
	Failed          // the workflow gave up
	Canceled        // by an operator, or because the enrollment ended
)

var statusNames = [...]string{"none", "open", "aside", "done", "failed", "canceled"}

// String returns the status in a word.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

// Over reports whether s is final.
func (s Status) Over() bool { return s >= Done }

// final are the events of commands that have a final state.
var final = []mdm.EventType{mdm.EventCommandAcknowledged, mdm.EventCommandFailed, mdm.EventCommandCanceled, mdm.EventCommandExpired}

// ending are the events after which the runs of a former generation are over.
var ending = []mdm.EventType{mdm.EventAuthenticated, mdm.EventEnrolled, mdm.EventReenrolled, mdm.EventAfterWipe, mdm.EventCheckedOut, mdm.EventEnded}

// maxMissed bounds what is remembered until a step has been taken. What comes after it ends the next wait in any case.
const maxMissed = 64

// Hear tells r of an event of its enrollment and reports whether r is another now.
func (r *Run) Hear(e mdm.Event, now time.Time) bool { return r.hear(nil, e, now) }

// hear is Hear for an engine that knows the workflow; k is nil if it does not.
func (r *Run) hear(k kind, e mdm.Event, now time.Time) bool {
	idle := r.Status == Open && r.Holder == "" && r.Signal == nil && r.Attempts == 0
	switch {
	case r.Status.Over():
		return false
	case !r.Outlives && slices.Contains(ending, e.Type) && r.outlived(e):
		r.outlive(k, e, now)
		return true
	case e.Enrollment != r.Enrollment: // of its device
		return false
	case e.Seq != 0 && e.Seq == r.Woke:
		return false
	case idle && r.awaits(&e):
		r.wake(&e, now)
		return true
	case idle && !r.dueAt(now):
		return false
	}
	return r.miss(k, e)
}

// dueAt reports whether a step is to be taken. What was due at once when r was written is due by every clock.
func (r *Run) dueAt(now time.Time) bool {
	return !r.Due.IsZero() && !(now.Before(r.Due) && r.MovedAt.Before(r.Due))
}

// miss remembers an event until it is known what r waits for next.
func (r *Run) miss(k kind, e mdm.Event) bool {
	switch {
	case !r.concerns(k, &e), e.Seq != 0 && slices.ContainsFunc(r.Missed, func(m mdm.Event) bool { return m.Seq == e.Seq }):
		return false
	case len(r.Missed) < maxMissed:
		r.Missed = append(r.Missed, e)
		return true
	case !r.More:
		r.More = true
		return true
	}
	return false
}

// concerns reports whether r may wait for e in one of its steps.
func (r *Run) concerns(k kind, e *mdm.Event) bool {
	if k == nil || slices.Contains(k.listens(), e.Type) || slices.Contains(r.Waits.Events, e.Type) {
		return true
	}
	if !slices.Contains(final, e.Type) {
		return false
	}
	for _, sent := range r.Sent {
		if sent.UUID == e.CommandUUID {
			return true
		}
	}
	return false
}

// recall looks in what was missed for what r waits for now. What came behind that is kept for the waits to come.
func (r *Run) recall(missed []mdm.Event, now time.Time) {
	for i := range missed {
		if r.awaits(&missed[i]) {
			r.wake(&missed[i], now)
			r.Missed = slices.Clone(missed[i+1:])
			return
		}
	}
	switch {
	case r.dueAt(now):
		r.Missed = missed
	case r.More:
		r.More = false
		r.wake(nil, now)
	}
}

// outlived reports whether the generation of r is over by e.
func (r *Run) outlived(e mdm.Event) bool {
	if e.Type == mdm.EventCheckedOut || e.Type == mdm.EventEnded {
		return e.Generation == 0 || e.Generation >= r.Generation
	}
	return e.Generation > r.Generation
}

// outlive ends r as its workflow wants it when the generation is over.
func (r *Run) outlive(k kind, e mdm.Event, now time.Time) {
	status, note := Canceled, ""
	if k != nil {
		status, note = k.outlived(r, e)
	}
	if status != Done && status != Failed {
		status = Canceled
	}
	if note == "" {
		note = "the enrollment ended"
	}
	r.End(status, clipped(note), now)
}

func (r *Run) awaits(e *mdm.Event) bool {
	if slices.Contains(r.Waits.Events, e.Type) {
		return true
	}
	return slices.Contains(final, e.Type) && slices.ContainsFunc(r.Waits.Answers, func(name string) bool { return r.Sent[name].UUID == e.CommandUUID })
}

// wake makes the next step due, by an event or, if e is nil, because there is nothing to wait for.
func (r *Run) wake(e *mdm.Event, now time.Time) {
	if r.Due.IsZero() || now.Before(r.Due) {
		r.Due = now
	}
	if e != nil {
		r.Signal, r.Woke = e, e.Seq
	}
}

// cancel has r take back what it has done. Whoever takes a step of it now keeps the lease until that has come to nothing.
func (r *Run) cancel(step, why string, now time.Time) {
	r.Canceling, r.Why, r.Note = true, clipped(why), clipped(why)
	r.Status, r.Step, r.Attempts, r.Due, r.MovedAt = Open, step, 0, now, now
	r.Waits, r.Signal, r.Missed, r.More, r.Words = Waits{}, nil, nil, false, nil
}

// End ends r. Stores write it as [Store.ChangeRun] says; who holds a lease of it has lost it.
func (r *Run) End(s Status, note string, now time.Time) {
	r.Status, r.Note, r.EndedAt, r.MovedAt = s, note, now, now
	r.Words = nil
	r.Due, r.Waits, r.Signal, r.Missed, r.More, r.Holder, r.LeasedUntil = time.Time{}, Waits{}, nil, nil, false, "", time.Time{}
}

// Lease gives r to a holder if a step of it is due and nobody else has it. Stores call it for runs that are due.
func (r *Run) Lease(holder string, now time.Time, d time.Duration) bool {
	if r.Status != Open || r.Due.IsZero() || now.Before(r.Due) || now.Before(r.LeasedUntil) {
		return false
	}
	r.Holder, r.LeasedUntil = holder, now.Add(d)
	return true
}

// Event returns what a store records of a run: EventWorkflowBegun with it, and one of the others when it is over or set aside.
func (r *Run) Event(kind mdm.EventType, at time.Time) mdm.Event {
	return mdm.Event{Type: kind, At: at, Enrollment: r.Enrollment, Generation: r.Generation, Subject: r.Workflow, Name: r.ID, Reason: r.Note}
}

// Turned returns the kind of the event that tells of a change of status, empty if there is none to tell.
func (r *Run) Turned(before Status) mdm.EventType {
	if r.Status == before {
		return ""
	}
	switch r.Status {
	case Aside:
		return mdm.EventWorkflowAside
	case Done:
		return mdm.EventWorkflowDone
	case Failed:
		return mdm.EventWorkflowFailed
	case Canceled:
		return mdm.EventWorkflowCanceled
	}
	return ""
}

// Clone returns a copy of r that shares nothing with it.
func (r *Run) Clone() Run {
	c := *r
	c.State = slices.Clone(r.State)
	c.Sent = maps.Clone(r.Sent)
	c.Waits = Waits{Answers: slices.Clone(r.Waits.Answers), Events: slices.Clone(r.Waits.Events)}
	c.Missed = slices.Clone(r.Missed)
	c.Words = slices.Clone(r.Words)
	if r.Signal != nil {
		signal := *r.Signal
		c.Signal = &signal
	}
	return c
}

// Begun returns r as a store writes it for an enrollment, or why it does not: a NotFound error if there is no such enrollment,
// a Forbidden one if it is not Enrolled and the run does not outlive that, a Malformed one if something of r is too long to be kept.
func (r Run) Begun(e *mdm.Enrollment) (Run, error) {
	const op = "workflow.BeginRun"
	switch {
	case e == nil:
		return Run{}, mdm.Errorf(mdm.NotFound, op, "the enrollment is not known")
	case e.State != mdm.Enrolled && !r.Outlives:
		return Run{}, mdm.Errorf(mdm.Forbidden, op, "the enrollment is %s", e.State)
	case r.ID == "" || len(r.ID) > maxKey || len(r.Key) > maxKey || !plain(r.Workflow) || !plain(r.Step):
		return Run{}, mdm.Errorf(mdm.Malformed, op, "the ID, the key, the workflow or the step is empty or too long")
	case len(r.State) > MaxState:
		return Run{}, mdm.Errorf(mdm.Malformed, op, "the state has %d bytes, over the limit of %d", len(r.State), MaxState)
	}
	r.Generation, r.Status = e.Generation, Open
	return r, nil
}

// Limits of what a Store keeps, in bytes.
const (
	MaxState = 1 << 20
	maxKey   = 255
	maxSent  = 256 // names of commands of one run
)
