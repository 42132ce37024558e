package practice

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// told looks for the word that ends it, while it is not on yet. Other words have to wait until it is: they are dropped.
func (l *LostMode) told(t *workflow.Turn, s *lostState) (workflow.Next, bool) {
	for _, w := range t.Words() {
		if w.Name == LostEnd {
			s.Ending = &w
			return workflow.Go("disable"), true
		}
	}
	return workflow.Next{}, false
}

// watch is where a run is while the device is lost: it looks now and then whether it is still on, and where the device is.
func (l *LostMode) watch(ctx context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if next, ok := l.told(t, s); ok {
		return next, nil
	}
	if err := l.tell(ctx, t, s); err != nil {
		return workflow.Next{}, err
	}
	checks := waitOr(l.Check, 12*time.Hour)
	r, answered := machineAnswer(t, "check")
	if on, known := lostOn(r); answered && known && !on {
		s.Failures = 0
		next, err := l.enable(t, s)
		return next.Note("it reports that it is off: switched on again"), err
	}
	next := workflow.Go("watch")
	if answered && !t.Now.Before(s.Asked.Add(checks)) {
		next, answered = l.ask(t, s, "watch"), false
	}
	if answered {
		next = next.At(s.Asked.Add(checks))
	} else {
		next = next.Answered("check")
	}
	return l.seek(l.sound(next, t), t, s), nil
}

// tell passes on where the device is, once for each answer unless that fails.
func (l *LostMode) tell(ctx context.Context, t *workflow.Turn, s *lostState) error {
	r, ok := machineAnswer(t, "locate")
	if !ok || r.Err != nil || r.Entry.UUID == s.Told || l.Located == nil {
		return nil
	}
	response, err := command.DecodeResponse("DeviceLocation", r.Entry.Result)
	if where, ok := response.(*command.DeviceLocationResponse); ok && err == nil {
		err = l.Located(ctx, Location{Enrollment: t.Run.Enrollment, Run: t.Run.ID, Key: r.Entry.UUID, DeviceLocationResponse: *where})
		if err != nil {
			return err
		}
	}
	s.Told = r.Entry.UUID
	return nil
}

// sound lets the device be heard, if somebody asked for it. An hour later nobody listens any more.
func (l *LostMode) sound(next workflow.Next, t *workflow.Turn) workflow.Next {
	for _, w := range t.Words() {
		if w.Name == LostSound {
			o := command.Order{Command: command.PlayLostModeSound{}, Priority: command.Security, NotAfter: t.Now.Add(time.Hour)}
			return next.Send("sound", o).Note("on; a sound was asked for by " + w.Actor)
		}
	}
	return next
}

// seek asks where the device is, if it is time or somebody wants to know, and waits for the answer. While one question is open
// there is not another.
func (l *LostMode) seek(next workflow.Next, t *workflow.Turn, s *lostState) workflow.Next {
	if l.Located == nil {
		return next
	}
	if _, open := t.Waiting["locate"]; open {
		return next.Answered("locate")
	}
	wanted := l.Every > 0 && !t.Now.Before(s.Sought.Add(l.Every))
	for _, w := range t.Words() {
		if w.Name == LostLocate {
			wanted, next = true, next.Note("on; its location was asked for by "+w.Actor)
		}
	}
	if wanted {
		s.Sought = t.Now
		return next.Send("locate", command.Order{Command: command.DeviceLocation{}, Priority: command.Security}).Answered("locate")
	}
	if l.Every > 0 {
		next = next.At(s.Sought.Add(l.Every))
	}
	return next
}

// disable switches Lost Mode off, whether the device was heard to be in it or not.
func (l *LostMode) disable(_ context.Context, _ *workflow.Turn, s *lostState) (workflow.Next, error) {
	return workflow.Go("disabled").Send("disable", command.Order{Command: command.DisableLostMode{}, Priority: command.Security}).
		Drop("enable").Drop("check").Drop("locate").Drop("sound").Answered("disable").Note("to be switched off, for " + s.Ending.Actor), nil
}

// disabled goes by what the device says of itself, whatever it answered.
func (l *LostMode) disabled(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	r, ok := machineAnswer(t, "disable")
	if !ok {
		return workflow.Go("disabled").Answered("disable"), nil
	}
	note := "acknowledged; asked whether it is off"
	if r.Err != nil {
		note = "asked whether it is off: " + r.Err.Error()
	}
	return l.ask(t, s, "over").Note(note), nil
}

func (l *LostMode) over(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	r, ok := machineAnswer(t, "check")
	if !ok {
		return workflow.Go("over").Answered("check"), nil
	}
	if on, known := lostOn(r); known && !on {
		return workflow.Finish("off, for " + s.Ending.Actor), nil
	}
	s.Failures++
	wait := doubled(waitOr(l.Again, 5*time.Minute), 6*time.Hour, s.Failures, machineDoublings)
	return workflow.Go("disable").At(t.Now.Add(wait)).Note("it does not report that it is off"), nil
}
