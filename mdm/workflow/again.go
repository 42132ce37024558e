package workflow

import (
	"context"
	"fmt"
	"iter"

	"github.com/gomdm/applemdm/mdm"
)

// Runs yields what q selects, as the Store has it: ordered by ID, and no more after a non-nil error.
func (e *Engine) Runs(ctx context.Context, q Query) iter.Seq2[Run, error] {
	return e.cfg.Store.Runs(ctx, q)
}

// TryAgain has a step that failed tried again at once: of a run that was set aside, or of one that waits for its next attempt. Why
// is noted, if it is not empty. Any other run is left alone, and the error is a Malformed one: [Engine.Resume] wakes those, too.
func (e *Engine) TryAgain(ctx context.Context, tenant, id, why string) (Run, error) {
	now := e.cfg.Clock()
	r, err := e.cfg.Store.ChangeRun(ctx, tenant, id, func(r *Run) ([]string, error) {
		if !r.failing() {
			return nil, mdm.Errorf(mdm.Malformed, "workflow.TryAgain", "no step of the run has failed")
		}
		r.Status, r.Attempts, r.Due = Open, 0, now
		if why != "" {
			r.Note = clipped(why)
		}
		return nil, nil
	})
	e.Notify()
	return r, err
}

// failing reports whether the step at hand has failed.
func (r *Run) failing() bool { return r.Status == Aside || r.Status == Open && r.Attempts > 0 }

// Retried says how far [Engine.TryAgainMany] is.
type Retried struct {
	Again int // runs whose step is tried again
	Left  int // runs of which no step has failed, or that were over when it came to them
	// Last is the ID of the run that was looked at last. A call whose query has it as After goes on behind it.
	Last string
}

// againPage is how many runs are read at once.
const againPage = 500

// TryAgainMany does to every run that a query selects what [Engine.TryAgain] does to one, as when what set them aside one by one is
// mended. A query without Status selects those that were set aside; with Open it selects those that wait for their next attempt,
// too. Each run is tried again once in a call: one that fails anew is not waited for. A call that ended early, by ctx or an error,
// is made again, or goes on from Retried.Last.
//
// Runs are read in pages, so that their number does not matter. Progress, if not nil, is told how far it is after each page. The
// error is Malformed if the query names no workflow or a status that is over; it comes with the counts so far.
func (e *Engine) TryAgainMany(ctx context.Context, q Query, why string, progress func(Retried)) (Retried, error) {
	const op = "workflow.TryAgainMany"
	if q.Workflow == "" {
		return Retried{}, mdm.Errorf(mdm.Malformed, op, "the query names no workflow")
	}
	if len(q.Status) == 0 {
		q.Status = []Status{Aside}
	}
	for _, s := range q.Status {
		if s != Open && s != Aside {
			return Retried{}, mdm.Errorf(mdm.Malformed, op, "nothing that is %s is tried again", s)
		}
	}
	left, n := q.Limit, Retried{Last: q.After}
	for {
		q.Limit = againPage
		if left > 0 {
			q.Limit = min(left, againPage)
		}
		page, err := e.failures(ctx, q)
		if err != nil {
			return n, err
		}
		for i := range page {
			if err := e.tryOne(ctx, &page[i], why, &n); err != nil {
				return n, err
			}
		}
		if progress != nil && len(page) > 0 {
			progress(n)
		}
		if len(page) < q.Limit || left == len(page) {
			return n, nil
		}
		q.After = n.Last
		left = max(left-len(page), 0)
	}
}

// failure is as much of a run as is needed to try it again: their states may be large.
type failure struct {
	tenant, id string
	failing    bool
}

// failures reads a page to its end: a store may not like to be written to while it is read.
func (e *Engine) failures(ctx context.Context, q Query) (page []failure, err error) {
	for r, err := range e.cfg.Store.Runs(ctx, q) {
		if err != nil {
			return nil, err
		}
		page = append(page, failure{r.Enrollment.Tenant, r.ID, r.failing()})
	}
	return page, nil
}

// tryOne tries a run again and counts what came of it.
func (e *Engine) tryOne(ctx context.Context, f *failure, why string, n *Retried) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if f.failing {
		_, err = e.TryAgain(ctx, f.tenant, f.id, why)
	}
	switch code := mdm.CodeOf(err); {
	case err == nil && f.failing:
		n.Again++
	case err == nil, code == mdm.NotFound, code == mdm.Malformed: // it is over, or went on meanwhile
		n.Left++
	default:
		return fmt.Errorf("workflow: the run %s: %w", f.id, err)
	}
	n.Last = f.id
	return nil
}
