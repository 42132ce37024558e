package practice

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// The older way of [Update]: ScheduleOSUpdate, a limited number of times.

// command is the command for a device. After the deadline a Mac is restarted whether its user likes it or not.
func (o UpdateOrder) command(e *mdm.Enrollment, now time.Time) command.ScheduleOSUpdate {
	action := command.ScheduleOSUpdateUpdateInstallActionInstallASAP
	if machineIsMac(e) && !now.Before(o.Deadline) {
		action = command.ScheduleOSUpdateUpdateInstallActionInstallForceRestart
	}
	return command.ScheduleOSUpdate{Updates: []command.ScheduleOSUpdateUpdate{{ProductVersion: new(o.Version), InstallAction: action}}}
}

func (u *Update) attempts() int {
	if u.Attempts <= 0 {
		return 5
	}
	return u.Attempts
}

// attempt sends the command once more, unless that was tried often enough.
func (u *Update) attempt(t *workflow.Turn, s *updateState, c command.ScheduleOSUpdate) workflow.Next {
	if s.Attempts >= u.attempts() {
		return workflow.GiveUp(fmt.Sprintf("not updated after %d attempts: it reports %s", s.Attempts, s.Reports))
	}
	s.Attempts++
	return workflow.Go("sent").Send("update", command.Order{Command: c, NotAfter: u.last(s)}).Answered("update").At(u.last(s)).
		Note(fmt.Sprintf("attempt %d; it reports %s", s.Attempts, s.Reports))
}

// sent looks at what the device says of the update. Whatever it says, the version that it reports counts.
func (u *Update) sent(_ context.Context, t *workflow.Turn, s *updateState) (workflow.Next, error) {
	r, ok := machineAnswer(t, "update")
	if !ok {
		if t.Now.Before(u.last(s)) {
			return workflow.Go("sent").Answered("update").At(u.last(s)), nil
		}
		return workflow.GiveUp("not updated in time: the device did not take the command").Drop("update"), nil
	}
	if r.Err != nil && command.Advise("ScheduleOSUpdate", r.Err) == command.GiveUp {
		return workflow.GiveUp("not updated: " + r.Err.Error()), nil
	}
	said := "acknowledged"
	if r.Err != nil {
		said = r.Err.Error()
	} else if word := updateStatus(r); word != "" {
		said = word
	}
	wait := doubled(waitOr(u.Again, time.Hour), 24*time.Hour, s.Attempts, machineDoublings)
	return workflow.Go("ask").At(t.Now.Add(wait)).Note(fmt.Sprintf("attempt %d: %s; it reported %s", s.Attempts, said, s.Reports)), nil
}

// updateStatus returns the device's word for what became of the update, if it is one that Apple lists.
func updateStatus(r machineResult) string {
	response, err := command.DecodeResponse("ScheduleOSUpdate", r.Entry.Result)
	said, ok := response.(*command.ScheduleOSUpdateResponse)
	if !ok || err != nil || len(said.UpdateResults) == 0 {
		return ""
	}
	return lockWord(string(said.UpdateResults[0].Status))
}
