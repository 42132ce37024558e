package practice

import (
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// The runs of the practices that install profiles do the same at every step: they take in what is answered, decide, and send
// what is due. What follows is what they share.

// installRetry fills in the defaults of how a command that fails is tried again.
func installRetry(r workflow.Retry) workflow.Retry {
	if r.Limit <= 0 {
		r.Limit = 10
	}
	if r.First <= 0 {
		r.First = time.Minute
	}
	if r.Most <= 0 {
		r.Most = 6 * time.Hour
	}
	return r
}

// installDoublings is how often a wait doubles at most.
const installDoublings = 20

// installErrand is a command that a run sends until it succeeds, in the state of the run.
type installErrand struct {
	Out   bool      `json:",omitempty"` // on the queue, without an answer
	Tries int       `json:",omitempty"` // that failed in a row
	Due   time.Time `json:",omitzero"`  // when it is to be sent; zero: it is not
	Why   string    `json:",omitempty"` // it failed
}

// take returns the final answer to the errand's command, once. It counts failures and says when the next try is due; what
// was withdrawn is not due again.
func (d *installErrand) take(t *workflow.Turn, name string, r workflow.Retry) (command.Entry, bool) {
	if !d.Out {
		return command.Entry{}, false
	}
	if why := t.Refused(name); why != "" {
		d.fail(why, t.Now, r)
		return command.Entry{State: command.Failed, Note: why, FinishedAt: t.Now}, true
	}
	answer, ok := t.Answer(name)
	if _, open := t.Waiting[name]; !ok && open {
		return command.Entry{}, false
	} else if !ok { // it was deleted since, as by the retention of the store: what came of it is lost
		answer = command.Entry{State: command.Expired, FinishedAt: t.Now}
	}
	switch answer.State {
	case command.Acknowledged:
		*d = installErrand{}
	case command.Canceled:
		*d = installErrand{Why: answer.Note}
	default:
		d.fail(installReason(answer), t.Now, r)
	}
	return answer, true
}

func (d *installErrand) fail(why string, now time.Time, r workflow.Retry) {
	d.Out, d.Why = false, said(why)
	d.Tries++
	d.Due = now.Add(doubled(r.First, r.Most, d.Tries, installDoublings))
}

// installReason says in words why a command did not succeed.
func installReason(e command.Entry) string {
	if e.State == command.Failed {
		if err := complaint(e); err != nil {
			return said(err.Error())
		}
	}
	return e.State.String()
}

func (d *installErrand) due(now time.Time) bool {
	return !d.Out && !d.Due.IsZero() && !now.Before(d.Due)
}

// installAgenda gathers what a step does and what it waits for, before it is known which step is next.
type installAgenda struct {
	do    []func(workflow.Next) workflow.Next
	until time.Time
}

func (a *installAgenda) send(d *installErrand, name string, o command.Order) {
	d.Out, d.Due = true, time.Time{}
	a.do = append(a.do, func(n workflow.Next) workflow.Next { return n.Send(name, o) })
}

// drop withdraws a command, if it is on the queue.
func (a *installAgenda) drop(d *installErrand, name string) {
	if d.Out {
		a.do = append(a.do, func(n workflow.Next) workflow.Next { return n.Drop(name) })
	}
	*d = installErrand{}
}

// await waits for the errand's answer, or for when it is due again.
func (a *installAgenda) await(d *installErrand, name string) {
	if d.Out {
		a.do = append(a.do, func(n workflow.Next) workflow.Next { return n.Answered(name) })
	} else {
		a.at(d.Due)
	}
}

// at waits no longer than until t. Zero is no limit.
func (a *installAgenda) at(t time.Time) {
	if !t.IsZero() && (a.until.IsZero() || t.Before(a.until)) {
		a.until = t
	}
}

// next ends a step that goes on with another. What waits for nothing looks again in a day.
func (a *installAgenda) next(t *workflow.Turn, step, note string, on ...mdm.EventType) workflow.Next {
	n := workflow.Go(step).Note(note)
	for _, do := range a.do {
		n = do(n)
	}
	if len(on) > 0 {
		n = n.On(on...)
	}
	a.at(t.Now.Add(24 * time.Hour))
	return n.At(a.until)
}

// installResumed reports that somebody resumed the run: neither an event woke it nor did its time come.
func installResumed(t *workflow.Turn, until time.Time) bool {
	return t.Signal() == nil && t.Now.Before(until)
}

// installParcel is a profile on its way to an enrollment, in the state of a run.
type installParcel struct {
	Name     string
	Stage    int           `json:",omitempty"`
	Passcode bool          `json:",omitempty"` // it holds passcode policies only
	Install  installErrand `json:",omitzero"`
	Remove   installErrand `json:",omitzero"`
	Sent     bool          `json:",omitempty"` // it may be on the device
	Here     bool          `json:",omitempty"` // its installation was acknowledged
	Off      bool          `json:",omitempty"` // it was called off
	Left     bool          `json:",omitempty"` // it is not wanted on this device any more
}

func (p *installParcel) install() string { return "install " + p.Name }
func (p *installParcel) remove() string  { return "remove " + p.Name }

// leaving reports that it is to be removed and is not yet.
func (p *installParcel) leaving() bool { return p.Remove.Out || !p.Remove.Due.IsZero() }

// take takes in the answers. The bool says that the installation has an answer now, a good or a bad one.
func (p *installParcel) take(t *workflow.Turn, r workflow.Retry) (command.Entry, bool) {
	if answer, ok := p.Remove.take(t, p.remove(), r); ok {
		p.removed(answer)
	}
	answer, ok := p.Install.take(t, p.install(), r)
	switch {
	case !ok:
	case answer.State == command.Acknowledged:
		p.Here = true
	case answer.State == command.Canceled:
		p.Off = true
	case answer.State == command.Expired: // the device did not come in time: that is no failure of the profile
		p.Install = installErrand{Due: t.Now}
	}
	return answer, ok
}

// removed takes in the answer to a removal. What was not there is removed.
func (p *installParcel) removed(answer command.Entry) {
	gone := answer.State == command.Acknowledged
	if result, err := command.ParseResult(answer.Result); answer.State == command.Failed && err == nil {
		switch command.Advise("RemoveProfile", result.Err()) {
		case command.Done:
			gone = true
		case command.GiveUp: // it is not ours to remove, and never will be
			p.Remove = installErrand{Why: p.Remove.Why}
		}
	}
	if gone {
		p.Remove, p.Sent, p.Here = installErrand{}, false, false
	}
}

// over reports that nothing more happens by itself: it is there, called off, or was tried often enough.
func (p *installParcel) over(r workflow.Retry) bool {
	return p.Here || p.Off || p.Install.Tries >= r.Limit
}

// again has it installed, now.
func (p *installParcel) again(a *installAgenda, now time.Time) {
	a.drop(&p.Remove, p.remove())
	if !p.Install.Out {
		p.Here, p.Off, p.Install = false, false, installErrand{Due: now}
	}
}

// withdraw takes it away: what is on the queue is dropped, and what may be on the device removed, unless that is kept.
func (p *installParcel) withdraw(a *installAgenda, now time.Time, keep bool) {
	a.drop(&p.Install, p.install())
	if keep {
		return
	}
	p.Here = false
	if p.Sent && !p.Remove.Out && p.Remove.Due.IsZero() {
		p.Remove.Due = now
	}
}

// serve sends what is due: the installation by this cook, or the removal.
func (p *installParcel) serve(a *installAgenda, now time.Time, cook string, notAfter time.Time, r workflow.Retry) {
	if p.Remove.due(now) { // without a limit: what a device must not have any more is not left there
		a.send(&p.Remove, p.remove(), command.Order{Command: command.RemoveProfile{Identifier: p.Name}, Priority: command.Profiles})
	}
	if p.Install.due(now) && !p.over(r) {
		traits := command.Traits(0)
		if p.Passcode {
			traits = command.PasscodeOnly
		}
		p.Sent = true
		a.send(&p.Install, p.install(), command.Order{Command: InstallRecipe(cook, p.Name, traits), Priority: command.Profiles, NotAfter: notAfter})
	}
}

// await waits for what is under way, and for what is due.
func (p *installParcel) await(a *installAgenda, r workflow.Retry) {
	a.await(&p.Remove, p.remove())
	if p.Install.Out || !p.over(r) {
		a.await(&p.Install, p.install())
	}
}

// installParcels are profiles in the order in which they are sent.
type installParcels []installParcel

// want adds the names that are not there yet, due at once if due is set. One that is not wanted any more is called off by its
// cook, if it was not delivered yet.
func (l *installParcels) want(names []string, due time.Time) {
	for _, name := range names {
		if !slices.ContainsFunc(*l, func(p installParcel) bool { return p.Name == name }) {
			*l = append(*l, installParcel{Name: name, Install: installErrand{Due: due}})
		}
	}
}

// trouble says in words what did not work, empty if all did.
func (l installParcels) trouble() string {
	text := ""
	for _, p := range l {
		if why := p.Install.Why; why != "" && !p.Here && !p.Off {
			text += "; " + p.Name + ": " + why
		}
		if why := p.Remove.Why; why != "" {
			text += "; removing " + p.Name + ": " + why
		}
	}
	return text
}
