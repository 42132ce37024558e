package practice

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Setup configures what has enrolled (Apple, "MDM Best Practices": the first profile holds only the basics). With the first
// TokenUpdate, never after Authenticate alone, it sends the profiles that a device begins with, stage by stage, and if the
// device waits in Setup Assistant, it lets it go on: when everything is there, or when Hold is over, whatever did not work.
//
// A device that enrolls again begins again; a renewal begins nothing. The users of Shared iPad that wait are let go on
// in the same way.
type Setup struct {
	Roster   workflow.Roster // required
	Profiles ProfileSource   // required if Stages is set
	// Stages returns the profiles for an enrollment; nil: none. It is asked again when a device asks for a profile: what it
	// does not return any more is called off.
	Stages func(ctx context.Context, e *mdm.Enrollment) (SetupStages, error)
	// Ready, if not nil, keeps a device in Setup Assistant for more than the profiles, as an account or apps that you send, until
	// it is true or Hold is over. It is asked every 15 seconds.
	Ready func(ctx context.Context, e *mdm.Enrollment) (bool, error)
	// Users begins a run also for the users of Macs, and for users of Shared iPad that do not wait.
	Users bool

	StageWait time.Duration // how long a stage waits for the answers of the one before; 0: 1 h
	Hold      time.Duration // how long a device is kept in Setup Assistant at most; 0: 10 min
	// Again says how what a device refuses is sent again; the zero value is after 1 minute, doubling up to 6 hours, 10 times.
	// Its release is repeated after a minute, doubling up to an hour.
	Again workflow.Retry
}

// SetupStages are the PayloadIdentifiers of profiles, in the order in which they are sent. A stage begins when the commands of
// the one before have an answer, whatever it is.
type SetupStages struct {
	Trust []string // certificates and identities, which others rely on
	// Passcode are profiles with passcode policies and nothing else. They go with the restrictions, and a Mac that sets up
	// a user takes these alone.
	Passcode     []string
	Restrictions []string
	Capabilities []string // accounts, networks, what the user gets
}

func (s SetupStages) all() [][]string {
	return [][]string{s.Trust, slices.Concat(s.Passcode, s.Restrictions), s.Capabilities}
}

// SetupWorkflow is the name of the workflow of [Setup], and the key of its runs.
const SetupWorkflow = "setup"

const setupCook = "setup.install"

// setupSteps are the steps of the workflow: one for each stage, and what is left after them.
var setupSteps = [...]string{"trust", "restrictions", "capabilities", "rest"}

type setupState struct {
	OnlyRelease bool           `json:",omitempty"` // of a user who waits once more
	Listed      bool           `json:",omitempty"` // Stages was asked
	Stage       int            `json:",omitempty"`
	StageAt     time.Time      `json:",omitzero"`
	Profiles    installParcels `json:",omitempty"`
	Release     setupRelease   `json:",omitzero"`
	Why         string         `json:",omitempty"` // a hook did not work
}

// Workflows returns what belongs into server.Config.Workflows.
func (p *Setup) Workflows() []workflow.Any {
	steps := map[string]func(context.Context, *workflow.Turn, *setupState) (workflow.Next, error){}
	for _, name := range setupSteps {
		steps[name] = p.step
	}
	return []workflow.Any{&workflow.Workflow[setupState]{Name: SetupWorkflow, Version: 1, First: setupSteps[0], Steps: steps, Start: p.start,
		Listens: append(installArrivals(), mdm.EventTokenUpdated)}}
}

// Cooks returns what belongs into server.Config.Cooks.
func (p *Setup) Cooks() map[string]command.Cook {
	return map[string]command.Cook{setupCook: InstallCook(p.Roster, p.Profiles, func(ctx context.Context, e *mdm.Enrollment, name string) error {
		stages, err := p.stages(ctx, e)
		return installListed(slices.Concat(stages.all()...), err, name)
	})}
}

func (p *Setup) stages(ctx context.Context, e *mdm.Enrollment) (SetupStages, error) {
	if p.Stages == nil {
		return SetupStages{}, nil
	}
	return p.Stages(ctx, e)
}

func (p *Setup) start(ctx context.Context, event mdm.Event) (s setupState, key string, ok bool, err error) {
	if !event.Enrollment.IsUser() {
		return s, SetupWorkflow, slices.Contains(installArrivals(), event.Type), nil
	}
	e, err := p.Roster.Enrollment(ctx, event.Enrollment)
	if err != nil {
		if mdm.CodeOf(err) == mdm.NotFound {
			err = nil
		}
		return s, "", false, err
	}
	if s.OnlyRelease = event.Type == mdm.EventTokenUpdated; s.OnlyRelease {
		return s, SetupWorkflow, e.AwaitingConfiguration, nil
	}
	return s, SetupWorkflow, e.AwaitingConfiguration || p.Users, nil
}

