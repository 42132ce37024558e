package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Begun says how far [Engine.BeginMany] is.
type Begun struct {
	Begun   int // runs that were begun
	There   int // enrollments that had their run already: of an earlier call, or an open one with the key
	Refused int // enrollments that are not enrolled, or ended meanwhile
	// Last is the enrollment that was looked at last. A call whose filter has it as After goes on behind it.
	Last mdm.EnrollmentID
}

// lister is a Roster that can list, as a checkin.Roster.
type lister interface {
	Enrollments(ctx context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error]
}

// beginPage is how many enrollments are read at once.
const beginPage = 500

// BeginMany begins a run of a workflow, each with the same state, on every enrollment that a filter selects; one without States
// selects those that are enrolled. The key is required: with it an enrollment gets one run per generation, however often this is
// called and whatever became of the run, as long as the Store keeps it; who wants to do it all again takes another key. So a call
// that ended early, by ctx or an error, is made again, or goes on from Begun.Last. As in [Engine.Begin], the key also keeps an
// enrollment from having two open runs with it.
//
// Progress, if not nil, is told how far it is after each page. Config.Roster must be able to list, as a checkin.Roster is. The
// error comes with the counts so far.
func (e *Engine) BeginMany(ctx context.Context, workflow string, to mdm.Filter, key string, state any, progress func(Begun)) (Begun, error) {
	const op = "workflow.BeginMany"
	k := e.kinds[workflow]
	roster, ok := e.cfg.Roster.(lister)
	switch {
	case k == nil:
		return Begun{}, mdm.Errorf(mdm.NotFound, op, "there is no workflow %q", workflow)
	case !ok:
		return Begun{}, mdm.Errorf(mdm.Internal, op, "Config.Roster cannot list enrollments")
	case key == "" || len(key) > maxKey:
		return Begun{}, mdm.Errorf(mdm.Malformed, op, "the key does not have 1 to %d bytes", maxKey)
	}
	r, err := k.begin(state)
	if err != nil {
		return Begun{}, err
	}
	r.Key = key
	if len(to.States) == 0 {
		to.States = []mdm.State{mdm.Enrolled}
	}
	return e.beginPages(ctx, roster, to, r, progress)
}

// beginPages begins a copy of r on every enrollment. A page is read to its end first: a store may not like to be written to while
// it is read.
func (e *Engine) beginPages(ctx context.Context, roster lister, to mdm.Filter, r Run, progress func(Begun)) (n Begun, err error) {
	left := to.Limit
	n.Last = to.After
	for {
		to.Limit = beginPage
		if left > 0 {
			to.Limit = min(left, beginPage)
		}
		page, err := list(ctx, roster, to)
		if err != nil {
			return n, err
		}
		for _, known := range page {
			if err := e.beginOn(ctx, known, r, &n); err != nil {
				return n, err
			}
			n.Last = known.ID
		}
		if progress != nil && len(page) > 0 {
			progress(n)
		}
		if len(page) < to.Limit || left == len(page) {
			return n, nil
		}
		to.After = n.Last
		left = max(left-len(page), 0)
	}
}

func list(ctx context.Context, roster lister, f mdm.Filter) (page []*mdm.Enrollment, err error) {
	for known, err := range roster.Enrollments(ctx, f) {
		if err != nil {
			return nil, err
		}
		page = append(page, known)
	}
	return page, nil
}

// beginOn begins r on one enrollment and counts what came of it.
func (e *Engine) beginOn(ctx context.Context, known *mdm.Enrollment, r Run, n *Begun) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r = r.Clone()
	r.ID, r.Enrollment = manyID(&r, known), known.ID
	_, fresh, err := e.begin(ctx, r)
	switch {
	case err != nil && (mdm.CodeOf(err) == mdm.NotFound || mdm.CodeOf(err) == mdm.Forbidden):
		n.Refused++
	case err != nil:
		return fmt.Errorf("workflow: %s: %w", known.ID, err)
	case fresh:
		n.Begun++
	default:
		n.There++
	}
	return nil
}

// manyID is the ID of a run that BeginMany begins, however often it is called.
func manyID(r *Run, known *mdm.Enrollment) string {
	generation := strconv.FormatUint(uint64(known.Generation), 10)
	sum := sha256.Sum256([]byte(strings.Join([]string{"many", r.Workflow, r.Key, known.ID.Tenant, known.ID.String(), generation}, "\x00")))
	return hex.EncodeToString(sum[:16])
}
