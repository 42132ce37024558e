package mdmtest

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// ABMFault is how a call of an [ABM] goes wrong. The zero ABMFault is a call that does not.
type ABMFault struct {
	Status int    // of HTTP, in place of the true answer; 0: the true one
	Body   string // with Status, as "T_C_NOT_SIGNED", or HTML
	Type   string // Content-Type with Status; "": text/plain

	RetryAfter time.Duration // with Status, in whole seconds; 0: no Retry-After
	RetryDate  bool          // Retry-After is a date, by the clock of the ABM

	// Done makes the change that was asked for, before this answer or the break. Without it a Status or Cut leaves all as it was,
	// and the call is not looked at.
	Done bool
	Cut  bool // break the connection in place of an answer. (net/http repeats a GET on its own after that.)
	Half bool // break the connection in the middle of the true answer; the change is made

	// Stall sends the first half of the true answer, and then nothing until the client gives up; the change is made.
	Stall bool

	Delay time.Duration // answer later, or never if the client gives up. What was asked for is done at once, if at all
	Size  int64         // so many bytes of spaces follow the answer
}

// ABMFaults are faults by a rule.
type ABMFaults struct {
	Faults []ABMFault // one of them is taken each time, by chance
	Rate   float64    // the part of the calls that it meets, from 0 to 1; 0: each
	After  int        // calls that go well first
	Times  int        // that it happens; 0: without end
	Calls  []string   // that it is for, as "POST /devices/sync"; empty: all
}

type abmQueued struct {
	call  string
	fault ABMFault
}

// Inject makes calls fail by a rule from now on, in place of the rule before. The zero ABMFaults ends it. What is by chance is so by
// ABMConfig.Seed: the same calls in the same order fail alike.
func (a *ABM) Inject(f ABMFaults) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.Faults, f.Calls = slices.Clone(f.Faults), slices.Clone(f.Calls)
	a.faults, a.faulty, a.struck = f, 0, 0
}

// Queue appends faults for the next calls of a name, as "POST /devices/sync", one each; "" is for any. They come before what
// [ABM.Inject] has.
func (a *ABM) Queue(call string, faults ...ABMFault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range faults {
		a.queue = append(a.queue, abmQueued{call, f})
	}
}

// ABMTroubles returns one fault of each kind, for a mix by chance: calls that come too fast or when Apple is down, by seconds and by
// date, HTML, empty and slow answers, and connections that break before the change was made, after it, and in the middle of the answer.
func ABMTroubles() []ABMFault {
	const html = "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>An error has occurred</h1></body></html>"
	return []ABMFault{
		{Status: http.StatusTooManyRequests, RetryAfter: time.Second},
		{Status: http.StatusServiceUnavailable, RetryAfter: time.Second, RetryDate: true},
		{Status: http.StatusServiceUnavailable, Body: "Service Unavailable"},
		{Status: http.StatusInternalServerError, Body: html, Type: "text/html"},
		{Status: http.StatusInternalServerError, Body: html, Type: "text/html", Done: true},
		{Status: http.StatusBadGateway},
		{Delay: 20 * time.Millisecond},
		{Cut: true},
		{Cut: true, Done: true},
		{Half: true},
	}
}

// OnCall makes the ABM call f for each call, as "POST /devices/sync", before it is looked at, with how many of that name there were. f may
// call the methods of the ABM, as to add devices while they are fetched. nil stops that.
func (a *ABM) OnCall(f func(call string, n int)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onCall = f
}

// strike counts a call, tells of it and decides how it goes wrong.
func (a *ABM) strike(call string) ABMFault {
	a.mu.Lock()
	a.totals.Calls[call]++
	n, hook := a.totals.Calls[call], a.onCall
	fault, met := a.struckBy(call)
	if met {
		a.totals.Faults++
		if fault.Cut || fault.Half || fault.Stall {
			a.totals.Cut++
		}
	}
	a.mu.Unlock()
	if hook != nil {
		hook(call, n)
	}
	return fault
}

func (a *ABM) struckBy(call string) (ABMFault, bool) {
	for i, q := range a.queue {
		if q.call == "" || q.call == call {
			a.queue = slices.Delete(a.queue, i, i+1)
			return q.fault, q.fault != ABMFault{}
		}
	}
	f := &a.faults
	if len(f.Faults) == 0 || len(f.Calls) > 0 && !slices.Contains(f.Calls, call) {
		return ABMFault{}, false
	}
	a.faulty++
	if a.faulty <= f.After || f.Times > 0 && a.struck >= f.Times || f.Rate > 0 && a.dice.Float64() >= f.Rate {
		return ABMFault{}, false
	}
	a.struck++
	return f.Faults[a.dice.IntN(len(f.Faults))], true
}

// unseen reports whether the call is not looked at.
func (f *ABMFault) unseen() bool { return !f.Done && !f.Half && !f.Stall && (f.Cut || f.Status != 0) }

// over writes the fault over the true answer.
func (f *ABMFault) over(reply abmReply, now time.Time) abmReply {
	if f.Status != 0 {
		kind := f.Type
		if kind == "" {
			kind = "text/plain;charset=UTF-8"
		}
		reply = abmReply{status: f.Status, body: []byte(f.Body), kind: kind}
		if f.RetryAfter > 0 {
			reply.retry = strconv.Itoa(int(f.RetryAfter / time.Second))
			if f.RetryDate {
				reply.retry = now.Add(f.RetryAfter).UTC().Format(http.TimeFormat)
			}
		}
	}
	return reply
}
