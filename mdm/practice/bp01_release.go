package practice

import (
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// setupRelease lets who waits in Setup Assistant go on, in the state of a run: a device by DeviceConfigured, a user of Shared iPad
// by UserConfigured. Acknowledged may mean that the command was only accepted, so a device is asked afterwards whether it
// still waits, and told again if it does. Its word counts, and that of its TokenUpdates.
type setupRelease struct {
	Go    installErrand `json:",omitzero"`
	Ask   installErrand `json:",omitzero"` // whether it still waits
	Sends int           `json:",omitempty"`
	Acks  int           `json:",omitempty"`
	Done  bool          `json:",omitempty"`
	Why   string        `json:",omitempty"` // it is not known to have worked
}

const (
	releaseGo  = "release"
	releaseAsk = "still waiting"
)

// releaseRetry is how the release is repeated.
var releaseRetry = workflow.Retry{First: time.Minute, Most: time.Hour}

// Limits of what is repeated, so that it ends.
const (
	releaseSends = 50 // two days
	releaseAcks  = 5
)

func (r *setupRelease) begun() bool { return r.Sends > 0 }

// over reports that nobody waits, or that enough was tried.
func (r *setupRelease) over(t *workflow.Turn) bool {
	return r.Done || !t.Enrollment.AwaitingConfiguration
}

// take takes in the answers.
func (r *setupRelease) take(t *workflow.Turn) {
	if answer, ok := r.Go.take(t, releaseGo, releaseRetry); ok {
		switch {
		case answer.State != command.Acknowledged:
			if r.Go.Due.IsZero() { // somebody canceled it
				r.Go.Due = t.Now.Add(releaseRetry.First)
			}
		case t.Enrollment.Channel == mdm.SharedIPadChannel: // it cannot be asked
			r.Acks, r.Done = 1, true
		default:
			r.Acks++
			r.Ask.Due = t.Now
		}
	}
	answer, ok := r.Ask.take(t, releaseAsk, releaseRetry)
	if !ok {
		return
	}
	r.Ask.Due = time.Time{}
	var said command.DeviceInformationResponse
	if answer.State == command.Acknowledged {
		_ = command.DecodeResult(answer.Result, &said) // what cannot be read says nothing, and it is told again
	}
	if waits := said.QueryResponses.AwaitingConfiguration; waits != nil && !*waits {
		r.Done = true
		return
	}
	r.Go.Due = t.Now.Add(releaseRetry.First)
}

// begins begins the release anew for a user who waits once more while the run goes on, as for a profile that was refused.
func (r *setupRelease) begins(t *workflow.Turn) {
	signal := t.Signal()
	if r.Done && t.Enrollment.ID.IsUser() && t.Enrollment.AwaitingConfiguration && signal != nil && signal.Type == mdm.EventTokenUpdated {
		*r = setupRelease{}
	}
}

// serve sends what is due.
func (r *setupRelease) serve(t *workflow.Turn, a *installAgenda) {
	if !r.begun() {
		r.Go.Due = t.Now
	}
	if r.Go.due(t.Now) && (r.Sends >= releaseSends || r.Acks >= releaseAcks) {
		r.Done, r.Why = true, "; the device does not say that it has left Setup Assistant"
		return
	}
	if r.Go.due(t.Now) {
		r.Sends++
		var c command.Command = command.DeviceConfigured{}
		if t.Enrollment.Channel == mdm.SharedIPadChannel {
			c = command.UserConfigured{}
		}
		// It goes before profiles that the device does not answer, and nothing that is thought of the device stands in its way.
		a.send(&r.Go, releaseGo, command.Order{Command: c, Priority: command.Renewal, Relax: schema.AllRules})
	}
	if r.Ask.due(t.Now) {
		q := command.DeviceInformation{Queries: []command.DeviceInformationQuery{command.DeviceInformationQueryAwaitingConfiguration}}
		a.send(&r.Ask, releaseAsk, command.Order{Command: q, Priority: command.Renewal, Relax: schema.AllRules})
	}
	a.await(&r.Go, releaseGo)
	a.await(&r.Ask, releaseAsk)
}

// note says how it stands.
func (r *setupRelease) note(t *workflow.Turn) string {
	switch {
	case r.over(t):
		return ""
	case r.begun():
		return "; Setup Assistant is told to go on"
	}
	return "; it waits in Setup Assistant"
}
