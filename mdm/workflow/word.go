package workflow

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Word is what an operator tells an open run: what to do next, by whose wish and why. It holds no secrets.
type Word struct {
	Name   string    `json:"name"` // the workflow's own, as "end"
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// MaxWords is how many words a run keeps until its next step, and MaxWord how long the texts of one may be together, in bytes.
const (
	MaxWords = 64
	MaxWord  = 4096
)

// Tell tells an open run something: its next step, which is due at once, finds it in [Turn.Words]. The error is a NotFound one if
// the run is over, a Malformed one if the word is too long, an Unavailable one if no step has listened to [MaxWords] before it.
func (e *Engine) Tell(ctx context.Context, tenant, id string, w Word) (Run, error) {
	const op = "workflow.Tell"
	if !plain(w.Name) || len(w.Actor)+len(w.Reason) > MaxWord {
		return Run{}, mdm.Errorf(mdm.Malformed, op, "the word has no name, or is too long")
	}
	w.At = e.cfg.Clock()
	r, err := e.cfg.Store.ChangeRun(ctx, tenant, id, func(r *Run) ([]string, error) {
		if len(r.Words) >= MaxWords {
			return nil, mdm.Errorf(mdm.Unavailable, op, "the run was told %d things already", MaxWords)
		}
		r.Words = append(r.Words, w)
		if r.Status == Open {
			r.wake(nil, w.At)
		}
		return nil, nil
	})
	e.Notify()
	return r, err
}
