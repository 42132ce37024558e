package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Store keeps queues and results. It is safe for concurrent use by many goroutines and, on a shared database, by many
// processes.
type Store interface {
	Exchanger // the device's side
	Enqueuer  // the server's side
	Inspector // the operator's side
}

// Exchanger is the device's side of the queue.
type Exchanger interface {
	// Exchange records a report and returns the next command, or nil to end the session. It is one atomic step: it loads
	// the caller's standing, asks admit, and then changes the binding, result, queue, push and events together or not at
	// all. If the verdict has an error, what the verdict asks for is written and that error is returned.
	//
	// A report for an unknown, finished or foreign UUID, and one with an unknown status, is kept aside (EventReportAside)
	// and is answered like an Idle one that does not begin a session. It is not an error: a device repeats for ever what
	// is refused. A report that equals the one that finished its command is a repetition and leaves nothing, and so is
	// a NotNow for a command that is deferred already.
	//
	// The command offered is the first of the channel by priority, then by sequence, among those that are open, due
	// (NotBefore), alive (NotAfter) and not deferred in this session. An Idle report begins a session: deferred commands
	// become eligible again, in their old places. If a channel is not Enrolled, nothing is offered. A command that does not
	// fit the device any more ([Recheck]) is canceled with a Note that says why, and the next one is offered.
	//
	// What a device says of itself in an answer is kept with its enrollment ([Learn]). A report that is accepted is a sign of life:
	// the channel, and a user's device, is Active from then on, with an event if it was not; pushes that were held back for it
	// are due again but for those whose time has come, as it is here.
	//
	// When the session ends with deferred commands, a push is left: after [DeferredPush] if the last status was not
	// NotNow (the device will not poll by itself), else after [SafetyPush]. When it ends with commands that are not due
	// yet, one is left for when the first of them is. If admit panics, nothing is written and the store goes on.
	Exchange(ctx context.Context, r *Report, admit func(*identity.Standing) identity.Verdict) (*Offer, error)
}

// Enqueuer is the server's side of the queue.
type Enqueuer interface {
	// Enqueue puts o on the queue of every target and leaves a push for each, all in one transaction if there are no more
	// than [OneTransaction]; an order for more is stored first and then carried out in chunks. If its process or its caller
	// is gone before the end, another one goes on with it ([FanOuts]); its error then comes with the Receipt so far, and is
	// [ErrNotOurs] if somebody canceled it. Events tell of each target, or of an order for more as a whole ([OrderEvent]).
	// Targets that cannot have it (unknown, not enrolled, or one that [Item.Check] has something against) are refused one by one and do
	// not hinder the others. The body is stored once. An order with a UUID that the store knows already is not queued twice: its Receipt counts the targets that
	// have it as Queued, so that a caller may repeat an Enqueue whose answer it lost; a UUID with another body is
	// refused as Malformed.
	Enqueue(ctx context.Context, o Order) (Receipt, error)
	// Cancel withdraws a command from the queues where it has no final answer, and returns from how many. An answer that
	// still comes is kept aside. An empty from means every queue. It ends an order that is still
	// being carried out, and so does a filter with nothing but a tenant.
	Cancel(ctx context.Context, uuid string, from mdm.Targets) (int, error)
}

// FanOuts are the orders for many that are being carried out. A store whose orders are each one step has none.
type FanOuts interface {
	// Resume takes over an order that no process works on any more, and carries it out to its end. It is false if there
	// is none. Servers call it every now and then.
	Resume(ctx context.Context) (bool, error)
	// FanOuts returns the orders of a tenant that are not carried out yet, the oldest first.
	FanOuts(ctx context.Context, tenant string) ([]FanOut, error)
}

// FanOut is an order for many on its way.
type FanOut struct {
	RequestType string
	BegunAt     time.Time
	Done        Receipt // so far; without the list of refusals
}

// OneTransaction is how many targets an order may have to be carried out in one transaction.
const OneTransaction = 2000

