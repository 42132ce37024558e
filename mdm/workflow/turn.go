package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/clip"
	"github.com/gomdm/applemdm/mdm"
)

// turn takes one step of a run that is leased.
func (e *Engine) turn(ctx context.Context, r *Run) error {
	k := e.kinds[r.Workflow]
	if r.LeasedUntil.Sub(e.cfg.Clock()) < e.lease()/2 { // it waited too long for a worker; its lease ends, and somebody takes it
		return nil
	}
	t := &Turn{Run: r, Now: e.cfg.Clock()}
	next, state, err := e.take(ctx, k, t)
	if ctx.Err() != nil {
		return ctx.Err() // the lease ends, and somebody takes the step again
	}
	var unsure *storeError
	if errors.As(err, &unsure) {
		return unsure.error // nothing is known of the step
	}
	written, settled := e.settle(ctx, k, t, next, state, err)
	if err == nil && settled != nil && !errors.Is(settled, ErrLost) && mdm.CodeOf(settled) != mdm.Unavailable {
		// What the step wants cannot be written. It would be the same the next time, so that counts as a failure of the step.
		err = settled
		written, settled = e.settle(ctx, k, t, next, state, err)
	}
	switch {
	case errors.Is(settled, ErrLost):
		return nil
	case settled != nil:
		return settled
	case err != nil:
		e.log(ctx, slog.LevelWarn, "a step failed", slog.String("workflow", r.Workflow), slog.String("run", r.ID), slog.String("step", r.Step),
			slog.String("enrollment", r.Enrollment.String()), slog.Int("attempts", written.Attempts), slog.Bool("aside", written.Status == Aside), slog.Any("error", err))
	}
	return nil
}

// settle writes what came of a step: what it said, or that it failed.
func (e *Engine) settle(ctx context.Context, k kind, t *Turn, next Next, state json.RawMessage, failed error) (out Run, err error) {
	defer func() {
		if p := recover(); p != nil { // a command of the step's that cannot be encoded
			err = fmt.Errorf("workflow: writing what the step said panicked: %v", p)
		}
	}()
	now := e.cfg.Clock()
	return e.cfg.Store.SettleRun(context.WithoutCancel(ctx), t.Run.ID, t.Run.Holder, func(r *Run, enrollment *mdm.Enrollment) Settlement {
		if over(r, enrollment) {
			r.outlive(k, ended(r, enrollment, now), now)
			return Settlement{}
		}
		if r.Canceling && !t.Run.Canceling { // since the step was begun
			r.release()
			r.Due = now
			return Settlement{}
		}
		if failed != nil {
			r.fail(failed, k.retry(), now)
			return Settlement{}
		}
		r.Version = k.version()
		r.Words = r.Words[min(len(t.Run.Words), len(r.Words)):]
		s := r.settle(next, state, t.Answers, now)
		if past(r, enrollment) { // what outlives it
			for _, o := range s.Orders {
				s.Refused(o.UUID, ErrOver)
			}
			s.Orders = nil
		}
		return s
	})
}

// past reports whether the generation of a run is over.
func past(r *Run, e *mdm.Enrollment) bool {
	return e == nil || e.State == mdm.Ended || e.Generation != r.Generation
}

// over reports whether a run is over because of that.
func over(r *Run, e *mdm.Enrollment) bool {
	return e == nil || !r.Outlives && past(r, e)
}

// ended makes the event that tells, or will, how the generation of a run ended.
func ended(r *Run, e *mdm.Enrollment, now time.Time) mdm.Event {
	out := mdm.Event{Type: mdm.EventEnded, At: now, Enrollment: r.Enrollment, Generation: r.Generation}
	switch {
	case e == nil:
	case e.State == mdm.Ended:
		out.At, out.Generation, out.Reason = e.EndedAt, e.Generation, e.EndReason
		if e.EndReason == "CheckOut" {
			out.Type = mdm.EventCheckedOut
		}
	case e.State == mdm.Pending:
		out.Type, out.At, out.Generation = mdm.EventAuthenticated, e.AuthenticatedAt, e.Generation
	default:
		out.Type, out.At, out.Generation = e.Arrival, e.EnrolledAt, e.Generation
	}
	return out
}

// storeError is a failure to read, which says nothing about the step.
type storeError struct{ error }

