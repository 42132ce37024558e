package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// run is a run of a workflow as the API shows it. Its state is the workflow's own, and there only if it is asked for.
type run struct {
	ID         string           `json:"id"`
	Workflow   string           `json:"workflow"`
	Enrollment mdm.EnrollmentID `json:"enrollment"`
	Generation mdm.Generation   `json:"generation"`
	Key        string           `json:"key,omitempty"`
	Status     string           `json:"status"`
	Step       string           `json:"step"`
	Note       string           `json:"note,omitempty"`
	Error      string           `json:"error,omitempty"`
	Attempts   int              `json:"attempts"`
	Turns      int              `json:"turns"`
	Commands   []sent           `json:"commands,omitempty"`
	Waits      *waits           `json:"waits,omitempty"`
	Due        time.Time        `json:"due,omitzero"`
	Begun      time.Time        `json:"begunAt"`
	Moved      time.Time        `json:"movedAt"`
	Ended      time.Time        `json:"endedAt,omitzero"`
	State      json.RawMessage  `json:"state,omitempty"`
}

// sent is a command of a run.
type sent struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"`
	Refused string `json:"refused,omitempty"`
}

// waits is what wakes a run.
type waits struct {
	Answers []string        `json:"answers,omitempty"`
	Events  []mdm.EventType `json:"events,omitempty"`
}

func shownRun(r *workflow.Run) run {
	shown := run{ID: r.ID, Workflow: r.Workflow, Enrollment: r.Enrollment, Generation: r.Generation, Key: r.Key, Status: r.Status.String(), Step: r.Step,
		Note: r.Note, Error: r.Error, Attempts: r.Attempts, Turns: r.Turns, Due: r.Due, Begun: r.BegunAt, Moved: r.MovedAt, Ended: r.EndedAt}
	for _, name := range sortedKeys(r.Sent) {
		shown.Commands = append(shown.Commands, sent{name, r.Sent[name].UUID, r.Sent[name].Refused})
	}
	if len(r.Waits.Answers)+len(r.Waits.Events) > 0 {
		shown.Waits = &waits{r.Waits.Answers, r.Waits.Events}
	}
	return shown
}

var runStatuses = []workflow.Status{workflow.Open, workflow.Aside, workflow.Done, workflow.Failed, workflow.Canceled}

// runs lists runs by their IDs.
func (a *api) runs(c *call) (any, error) {
	if err := c.one("workflow", "status", "step", "enrollment", "after", "limit"); err != nil {
		return nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	q := workflow.Query{Tenant: c.tenant, Workflow: c.param("workflow"), Step: c.param("step"), After: c.param("after"), Limit: limit + 1}
	if q.Status, err = named(runStatuses, c.param("status"), "status of a run"); err != nil {
		return nil, err
	}
	if text := c.param("enrollment"); text != "" {
		if q.Enrollment, err = c.id(text); err != nil {
			return nil, err
		}
	}
	answer := struct {
		Runs []run  `json:"runs"`
		Next string `json:"next,omitempty"`
	}{Runs: []run{}}
	for r, err := range a.cfg.Stores.Runs.Runs(c.Context(), q) {
		if err != nil {
			return nil, err
		}
		if len(answer.Runs) == limit {
			answer.Next = answer.Runs[limit-1].ID
			break
		}
		answer.Runs = append(answer.Runs, shownRun(&r))
	}
	return answer, nil
}

func (a *api) run(c *call) (any, error) {
	if err := c.one("state"); err != nil {
		return nil, err
	}
	state, err := c.flag("state", false)
	if err != nil {
		return nil, err
	}
	r, err := a.cfg.Stores.Runs.Run(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, noRun(err, "no such run")
	}
	shown := shownRun(&r)
	if state {
		shown.State = r.State
	}
	return shown, nil
}

// noRun says in the API's words that there is none.
func noRun(err error, text string) error {
	if mdm.CodeOf(err) == mdm.NotFound {
		return mdm.Errorf(mdm.NotFound, "api", "%s", text)
	}
	return err
}

// maxReason bounds what an operator gives as a reason, in bytes.
const maxReason = 500

func (c *call) reason(otherwise string, others ...string) (string, error) {
	if err := c.one(append(others, "reason")...); err != nil {
		return "", err
	}
	reason := c.param("reason")
	if len(reason) > maxReason {
		return "", malformed("the reason has more than %d bytes", maxReason)
	}
	if reason == "" {
		return otherwise, nil
	}
	return reason, nil
}

func (a *api) cancelRun(c *call) (any, error) {
	reason, err := c.reason("canceled by the operator")
	if err != nil {
		return nil, err
	}
	r, err := a.cfg.Workflows.Cancel(c.Context(), c.tenant, c.PathValue("id"), reason)
	if err != nil {
		return nil, noRun(err, "no such run, or it is over")
	}
	return shownRun(&r), nil
}

func (a *api) resumeRun(c *call) (any, error) {
	reason, err := c.reason("")
	if err != nil {
		return nil, err
	}
	r, err := a.cfg.Workflows.TryAgain(c.Context(), c.tenant, c.PathValue("id"), reason)
	if err != nil {
		return nil, noRun(err, "no such run, or it is over")
	}
	return shownRun(&r), nil
}

// resumed is the answer to who has many runs go on.
type resumed struct {
	Again int    `json:"again"`
	Left  int    `json:"left"`
	Next  string `json:"next,omitempty"`
}

// resumeRuns does it to all runs of a workflow that failed, or, with a limit, to so many.
func (a *api) resumeRuns(c *call) (any, error) {
	reason, err := c.reason("", "workflow", "status", "step", "after", "limit")
	if err != nil {
		return nil, err
	}
	q := workflow.Query{Tenant: c.tenant, Workflow: c.param("workflow"), Step: c.param("step"), After: c.param("after")}
	if q.Workflow == "" {
		return nil, malformed("of which workflow? workflow=<name>")
	}
	if q.Status, err = named([]workflow.Status{workflow.Open, workflow.Aside}, c.param("status"), "status of a run that can be tried again"); err != nil {
		return nil, err
	}
	if c.param("limit") != "" {
		if q.Limit, err = c.limit(); err != nil {
			return nil, err
		}
	}
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // it takes as long as it takes
	n, err := a.cfg.Workflows.TryAgainMany(c.Context(), q, reason, nil)
	if err != nil {
		return nil, err
	}
	answer := resumed{Again: n.Again, Left: n.Left}
	if q.Limit > 0 && n.Again+n.Left == q.Limit {
		answer.Next = n.Last
	}
	return answer, nil
}
