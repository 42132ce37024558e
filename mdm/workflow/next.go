package workflow

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Next says what comes of a step: where the workflow goes, what it sends, and what it waits for. Make one with [Go], [Finish]
// or [GiveUp]. What it says is written in one transaction with the commands.
type Next struct {
	step   string
	end    Status
	note   string
	sends  []send
	drops  []string
	waits  Waits
	due    time.Time
	moment bool // at once
}

type send struct {
	name  string
	order command.Order
}

// check says what is wrong with a step's word to r, and with its state. Of the answers the step was told.
func (n *Next) check(r *Run, state []byte, answers map[string]command.Entry) error {
	names := make(map[string]bool, len(r.Sent))
	for name := range r.Sent {
		names[name] = true
	}
	for _, s := range n.sends {
		names[s.name] = true
	}
	if len(names)-len(n.forgets(r, answers)) > maxSent {
		return fmt.Errorf("commands were sent by more than %d names, and are not over; a name may be used again", maxSent)
	}
	if len(state) > MaxState {
		return fmt.Errorf("the state has %d bytes, over the limit of %d", len(state), MaxState)
	}
	if n.end != 0 || n.moment || !n.due.IsZero() || len(n.waits.Events) > 0 {
		return nil
	}
	for _, name := range n.waits.Answers {
		if names[name] {
			return nil
		}
	}
	return fmt.Errorf("it waits for nothing that can happen: no event, no time, and no command that was sent")
}

// forgets returns the names that make room in r, if a run of years has sent by too many: those of commands that are over, as the step
// was told, and that it neither sends again nor waits for.
func (n *Next) forgets(r *Run, answers map[string]command.Entry) (names []string) {
	sends := map[string]bool{}
	for _, s := range n.sends {
		sends[s.name] = true
	}
	fresh := len(sends)
	for name := range r.Sent {
		if sends[name] {
			fresh--
		}
	}
	if len(r.Sent)+fresh <= maxSent {
		return nil
	}
	for name, sent := range r.Sent {
		over := sent.Refused != "" || answers[name].UUID == sent.UUID
		if over && !sends[name] && !slices.Contains(n.waits.Answers, name) {
			names = append(names, name)
		}
	}
	return names
}

// Go goes on with a step: at once, unless it is told to wait for something.
func Go(step string) Next { return Next{step: step, moment: true} }

// Finish ends the workflow, its purpose fulfilled.
func Finish(note string) Next { return Next{end: Done, note: note} }

// GiveUp ends the workflow without success. Commands of it that have no answer yet stay on the queue unless Drop says
// otherwise.
func GiveUp(note string) Next { return Next{end: Failed, note: note} }

// Note says where the workflow stands, for people. It must not hold secrets.
func (n Next) Note(text string) Next {
	n.note = text
	return n
}

// Send puts a command on the queue of the run's enrollment, under a name of the workflow's own, by which [Turn.Answer]
// finds the answer. A name that was used before means the newer command from then on. A run that has sent by more than 256 names
// forgets those whose answers its steps could see. Its target, its UUID and what is told
// of it (To, UUID, Each, Progress) are the engine's to fill in.
func (n Next) Send(name string, o command.Order) Next {
	n.sends = append(n.sends[:len(n.sends):len(n.sends)], send{name, o})
	return n
}

// Drop withdraws a command that was sent before, if it has no answer yet.
func (n Next) Drop(name string) Next {
	n.drops = append(n.drops[:len(n.drops):len(n.drops)], name)
	return n
}

// Answered waits until one of these commands has a final state: an answer of the device, or its withdrawal, or its end. One that
// the step saw in [Turn.Answers] already does not end the wait, unless there is nothing else to wait for.
func (n Next) Answered(names ...string) Next {
	n.waits.Answers = append(n.waits.Answers[:len(n.waits.Answers):len(n.waits.Answers)], names...)
	n.moment = false
	return n
}

// On waits for an event of the run's enrollment. The workflow must have listed it in [Workflow.Listens]. What came since the
// step was due counts, too, so an event may be of a moment that the step has seen already.
func (n Next) On(events ...mdm.EventType) Next {
	n.waits.Events = append(n.waits.Events[:len(n.waits.Events):len(n.waits.Events)], events...)
	n.moment = false
	return n
}

// At waits no longer than until t.
func (n Next) At(t time.Time) Next {
	if n.due.IsZero() || t.Before(n.due) {
		n.due = t
	}
	n.moment = false
	return n
}