func (p *Setup) step(ctx context.Context, t *workflow.Turn, s *setupState) (workflow.Next, error) {
	again, a := installRetry(p.Again), &installAgenda{}
	p.list(ctx, t, s, a)
	for i := range s.Profiles {
		s.Profiles[i].take(t, again)
	}
	p.advance(t, s, a)
	for i := range s.Profiles {
		if r := &s.Profiles[i]; r.Stage <= s.Stage {
			r.serve(a, t.Now, setupCook, time.Time{}, again)
			r.await(a, again)
		}
	}
	s.Release.take(t)
	s.Release.begins(t)
	if p.mayGo(ctx, t, s, a) {
		s.Release.serve(t, a)
	}
	if s.Listed && s.Stage == setupRest && s.Release.over(t) && !slices.ContainsFunc(s.Profiles, func(r installParcel) bool { return !r.over(again) || r.Install.Out }) {
		return s.finish(), nil
	}
	return a.next(t, setupSteps[s.Stage], s.note(t), mdm.EventTokenUpdated), nil
}

// setupRest is the stage after the last.
const setupRest = len(setupSteps) - 1

// list asks which profiles there are. A hook that does not work must not keep a device in Setup Assistant.
func (p *Setup) list(ctx context.Context, t *workflow.Turn, s *setupState, a *installAgenda) {
	if s.Listed {
		return
	}
	if s.OnlyRelease {
		s.Listed, s.Stage = true, setupRest
		return
	}
	stages, err := setupGuard(func() (SetupStages, error) { return p.stages(ctx, t.Enrollment) })
	if err != nil {
		s.Why = "; the stages are not known: " + said(err.Error())
		a.at(t.Now.Add(time.Minute))
		return
	}
	s.Listed, s.StageAt, s.Why = true, t.Now, ""
	for stage, names := range stages.all() {
		for _, name := range names {
			s.Profiles.want([]string{name}, t.Now)
			if last := &s.Profiles[len(s.Profiles)-1]; last.Name == name {
				last.Stage, last.Passcode = stage, slices.Contains(stages.Passcode, name)
			}
		}
	}
}

// setupGuard calls a hook. Its panic is an error.
func setupGuard[T any](hook func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	return hook()
}

// advance goes to the next stage when each profile of this one had an answer, or has had time enough.
func (p *Setup) advance(t *workflow.Turn, s *setupState, a *installAgenda) {
	wait := p.StageWait
	if wait <= 0 {
		wait = time.Hour
	}
	for s.Listed && s.Stage < setupRest {
		open := slices.ContainsFunc(s.Profiles, func(r installParcel) bool {
			return r.Stage == s.Stage && !r.Here && !r.Off && r.Install.Tries == 0
		})
		if open && t.Now.Before(s.StageAt.Add(wait)) {
			a.at(s.StageAt.Add(wait))
			return
		}
		s.Stage++
		s.StageAt = t.Now
	}
}

// mayGo reports whether who waits in Setup Assistant may go on.
func (p *Setup) mayGo(ctx context.Context, t *workflow.Turn, s *setupState, a *installAgenda) bool {
	if s.Release.over(t) {
		return false
	}
	hold := p.Hold
	if hold <= 0 {
		hold = 10 * time.Minute
	}
	end := t.Run.BegunAt.Add(hold)
	if s.Release.begun() || !t.Now.Before(end) {
		return true
	}
	a.at(end)
	if !s.Listed || s.Stage < setupRest {
		return false
	}
	if p.Ready == nil || s.OnlyRelease {
		return true
	}
	ready, err := setupGuard(func() (bool, error) { return p.Ready(ctx, t.Enrollment) })
	if s.Why = ""; err != nil {
		s.Why = "; it is not known whether all is ready: " + said(err.Error())
	}
	if !ready || err != nil {
		a.at(t.Now.Add(15 * time.Second))
		return false
	}
	return true
}

func (s *setupState) note(t *workflow.Turn) string {
	here := 0
	for _, r := range s.Profiles {
		if r.Here {
			here++
		}
	}
	return fmt.Sprintf("%d of %d profiles are installed%s%s%s", here, len(s.Profiles), s.Release.note(t), s.Profiles.trouble(), s.Why)
}

// finish ends the run. Who does not wait any more is not told to go on any more.
func (s *setupState) finish() workflow.Next {
	next := workflow.Finish("all is done")
	if why := s.Release.Why + s.Profiles.trouble(); why != "" {
		next = workflow.GiveUp("not all could be done" + why)
	}
	return next.Drop(releaseGo).Drop(releaseAsk)
}
