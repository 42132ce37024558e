package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// progress is how the runs of a workflow stand.
type progress struct {
	Workflow string         `json:"workflow"`
	MayBegin bool           `json:"mayBegin"` // POST /v1/workflows/{name}/runs
	Runs     int            `json:"runs"`
	Statuses map[string]int `json:"statuses"`
	Steps    []stepCount    `json:"steps"` // the steps where runs stand or ended
}

// stepCount is how many runs stand at a step.
type stepCount struct {
	Step   string `json:"step"`
	Status string `json:"status"`
	Runs   int    `json:"runs"`
}

// workflows counts runs by workflow, status and step. Of workflows that may be begun all are listed.
func (a *api) workflows(c *call) (any, error) {
	if err := c.one("workflow"); err != nil {
		return nil, err
	}
	only := c.param("workflow")
	counts, err := a.cfg.Stores.Runs.CountRuns(c.Context(), c.tenant, only)
	if err != nil {
		return nil, err
	}
	all := map[string]*progress{}
	of := func(name string) *progress {
		if all[name] == nil {
			all[name] = &progress{Workflow: name, MayBegin: a.mayBegin(name), Statuses: map[string]int{}, Steps: []stepCount{}}
		}
		return all[name]
	}
	for _, name := range a.cfg.MayBegin {
		if a.cfg.Workflows != nil && (only == "" || only == name) {
			of(name)
		}
	}
	for _, n := range counts {
		p := of(n.Workflow)
		p.Runs += n.Runs
		p.Statuses[n.Status.String()] += n.Runs
		p.Steps = append(p.Steps, stepCount{n.Step, n.Status.String(), n.Runs})
	}
	list := []*progress{}
	for _, name := range sortedKeys(all) {
		slices.SortFunc(all[name].Steps, func(a, b stepCount) int { return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Status, b.Status)) })
		list = append(list, all[name])
	}
	return map[string]any{"workflows": list}, nil
}

func (a *api) mayBegin(name string) bool {
	return a.cfg.Workflows != nil && slices.Contains(a.cfg.MayBegin, name)
}

// begun is the answer to who begins runs.
type begun struct {
	Begun   int         `json:"begun"`
	There   int         `json:"there"`
	Refused int         `json:"refused"`
	Targets []begunHere `json:"targets,omitempty"`
}

// begunHere is what became of one target.
type begunHere struct {
	ID      mdm.EnrollmentID `json:"id"`
	Outcome string           `json:"outcome"` // begun, there or refused
	Run     string           `json:"run,omitempty"`
	Reason  string           `json:"reason,omitempty"`
}

// beginRuns begins a workflow. A run begins with the zero value of the workflow's state: what that means is the workflow's own,
// and nothing that a caller could make up.
func (a *api) beginRuns(c *call) (any, error) {
	if err := c.one(append([]string{"to", "all", "key"}, filterNames...)...); err != nil {
		return nil, err
	}
	name := c.PathValue("name")
	if !a.mayBegin(name) {
		return nil, mdm.Errorf(mdm.NotFound, "api", "there is no such workflow, or it may not be begun here")
	}
	to, err := c.to()
	if err != nil {
		return nil, err
	}
	key := c.param("key")
	if key != "" && key != name {
		key = name + "/" + key // a key of another workflow's would keep that from beginning
	}
	if ids := to.List(); len(ids) > command.MaxRefusals {
		return nil, malformed("to has more than %d enrollments", command.MaxRefusals)
	} else if len(ids) > 0 {
		return a.beginOn(c.Context(), name, ids, key)
	}
	if key == "" {
		return nil, malformed("with all there must be a key, so that the request can be repeated")
	}
	f, _ := to.Filter()
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // it takes as long as it takes
	n, err := a.cfg.Workflows.BeginMany(c.Context(), name, f, key, nil, nil)
	if err != nil {
		return nil, err
	}
	return begun{Begun: n.Begun, There: n.There, Refused: n.Refused}, nil
}

func (a *api) beginOn(ctx context.Context, name string, ids []mdm.EnrollmentID, key string) (any, error) {
	answer := begun{}
	for _, id := range ids {
		r, fresh, err := a.cfg.Workflows.Begin(ctx, name, id, key, nil)
		target := begunHere{ID: id, Outcome: "begun", Run: r.ID}
		switch {
		case err != nil && mdm.CodeOf(err) != mdm.NotFound && mdm.CodeOf(err) != mdm.Forbidden:
			return nil, err
		case err != nil:
			answer.Refused++
			target.Outcome, target.Run, target.Reason = "refused", "", reason(err)
		case fresh:
			answer.Begun++
		default:
			answer.There++
			target.Outcome = "there"
		}
		answer.Targets = append(answer.Targets, target)
	}
	return answer, nil
}