// take asks the workflow.
func (e *Engine) take(ctx context.Context, k kind, t *Turn) (next Next, state json.RawMessage, err error) {
	r := t.Run
	if t.Enrollment, err = e.cfg.Roster.Enrollment(ctx, r.Enrollment); err != nil && mdm.CodeOf(err) != mdm.NotFound {
		return Next{}, nil, &storeError{err}
	}
	if over(r, t.Enrollment) {
		return Next{}, nil, nil // SettleRun finds the same
	}
	if err = e.answers(ctx, t); err != nil {
		return Next{}, nil, &storeError{err}
	}
	step, cancel := context.WithTimeout(ctx, r.LeasedUntil.Sub(t.Now)-e.lease()/4) // the rest is for writing what came of it
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("workflow: the step panicked: %v", p)
		}
	}()
	return k.take(step, t)
}

// answers reads the commands of a run.
func (e *Engine) answers(ctx context.Context, t *Turn) error {
	r := t.Run
	t.Answers, t.Waiting = map[string]command.Entry{}, map[string]command.Entry{}
	for name, sent := range r.Sent {
		if sent.Refused != "" {
			continue
		}
		q := command.Query{Tenant: r.Enrollment.Tenant, From: r.Enrollment, UUID: sent.UUID, Results: true}
		for entry, err := range e.cfg.Commands.Entries(ctx, q) {
			if err != nil {
				return err
			}
			if entry.State.Open() {
				t.Waiting[name] = entry
			} else {
				t.Answers[name] = entry
			}
		}
	}
	return nil
}

// fail notes that a step failed.
func (r *Run) fail(err error, retry Retry, now time.Time) {
	r.Attempts++
	r.Error = clipped(err.Error())
	r.MovedAt = now
	r.release()
	if wait, again := retry.wait(r.Attempts); again {
		r.Due = now.Add(wait)
		return
	}
	r.Status, r.Note, r.Due = Aside, r.Error, time.Time{}
}

func (r *Run) release() { r.Holder, r.LeasedUntil = "", time.Time{} }

const maxText = 1000

func clipped(s string) string {
	return clip.Text(s, maxText, maxText)
}

// settle applies what a step said, which was told of these answers.
func (r *Run) settle(n Next, state json.RawMessage, answers map[string]command.Entry, now time.Time) Settlement {
	missed := r.Missed
	r.release()
	r.Attempts, r.Error, r.MovedAt, r.State, r.Signal, r.Missed = 0, "", now, state, nil, nil
	if n.note != "" {
		r.Note = clipped(n.note)
	}
	s := Settlement{Drops: r.drops(n.drops)}
	for _, name := range n.forgets(r, answers) {
		delete(r.Sent, name)
	}
	for _, send := range n.sends {
		s.Orders = append(s.Orders, r.order(send))
	}
	r.Turns++
	s.Refused = func(uuid string, err error) { r.refused(uuid, err, now) }
	switch {
	case n.end != 0 && r.Canceling:
		r.End(Canceled, r.Why, now)
		return s
	case n.end != 0:
		r.End(n.end, r.Note, now)
		return s
	}
	r.Step, r.Waits, r.Due = n.step, n.waits, n.due
	if n.moment || r.stuck(answers) {
		r.Due = now
	}
	r.recall(missed, now)
	if len(r.Words) > 0 { // said meanwhile
		r.wake(nil, now)
	}
	return s
}

// stuck reports whether nothing would ever wake r: it waits for answers alone, and all of them were there already.
func (r *Run) stuck(answers map[string]command.Entry) bool {
	for _, name := range r.Waits.Answers {
		if sent := r.Sent[name]; sent.Refused == "" && answers[name].UUID != sent.UUID {
			return false
		}
	}
	return r.Due.IsZero() && len(r.Waits.Events) == 0
}

func (r *Run) drops(names []string) []string {
	var uuids []string
	for _, name := range names { // before anything is sent by the same name
		if sent, ok := r.Sent[name]; ok && sent.Refused == "" {
			uuids = append(uuids, sent.UUID)
		}
	}
	return uuids
}

// order makes a send an order to the run's enrollment. Its UUID follows from the run and the step, so that a step that is
// taken again sends the same.
func (r *Run) order(s send) command.Order {
	o := s.order
	o.To, o.Each, o.Progress = mdm.IDs(r.Enrollment), nil, nil
	o.UUID = strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceOID, []byte(r.ID+"/"+strconv.Itoa(r.Turns)+"/"+s.name)).String())
	if r.Sent == nil {
		r.Sent = map[string]Sent{}
	}
	r.Sent[s.name] = Sent{UUID: o.UUID}
	return o
}

// refused notes that the queue did not take an order. Whoever waits for its answer is woken.
func (r *Run) refused(uuid string, err error, now time.Time) {
	for name, sent := range r.Sent {
		if sent.UUID != uuid {
			continue
		}
		sent.Refused = clipped(err.Error())
		r.Sent[name] = sent
		for _, awaited := range r.Waits.Answers {
			if awaited == name && r.Status == Open {
				r.wake(nil, now)
			}
		}
	}
}
