package practice

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// GateChanged is told when a gate opens and when it is shut again, or that it stays shut after the grace is over; why is in
// words. It is called before that is written, perhaps more than once for one change. An error has it told again: a gate does not
// open before, and is shut in any case.
type GateChanged func(ctx context.Context, e *mdm.Enrollment, open bool, why string) error

// passcodeGate is what profiles wait at, in the state of a run.
type passcodeGate struct {
	Open  bool           `json:",omitempty"`
	Told  string         `json:",omitempty"` // what was told last: gateOpen or gateShut
	Owes  string         `json:",omitempty"` // why it was shut, which could not be told yet
	Proof time.Time      `json:",omitzero"`  // when the device last said that it may be open
	Goods installParcels `json:",omitempty"`
}

// gateTellAgain is how long after an error of a GateChanged it is told again that the gate was shut.
const gateTellAgain = 5 * time.Minute

// gateRetry is how a step is tried again whose hooks do not work. A gate that is set aside stays open for ever, so that must not
// happen because a database of yours is away for a day.
var gateRetry = workflow.Retry{Limit: 1000}

const (
	passcodeGateOpen = "open"
	passcodeGateShut = "shut"
)

// take takes in which profiles wait, and the answers of those that passed. What does not wait any more is withdrawn as when the gate
// shuts: taken from the device, unless it is kept.
func (g *passcodeGate) take(t *workflow.Turn, a *installAgenda, names []string, r workflow.Retry, keep bool) {
	due := time.Time{}
	if g.Open {
		due = t.Now
	}
	g.Goods.want(names, due)
	for i := range g.Goods {
		p := &g.Goods[i]
		p.take(t, r)
		switch wanted := slices.Contains(names, p.Name); {
		case !wanted && !p.Left:
			p.Left = true
			p.withdraw(a, t.Now, keep)
		case wanted && p.Left:
			p.Left = false
			if g.Open && !p.Here { // else it was kept
				p.again(a, t.Now)
			}
		}
	}
	g.Goods = slices.DeleteFunc(g.Goods, func(p installParcel) bool { return p.Left && !p.Sent && !p.Install.Out && !p.leaving() })
}

// open lets everything through, once.
func (g *passcodeGate) open(ctx context.Context, t *workflow.Turn, a *installAgenda, changed GateChanged) error {
	if g.Open {
		return nil
	}
	g.Open, g.Owes = true, ""
	for i := range g.Goods {
		if p := &g.Goods[i]; !p.Here && !p.Left { // else it was kept
			p.again(a, t.Now)
		}
	}
	return g.tell(ctx, t, changed, passcodeGateOpen, "what it waits for is so")
}

// shut takes back what is on its way, and, unless it is kept, what passed.
func (g *passcodeGate) shut(ctx context.Context, t *workflow.Turn, a *installAgenda, changed GateChanged, keep bool, why string) {
	if g.Open {
		for i := len(g.Goods) - 1; i >= 0; i-- {
			g.Goods[i].withdraw(a, t.Now, keep)
		}
	}
	g.Open = false
	g.Owes = why
	g.settle(ctx, t, a, changed)
}

// settle tells that the gate was shut. What a hook does not take in time must not keep the profiles on the device.
func (g *passcodeGate) settle(ctx context.Context, t *workflow.Turn, a *installAgenda, changed GateChanged) {
	if g.Owes == "" {
		return
	}
	if err := g.tell(ctx, t, changed, passcodeGateShut, g.Owes); err != nil {
		a.at(t.Now.Add(gateTellAgain))
		return
	}
	g.Owes = ""
}

func (g *passcodeGate) tell(ctx context.Context, t *workflow.Turn, changed GateChanged, what, why string) error {
	if g.Told == what {
		return nil
	}
	if changed != nil {
		if _, err := setupGuard(func() (struct{}, error) {
			return struct{}{}, changed(ctx, t.Enrollment, what == passcodeGateOpen, why)
		}); err != nil {
			return err
		}
	}
	g.Told = what
	return nil
}

// cleared reports that nothing is left to be removed or told.
func (g *passcodeGate) cleared() bool {
	return g.Owes == "" && !slices.ContainsFunc(g.Goods, func(p installParcel) bool { return p.leaving() })
}

// serve sends what is due. What goes through must arrive before the proof is older than fresh. It reports that something
// waits for a newer proof.
func (g *passcodeGate) serve(t *workflow.Turn, a *installAgenda, cook string, fresh time.Duration, r workflow.Retry) (stale bool) {
	until := g.Proof.Add(fresh)
	for i := range g.Goods {
		p := &g.Goods[i]
		if !g.Open { // removed in reverse
			p = &g.Goods[len(g.Goods)-1-i]
		}
		if g.Open && !t.Now.Before(until) && p.Install.due(t.Now) && !p.over(r) {
			stale = true
			continue
		}
		p.serve(a, t.Now, cook, until, r)
		p.await(a, r)
	}
	return stale
}
