package practice

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// The newer way of [Update]: the declaration is there until the version is, and the device says how far it is.

// later looks again after a while, and once at the deadline, or when the device reports something.
func (u *Update) later(t *workflow.Turn, s *updateState) workflow.Next {
	note := "declared, due by " + s.Order.due() + "; it reports " + s.Reports
	if s.Invalid != "" {
		note += "; " + s.Invalid
	}
	next := workflow.Go("ask").On(EventReported, mdm.EventRestored).At(s.Asked.Add(waitOr(u.Check, 6*time.Hour))).Note(note)
	if s.Asked.Before(s.Order.Deadline) {
		next = next.At(s.Order.Deadline)
	}
	return next
}

// heard takes in a report. The device is asked for its version when that is due, whatever it reports meanwhile.
func (u *Update) heard(t *workflow.Turn, s *updateState, word declaredWord) workflow.Next {
	if word.Version != "" {
		s.Reports = updateWord(word.Version)
	}
	stands, said := word.Stands[UpdateDeclaration]
	said = said && stands.Token == s.Order.Declarations()[0].ServerToken // else it is of an order before
	if said {
		s.Invalid = stands.trouble()
	}
	switch {
	case s.Order.reached(word.Version, word.Build):
		s.Reached = true
		return u.end(s)
	case said && stands.unsupported():
		s.Commands = true
		return workflow.Go("withdraw")
	}
	next := u.later(t, s)
	if word.Install != "" && word.Install != "none" {
		next = next.Note("declared, due by " + s.Order.due() + "; it reports " + s.Reports + ", and its update is " + word.Install)
	}
	return next
}

// end is when the version is reached. The declaration has done its work.
func (u *Update) end(s *updateState) workflow.Next {
	if s.Declared {
		return workflow.Go("withdraw")
	}
	return workflow.Finish("it reports " + s.Reports)
}

// canceled takes the declaration back when an operator does not want the update any more. Whether it was declared the run may not have
// come to write.
func (u *Update) canceled(ctx context.Context, t *workflow.Turn, s *updateState) (workflow.Next, error) {
	if u.Declarer != nil && (s.Declared || !s.Commands && updateDeclares(s.Order.Declarations()[0], t.Enrollment)) {
		if err := u.Declarer.Withdraw(ctx, t.Run.Enrollment, t.Run.Generation, UpdateGroup); err != nil {
			return workflow.Next{}, err
		}
	}
	return workflow.GiveUp("canceled"), nil
}

// withdraw takes the declaration back: because the version is reached, because its time is over, or because the device does not know
// the declaration and is to be sent the command.
func (u *Update) withdraw(ctx context.Context, t *workflow.Turn, s *updateState) (workflow.Next, error) {
	if u.Declarer != nil {
		if err := u.Declarer.Withdraw(ctx, t.Run.Enrollment, t.Run.Generation, UpdateGroup); err != nil {
			return workflow.Next{}, err
		}
	}
	switch known := s.Order.reached(t.Enrollment.Device.OSVersion, t.Enrollment.Device.BuildVersion); {
	case known:
		return workflow.Finish("it reports " + s.Reports), nil
	case s.Reached: // by status; the store is to know it, too
		return workflow.Finish("it reports "+s.Reports).Send("info", updateInfo()), nil
	case s.Commands && t.Now.Before(u.last(s)):
		s.Declared, s.Invalid = false, ""
		return workflow.Go("ask").Note("the device does not know the declaration: it is sent the command"), nil
	}
	return workflow.GiveUp("not updated in time: it reports " + s.Reports).Drop("info"), nil
}