// OrderEvent returns what a store records of an order for more than OneTransaction targets: mdm.EventOrderBegun with it, and
// mdm.EventOrderDone with its last target or when it is canceled, with what came of it in words. An order for a list with
// several tenants tells the first of them.
func OrderEvent(kind mdm.EventType, at time.Time, tenant string, done Receipt, item Item) mdm.Event {
	e := mdm.Event{Type: kind, At: at, Enrollment: mdm.EnrollmentID{Tenant: tenant}, CommandUUID: item.UUID, RequestType: item.RequestType}
	if kind == mdm.EventOrderDone {
		e.Reason = fmt.Sprintf("queued %d, collapsed %d, refused %d", done.Queued, done.Collapsed, done.RefusedAll)
	}
	return e
}

// ErrNotOurs is the error of an order for many that was canceled while it was carried out, or that another process goes on
// with because this one was held up for too long.
var ErrNotOurs = errors.New("command: the order was canceled, or another process goes on with it")

// Inspector is the operator's view of the queues. Reads only.
type Inspector interface {
	// Entries yields what q selects, ordered by enrollment, then Seq. After a non-nil error it yields no more.
	Entries(ctx context.Context, q Query) iter.Seq2[Entry, error]
	// Aside yields the reports that were kept aside, ordered by their number, from after on. A limit of 0 is no limit.
	Aside(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[Aside, error]
}

// Delays of the pushes that a session leaves behind when it ends with deferred commands (Apple's command protocol: a
// device polls by itself only if NotNow was the last thing it said).
const (
	DeferredPush = 5 * time.Minute
	SafetyPush   = time.Hour
)

// Order asks for one command on the queues of many.
type Order struct {
	Command Command     // a typed command or a Raw one
	To      mdm.Targets // zero is nobody
	UUID    string      // the CommandUUID; empty: see [Prepare]. At most 255 printable ASCII bytes

	Priority Priority
	// Collapse, if not empty, is a key of which one open command per enrollment is enough: while one is open and not past
	// its NotAfter, another is not queued and counts as Collapsed.
	Collapse string
	// Supersede turns Collapse around: open commands with the key that were not sent yet are canceled, and this one is
	// queued.
	Supersede bool

	NotBefore time.Time // not offered earlier, nor pushed; zero: at once
	NotAfter  time.Time // not offered later, and expired then; zero: no limit
	NoPush    bool      // do not wake the device

	// Each is told what became of each target, Progress how far the order is; both when that is committed, from the
	// goroutine of Enqueue. Who takes over an order knows nothing of them.
	Each     func(Outcome)
	Progress func(Receipt)

	// Relax names rules of Apple's schema that this command may break: the schema lags behind systems, and is sometimes
	// wrong. Zero: it must keep all of them, as far as the target is known. See [Validate].
	Relax schema.Rules
}

// Priority orders the queue of one enrollment. Within a class commands keep the order in which they were queued.
type Priority int8

// The classes, most urgent first. The zero value is Normal.
const (
	Security  Priority = -30 // lock, erase, lost mode
	Renewal   Priority = -20 // identities and the MDM profile
	Profiles  Priority = -10
	Normal    Priority = 0
	Inventory Priority = 10 // queries that can wait
)

// Receipt says what Enqueue did. The order is on every queue that it counts when Enqueue returns.
type Receipt struct {
	UUID       string
	Queued     int
	Collapsed  int
	Refused    []Refusal // at most MaxRefusals
	RefusedAll int
}

// MaxRefusals bounds the list in a Receipt; its RefusedAll has the whole count.
const MaxRefusals = 1000

// Refusal is a target that did not get a command, and why.
type Refusal struct {
	Enrollment mdm.EnrollmentID
	Err        error
}

// Outcome is what became of one target of an order.
type Outcome struct {
	Enrollment mdm.EnrollmentID
	State      OutcomeState
	Err        error // why it was refused
}

// OutcomeState is what an order came to on one queue.
type OutcomeState uint8

// The outcomes.
const (
	OutcomeQueued    OutcomeState = iota + 1 // it is on the queue, perhaps since an earlier call
	OutcomeCollapsed                         // an open command with its collapse key is enough
	OutcomeRefused
)

var outcomeNames = [...]string{"none", "queued", "collapsed", "refused"}

// String returns the outcome in a word.
func (s OutcomeState) String() string {
	if int(s) < len(outcomeNames) {
		return outcomeNames[s]
	}
	return "unknown"
}

// Report is what a device says when it connects: that it is idle, or what became of a command.
type Report struct {
	ID          mdm.EnrollmentID
	Channel     mdm.Channel
	Fingerprint mdm.Fingerprint

	Status      Status
	CommandUUID string
	Raw         []byte // the message as it came; kept as the result

	// UserConfiguration: a Mac in Setup Assistant that takes only passcode policies, then DeviceConfigured, and answers
	// NotNow to everything else. Only commands with those Traits are offered.
	UserConfiguration bool

	// Unsent is nil in what a device says. Else the report is the server's own, with the status NotNow: see [Unsent].
	Unsent *Unsent

	At time.Time
}

// Unsent says that the command of a report was offered and did not go out. It does not count as sent then, nor as an erase or a
// replacement that was sent. It is put off as by NotNow, except that the device will not poll by itself, or it is canceled. If it
// is not open any more, nothing happens.
type Unsent struct {
	CalledOff bool   // cancel it
	Why       string // the note of what is canceled, and the reason of the event
}

// Offer is the command to send to a device.
type Offer struct {
	UUID        string
	RequestType string
	Body        []byte // the whole message, an XML property list
}

// State is where a command stands on one queue.
type State uint8

// The states. Queued, Sent and Deferred are open; the others are final and never change again.
const (
	Queued       State = iota + 1
	Sent               // offered at least once; not answered
	Deferred           // answered NotNow in this session
	Acknowledged       // done, or at least accepted
	Failed             // answered Error
	FormatError        // answered CommandFormatError
	Canceled           // withdrawn, superseded, or of a former generation
	Expired            // NotAfter passed
	Presumed           // an EraseDevice that was sent and never answered before the device enrolled anew: executed, probably
)

// Open reports whether s is not final.
func (s State) Open() bool { return s >= Queued && s <= Deferred }

var stateNames = [...]string{"none", "queued", "sent", "deferred", "acknowledged", "failed", "format-error", "canceled", "expired", "presumed"}

// String returns the state in a word.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Entry is one command on one queue, open or finished.
type Entry struct {
	Enrollment  mdm.EnrollmentID
	Generation  mdm.Generation
	Seq         int64 // orders the commands of a priority; one that is queued gets a greater one than those open before it
	UUID        string
	RequestType string
	State       State
	Priority    Priority
	Collapse    string
	NotBefore   time.Time
	NotAfter    time.Time

	QueuedAt   time.Time
	SentAt     time.Time // last time
	Sends      int
	DeferredAt time.Time // last NotNow
	Deferrals  int
	FinishedAt time.Time
	Note       string // why it was canceled

	Body   []byte // with Query.Bodies
	Result []byte // with Query.Results: the raw report that finished it
}

// Query selects entries. Every set field must match.
type Query struct {
	Tenant  string
	From    mdm.EnrollmentID // the queue of one channel; zero: of all
	UUID    string
	States  []State // any of them; empty: any
	Bodies  bool    // fill in Body
	Results bool    // fill in Result

	// AfterEnrollment and AfterSeq page through the result: only entries after that one. Limit 0 is no limit.
	AfterEnrollment mdm.EnrollmentID
	AfterSeq        int64
	Limit           int
}

// Aside is a report that fits no open command, kept for inspection.
type Aside struct {
	Number      int64
	Enrollment  mdm.EnrollmentID
	At          time.Time
	Status      Status
	CommandUUID string
	Reason      string
	Raw         []byte
}
