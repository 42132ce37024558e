package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// later lets the server's clock run ahead.
func (t *tour) later(ctx context.Context, d time.Duration) error {
	t.ahead.Add(int64(d))
	return t.mdm.Flush(ctx)
}

// until waits for something, while minutes go by on the server's clock.
func (t *tour) until(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
		if err := t.later(ctx, time.Minute); err != nil {
			return err
		}
	}
}

// gate has a network wait for the phone's passcode.
func (t *tour) gate(ctx context.Context) error {
	t.phoneHasNoPasscode.Store(true)
	run, _, err := t.mdm.Workflows().Begin(ctx, practice.PasscodeWorkflow, id(t.phone), practice.PasscodeWorkflow, nil)
	if err != nil {
		return err
	}
	installed := func(name string) bool { return slices.Contains(t.phone.Profiles(), name) }
	asked := func() int {
		n := 0
		for _, done := range t.phone.History() {
			if done.Order.RequestType == "SecurityInfo" {
				n++
			}
		}
		return n
	}
	before := asked()
	if err := t.until(ctx, func() (bool, error) { return installed(policyProfile) && asked() >= before+2, nil }); err != nil {
		return err
	}
	shut := !installed(networkProfile)
	t.phoneHasNoPasscode.Store(false)
	if err := t.until(ctx, func() (bool, error) { return installed(networkProfile), nil }); err != nil {
		return err
	}
	run, err = t.stores.Runs.Run(ctx, "", run.ID)
	t.check("passcode gate", t.phone, "shut true without a passcode, then open, watched on: true",
		fmt.Sprintf("shut %t without a passcode, then open, watched on: %t", shut, run.Status == workflow.Open))
	return err
}

// clearPasscode asks for the master key of the phone, once without and once with a good reason.
func (t *tour) clearPasscode(ctx context.Context) error {
	guard := t.practices.guard
	request := practice.ClearPasscodeRequest{Enrollment: id(t.phone), Actor: "help desk", Reason: "the owner forgot it"}
	_, refused := guard.ClearPasscode(ctx, request)
	request.PossessionVerified = true
	run, err := guard.ClearPasscode(ctx, request)
	if err != nil {
		return err
	}
	if err := t.until(ctx, func() (bool, error) {
		run, err = t.stores.Runs.Run(ctx, "", run.ID)
		return run.Status.Over(), err
	}); err != nil {
		return err
	}
	head, err := t.stores.Audit.Head(ctx, "")
	if err != nil {
		return err
	}
	_, broken := audit.Verify(t.stores.Audit.Entries(ctx, "", 0, 0), head)
	t.check("ClearPasscode", t.phone, "refused without possession, then done; audit log unbroken",
		fmt.Sprintf("%s without possession, then %s; audit log %s", word(refused != nil, "refused", "released"), run.Status, word(broken == nil, "unbroken", "broken")))
	return nil
}

func word(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}
