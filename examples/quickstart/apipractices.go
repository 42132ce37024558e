package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// runView is a workflow on a device as the console shows it.
type runView struct {
	ID       string    `json:"id"`
	Workflow string    `json:"workflow"`
	Status   string    `json:"status"`
	Step     string    `json:"step"`
	Note     string    `json:"note"`
	Moved    time.Time `json:"moved"`
}

// listRuns tells what runs by itself on a device, and what has.
func (a *app) listRuns(ctx context.Context, r *http.Request) (any, error) {
	id, err := mdm.ParseEnrollmentID(r.URL.Query().Get("device"))
	if err != nil {
		return nil, err
	}
	runs := []runView{}
	for r, err := range a.stores.Runs.Runs(ctx, workflow.Query{Tenant: id.Tenant, Enrollment: id, Limit: 100}) {
		if err != nil {
			return nil, err
		}
		runs = append(runs, runView{ID: r.ID, Workflow: r.Workflow, Status: r.Status.String(), Step: r.Step, Note: r.Note, Moved: r.MovedAt})
	}
	return runs, nil
}

// waits reports whether a device is held in Setup Assistant. What it said when it enrolled stands until it says otherwise, so it is
// whether somebody still is about to let it go on that counts.
func (a *app) waits(ctx context.Context, e *mdm.Enrollment) (bool, error) {
	if !e.AwaitingConfiguration {
		return false, nil
	}
	open := workflow.Query{Tenant: e.ID.Tenant, Workflow: practice.SetupWorkflow, Enrollment: e.ID, Status: []workflow.Status{workflow.Open}, Limit: 1}
	for _, err := range a.stores.Runs.Runs(ctx, open) {
		return err == nil, err
	}
	return false, nil
}

// beginGate has a network wait for a passcode.
func (a *app) beginGate(ctx context.Context, r *http.Request) (any, error) {
	var req struct{ Device mdm.EnrollmentID }
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	begun, _, err := a.mdm.Workflows().Begin(ctx, practice.PasscodeWorkflow, req.Device, practice.PasscodeWorkflow, nil)
	return map[string]string{"run": begun.ID}, said(err)
}

// clearPasscode asks the guard. Whoever has the token of the console is the actor; a product knows its people by name.
func (a *app) clearPasscode(ctx context.Context, r *http.Request) (any, error) {
	var req struct {
		Device     mdm.EnrollmentID
		Reason     string
		Possession bool
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	begun, err := a.practices.guard.ClearPasscode(ctx, practice.ClearPasscodeRequest{
		Enrollment: req.Device, Actor: "console", Reason: req.Reason, PossessionVerified: req.Possession})
	return map[string]string{"run": begun.ID}, said(err)
}

// audited is an entry of the audit log as the console shows it.
type audited struct {
	Number int64     `json:"number"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Reason string    `json:"reason"`
	Device string    `json:"device"`
}

// listAudit returns the last entries of the audit log, the newest first.
func (a *app) listAudit(ctx context.Context, _ *http.Request) (any, error) {
	head, err := a.stores.Audit.Head(ctx, "")
	if err != nil {
		return nil, err
	}
	list := []audited{}
	for e, err := range a.stores.Audit.Entries(ctx, "", max(0, head.Number-50), 50) {
		if err != nil {
			return nil, err
		}
		list = append([]audited{{Number: e.Number, At: e.At, Actor: e.Actor, Action: e.Action, Reason: e.Reason, Device: e.Enrollment.Device}}, list...)
	}
	return list, nil
}

// said turns a refusal into one that the console shows.
func said(err error) error {
	if err != nil && mdm.CodeOf(err) == mdm.Forbidden {
		return mdm.Errorf(mdm.Malformed, "quickstart", "%w", err)
	}
	return err
}
