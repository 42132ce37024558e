package practice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// machineSteps are the steps of a workflow with state S.
type machineSteps[S any] = map[string]func(context.Context, *workflow.Turn, *S) (workflow.Next, error)

// machineAsked checks that it is known who wants something and why.
func machineAsked(op, actor, reason string) error {
	switch {
	case strings.TrimSpace(actor) == "" || strings.TrimSpace(reason) == "":
		return mdm.Errorf(mdm.Malformed, op, "who asks for it, and why, must be said")
	case len(actor)+len(reason) > workflow.MaxWord:
		return mdm.Errorf(mdm.Malformed, op, "actor and reason are too long")
	}
	return nil
}

// machineUnasked is the end of a run that was begun without an order, past the practice: with no actor, reason or check.
func machineUnasked(actor, reason string) (workflow.Next, bool) {
	if err := machineAsked("", actor, reason); err != nil {
		return workflow.GiveUp("nobody said who asks for it, and why"), true
	}
	return workflow.Next{}, false
}

// machineBegin looks an enrollment up, lets check object, and begins a run of which it can have one.
func machineBegin(ctx context.Context, e *workflow.Engine, roster workflow.Roster, name string, id mdm.EnrollmentID, state any,
	check func(*mdm.Enrollment) error) (workflow.Run, error) {
	op := "practice." + name
	if e == nil || roster == nil {
		return workflow.Run{}, mdm.Errorf(mdm.Internal, op, "the engine and Roster are required")
	}
	if id.IsUser() {
		return workflow.Run{}, mdm.Errorf(mdm.Forbidden, op, "it is for devices, not for their users")
	}
	enrollment, err := roster.Enrollment(ctx, id)
	if err != nil {
		return workflow.Run{}, err
	}
	if enrollment.State != mdm.Enrolled {
		return workflow.Run{}, mdm.Errorf(mdm.Forbidden, op, "the enrollment is %s", enrollment.State)
	}
	if err := check(enrollment); err != nil {
		return workflow.Run{}, mdm.Errorf(mdm.Forbidden, op, "%w", err)
	}
	r, fresh, err := e.Begin(ctx, name, id, name, state)
	if err == nil && !fresh {
		return r, mdm.Errorf(mdm.Forbidden, op, "it is under way already, as the run %s", r.ID)
	}
	return r, err
}

// MachineRuns finds a run. A workflow.Store is one.
type MachineRuns interface {
	Run(ctx context.Context, tenant, id string) (workflow.Run, error)
}

// machineOpen is asked by cooks: it is command.ErrCalledOff if the run of a command is over, as when an operator canceled it while
// the command waited. With no runs to look in, nothing is made.
func machineOpen(ctx context.Context, runs MachineRuns, name string, id mdm.EnrollmentID, run string) error {
	if runs == nil {
		return fmt.Errorf("practice: %s needs Runs", name)
	}
	r, err := runs.Run(ctx, id.Tenant, run)
	switch {
	case err != nil && mdm.CodeOf(err) != mdm.NotFound:
		return err
	case err != nil || r.Workflow != name || r.Enrollment != id || r.Status.Over() || r.Canceling:
		return command.ErrCalledOff
	}
	return nil
}

// machineCooked is the beginning of a cook: it returns the enrollment, or command.ErrCalledOff if the run is over or the enrollment
// is not managed any more.
func machineCooked(ctx context.Context, runs MachineRuns, roster workflow.Roster, name string, id mdm.EnrollmentID, run string) (*mdm.Enrollment, error) {
	if err := machineOpen(ctx, runs, name, id, run); err != nil {
		return nil, err
	}
	e, err := roster.Enrollment(ctx, id)
	if err == nil && e.State != mdm.Enrolled {
		err = command.ErrCalledOff
	}
	return e, err
}

// machineResult is how a command of a run ended.
type machineResult struct {
	Entry command.Entry
	Err   error // nil: Acknowledged
}

// machineAnswer returns how a command ended; false if it has not yet, or was not sent.
func machineAnswer(t *workflow.Turn, name string) (machineResult, bool) {
	if why := t.Refused(name); why != "" {
		return machineResult{Err: fmt.Errorf("the queue does not take it: %s", why)}, true
	}
	entry, ok := t.Answer(name)
	if !ok {
		return machineResult{}, false
	}
	out := machineResult{Entry: entry}
	switch entry.State {
	case command.Acknowledged:
	case command.Failed, command.FormatError:
		if out.Err = complaint(entry); out.Err == nil {
			out.Err = errors.New("the device answered " + entry.State.String())
		}
	default:
		out.Err = errors.New("the command is " + entry.State.String())
	}
	return out, true
}

// machineSupports returns what Apple's schema has against a command for a device; nil if nothing that is known.
func machineSupports(c command.Command, e *mdm.Enrollment) error {
	return command.Validate(c, schema.TargetOf(e, e)).Err()
}

// machineInfo asks for some of DeviceInformation.
func machineInfo(queries ...command.DeviceInformationQuery) command.Order {
	return command.Order{Command: command.DeviceInformation{Queries: queries}}
}

// machineSaid reads the answer to machineInfo; nil if it cannot be read.
func machineSaid(r machineResult) *command.DeviceInformationQueryResponses {
	if r.Err != nil {
		return nil
	}
	response, err := command.DecodeResponse("DeviceInformation", r.Entry.Result)
	if info, ok := response.(*command.DeviceInformationResponse); ok && err == nil {
		return &info.QueryResponses
	}
	return nil
}

// machineDoublings is how often a wait doubles at most.
const machineDoublings = 16

func machineText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func machineIsMac(e *mdm.Enrollment) bool { return schema.PlatformOf(&e.Device) == schema.MacOS }

func machineStamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
