package ddm

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Commands takes orders. A command.Store is one.
type Commands interface {
	Enqueue(ctx context.Context, o command.Order) (command.Receipt, error)
}

// Groups is a [Backend] whose declarations are groups in a [Store]. Any number of processes may have one on the same store.
//
//	groups := &ddm.Groups{Store: stores.Declarations, Commands: stores.Command}
//	config.Checkin.Declarative = &ddm.Responder{Backend: groups}
//
// It does what a practice.Declarer does.
type Groups struct {
	Store    Store    // required
	Commands Commands // required: takes the commands by which devices are told to synchronize
	// Reported is told what devices report; see [Backend]. Nil: nobody is.
	Reported func(ctx context.Context, id mdm.EnrollmentID, r StatusReport) error
}

// Declare has a group take the place of the one of that name, and tells the device to synchronize. It is refused, and nothing is
// changed, with a *[SetError] if the sum of the groups would not pass [Check]; otherwise as [Store] says. It is safe to repeat, and
// must be after an error: the device may not have been told then. Two who declare at once are not checked against each other; if
// what they have together cannot be published, devices keep what they have and the [Responder] says so.
func (g *Groups) Declare(ctx context.Context, id mdm.EnrollmentID, group Group) error {
	groups, err := g.Store.DeclarationGroups(ctx, id)
	if err != nil {
		return err
	}
	if err := Check(summed(groups, group)); err != nil {
		return err
	}
	if err := g.Store.PutDeclarations(ctx, id, group); err != nil {
		return err
	}
	return g.Sync(ctx, id)
}

// Withdraw takes a group back, and tells the device to synchronize. What is not there is withdrawn, too, and so is what a generation
// had that is over, if one is given (0: whichever it is). It is refused with a *[SetError] if another group names what is in it.
func (g *Groups) Withdraw(ctx context.Context, id mdm.EnrollmentID, generation mdm.Generation, name string) error {
	groups, err := g.Store.DeclarationGroups(ctx, id)
	if err != nil {
		return err
	}
	if generation != 0 && len(groups) > 0 && groups[0].Generation != generation {
		return nil
	}
	// What cannot be published as it is gets no worse.
	if err := Check(summed(groups, Group{Name: name})); err != nil && Check(summed(groups, Group{})) == nil {
		return err
	}
	if err := g.Store.DeleteDeclarations(ctx, id, generation, name); err != nil {
		return err
	}
	if err := g.Sync(ctx, id); err != nil && mdm.CodeOf(err) != mdm.Forbidden {
		return err
	}
	return nil // a device that cannot be told has nothing that it would have to drop
}

// Sync tells a device to synchronize. The command brings no tokens: of two who change something at once the last to tell need not be
// the last to have changed, so the device asks what there is.
func (g *Groups) Sync(ctx context.Context, id mdm.EnrollmentID) error {
	receipt, err := g.Commands.Enqueue(ctx, SyncOrder(nil, time.Time{}, id))
	if err == nil && len(receipt.Refused) > 0 {
		err = &mdm.Error{Code: mdm.Forbidden, Op: "ddm.Sync", Enrollment: id, Err: receipt.Refused[0].Err}
	}
	return err
}

// Declarations implements [Backend].
func (g *Groups) Declarations(ctx context.Context, id mdm.EnrollmentID) ([]Declaration, error) {
	groups, err := g.Store.DeclarationGroups(ctx, id)
	if err != nil {
		return nil, err
	}
	return summed(groups, Group{}), nil
}

// Status implements [Backend].
func (g *Groups) Status(ctx context.Context, id mdm.EnrollmentID, r StatusReport) error {
	if g.Reported == nil {
		return nil
	}
	return g.Reported(ctx, id, r)
}

// summed is the sum of groups, with one in place of that of its name.
func summed(groups []Group, instead Group) (out []Declaration) {
	for _, g := range groups {
		if g.Name != instead.Name {
			out = append(out, g.Declarations...)
		}
	}
	return append(out, instead.Declarations...)
}
