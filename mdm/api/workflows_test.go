package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage/memory"
)

// asking asks a device, and broken fails at once.
func asking() []workflow.Any {
	type state struct{ Inner string }
	type steps = map[string]func(context.Context, *workflow.Turn, *state) (workflow.Next, error)
	return []workflow.Any{
		&workflow.Workflow[state]{Name: "asking", First: "ask", Steps: steps{
			"ask": func(_ context.Context, _ *workflow.Turn, s *state) (workflow.Next, error) {
				s.Inner = "its own"
				return workflow.Go("look").Send("info", command.Order{Command: command.SecurityInfo{}}).Answered("info").Note("asked"), nil
			},
			"look": func(context.Context, *workflow.Turn, *state) (workflow.Next, error) { return workflow.Finish(""), nil },
		}},
		&workflow.Workflow[state]{Name: "broken", First: "fail", Retry: workflow.Retry{Limit: 1}, Steps: steps{
			"fail": func(context.Context, *workflow.Turn, *state) (workflow.Next, error) {
				return workflow.Next{}, errors.New("down")
			},
		}},
	}
}

// newRunKit is an API with an engine. Its tenant is a header.
func newRunKit(t *testing.T) (*kit, *workflow.Engine) {
	t.Helper()
	stores := memory.New().Stores()
	e, err := workflow.New(workflow.Config{Store: stores.Runs, Commands: stores.Command, Roster: stores.Roster}, asking()...)
	require.NoError(t, err)
	k := newKit(t, func(c *Config) {
		c.Stores, c.Workflows, c.MayBegin = stores, e, []string{"asking", "broken"}
		c.Tokens, c.Authorize = nil, func(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }
	})
	k.stores = stores
	return k, e
}

func TestRuns(t *testing.T) {
	k, e := newRunKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "B"}, mdm.EnrollmentID{Device: "C"}, mdm.EnrollmentID{Tenant: "red", Device: "A"})
	answer := k.do(200, "POST", "/v1/workflows/asking/runs?to=A,nobody&key=once", "")
	assert.Equal(t, []any{1., 0., 1.}, []any{answer["begun"], answer["there"], answer["refused"]})
	targets := answer["targets"].([]any)
	id := targets[0].(map[string]any)["run"].(string)
	assert.Equal(t, map[string]any{"id": "nobody", "outcome": "refused", "reason": "the enrollment is not known"}, targets[1])
	again := k.do(200, "POST", "/v1/workflows/asking/runs?to=A&key=once", "")
	assert.Equal(t, []any{map[string]any{"id": "A", "outcome": "there", "run": id}}, again["targets"])
	require.NoError(t, e.Flush(t.Context()))

	one := k.do(200, "GET", "/v1/runs/"+id, "")
	for key, want := range map[string]any{"id": id, "workflow": "asking", "enrollment": "A", "status": "open", "step": "look", "note": "asked", "key": "asking/once",
		"turns": 1., "attempts": 0., "generation": 1., "waits": map[string]any{"answers": []any{"info"}}} {
		assert.Equal(t, want, one[key], key)
	}
	command := one["commands"].([]any)[0].(map[string]any)
	assert.Equal(t, "info", command["name"])
	assert.Len(t, k.do(200, "GET", "/v1/commands/"+command["uuid"].(string), "")["commands"], 1)
	for _, key := range []string{"state", "due", "endedAt", "error"} {
		assert.NotContains(t, one, key)
	}
	assert.Equal(t, map[string]any{"Inner": "its own"}, k.do(200, "GET", "/v1/runs/"+id+"?state=1", "")["state"])

	all := k.do(200, "POST", "/v1/workflows/asking/runs?all=1&key=spring", "")
	assert.Equal(t, map[string]any{"begun": 3., "there": 0., "refused": 0.}, all)
	assert.Equal(t, 3., k.do(200, "POST", "/v1/workflows/asking/runs?all=1&key=spring", "")["there"])
	assert.Equal(t, 1., k.do(200, "POST", "/v1/workflows/asking/runs?all=1&serial=SNB&key=summer", "")["begun"])
	seen := map[any]bool{}
	for after, pages := "", 0; ; pages++ {
		page := k.do(200, "GET", "/v1/runs?limit=2&after="+after, "")
		for _, r := range page["runs"].([]any) {
			seen[r.(map[string]any)["id"]] = true
			assert.NotContains(t, r, "state")
		}
		if page["next"] == nil {
			assert.Equal(t, 2, pages)
			break
		}
		after = page["next"].(string)
	}
	assert.Len(t, seen, 5)
	for query, want := range map[string]int{"enrollment=A": 2, "workflow=broken": 0, "workflow=asking": 5, "status=open": 5, "status=done,failed": 0, "step=look": 1} {
		assert.Len(t, k.do(200, "GET", "/v1/runs?"+query, "")["runs"], want, query)
	}
}

func TestRunsAreCanceledAndResumed(t *testing.T) {
	k, e := newRunKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "B"})
	begin := func(name string) string {
		answer := k.do(200, "POST", "/v1/workflows/"+name+"/runs?to=A", "")
		return answer["targets"].([]any)[0].(map[string]any)["run"].(string)
	}
	waiting, failing := begin("asking"), begin("broken")
	require.NoError(t, e.Flush(t.Context()))
	aside := k.do(200, "GET", "/v1/runs/"+failing, "")
	assert.Equal(t, []any{"aside", "down", 1.}, []any{aside["status"], aside["error"], aside["attempts"]})
	resumed := k.do(200, "POST", "/v1/runs/"+failing+"/resume?reason=it+is+up+again", "")
	assert.Equal(t, []any{"open", "it is up again", 0.}, []any{resumed["status"], resumed["note"], resumed["attempts"]})
	k.do(400, "POST", "/v1/runs/"+waiting+"/resume", "")
	canceled := k.do(200, "POST", "/v1/runs/"+waiting+"/cancel?reason=enough", "")
	assert.Equal(t, []any{"canceled", "enough"}, []any{canceled["status"], canceled["note"]})
	assert.Contains(t, canceled, "endedAt")
	uuid := canceled["commands"].([]any)[0].(map[string]any)["uuid"].(string)
	withdrawn := k.do(200, "GET", "/v1/commands/"+uuid, "")["commands"].([]any)[0].(map[string]any)
	assert.Equal(t, "canceled", withdrawn["state"], "what was canceled does not happen when the device comes")
	assert.Equal(t, "canceled by the operator", k.do(200, "POST", "/v1/runs/"+failing+"/cancel", "")["note"])
	for _, path := range []string{waiting + "/cancel", waiting + "/resume", "none/cancel", "none/resume"} {
		k.do(404, "POST", "/v1/runs/"+path, "")
	}
	k.do(404, "GET", "/v1/runs/none", "")
	k.do(400, "POST", "/v1/runs/none/cancel?reason="+strings.Repeat("x", maxReason+1), "")

	begin("broken")
	require.NoError(t, e.Flush(t.Context()))
	list := k.do(200, "GET", "/v1/workflows", "")["workflows"].([]any)
	require.Len(t, list, 2)
	assert.Equal(t, map[string]any{"workflow": "broken", "mayBegin": true, "runs": 2., "statuses": map[string]any{"aside": 1., "canceled": 1.}, "steps": []any{
		map[string]any{"step": "fail", "status": "aside", "runs": 1.}, map[string]any{"step": "fail", "status": "canceled", "runs": 1.}}}, list[1])
	only := k.do(200, "GET", "/v1/workflows?workflow=asking", "")["workflows"].([]any)
	assert.Equal(t, []any{list[0]}, only)
}

func TestManyRunsAreResumed(t *testing.T) {
	k, e := newRunKit(t)
	for _, device := range []string{"A", "B", "C", "D"} {
		k.enroll(mdm.EnrollmentID{Device: device})
	}
	k.enroll(mdm.EnrollmentID{Tenant: "red", Device: "A"})
	k.do(200, "POST", "/v1/workflows/broken/runs?all=1&key=k", "")
	k.do(200, "POST", "/v1/workflows/broken/runs?all=1&key=k", "", "X-Tenant", "red")
	k.do(200, "POST", "/v1/workflows/asking/runs?to=A", "")
	require.NoError(t, e.Flush(t.Context()))
	count := func(query string, headers ...string) int {
		return len(k.do(200, "GET", "/v1/runs?"+query, "", headers...)["runs"].([]any))
	}
	require.Equal(t, 4, count("status=aside"))
	first := k.do(200, "POST", "/v1/runs/resume?workflow=broken&limit=1&reason=up+again", "")
	assert.Equal(t, []any{1., 0.}, []any{first["again"], first["left"]})
	assert.Equal(t, 3, count("status=aside"), "a few first")
	assert.Equal(t, "up again", k.do(200, "GET", "/v1/runs/"+first["next"].(string), "")["note"])
	rest := k.do(200, "POST", "/v1/runs/resume?workflow=broken&after="+first["next"].(string), "")
	assert.Equal(t, map[string]any{"again": 3., "left": 0.}, rest)
	assert.Zero(t, count("status=aside"))
	assert.Equal(t, 1, count("status=aside", "X-Tenant", "red"))
	assert.Equal(t, map[string]any{"again": 0., "left": 1.}, k.do(200, "POST", "/v1/runs/resume?workflow=asking&status=open,aside&step=look", ""))
	for _, query := range []string{"", "?status=aside", "?workflow=broken&status=done", "?workflow=broken&limit=0", "?workflow=broken&to=A", "?workflow=broken&reason=" + strings.Repeat("x", maxReason+1)} {
		k.do(400, "POST", "/v1/runs/resume"+query, "")
	}
}

func TestRunsThatAreRefused(t *testing.T) {
	k, e := newRunKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"})
	for query, status := range map[string]int{"asking/runs": 400, "asking/runs?to=A&all=1": 400, "asking/runs?all=1": 400, "asking/runs?to=A&state=x&all=1": 400,
		"asking/runs?to=A&typo=1": 400, "asking/runs?to=red~A": 404, "other/runs?to=A": 404, "asking/runs?all=1&key=k&state=odd": 400,
		"asking/runs?to=A&key=" + strings.Repeat("x", 256): 400, "asking/runs?to=A" + strings.Repeat(",A", 1000): 400} {
		k.do(status, "POST", "/v1/workflows/"+query, "")
	}
	for _, query := range []string{"?status=odd", "?limit=0", "?state=1", "?enrollment=a/b/c", "?tenant=red"} {
		k.do(400, "GET", "/v1/runs"+query, "")
	}
	assert.Empty(t, k.do(200, "GET", "/v1/runs", "")["runs"])

	plain := newKit(t, func(c *Config) { c.Workflows = e })
	plain.do(404, "POST", "/v1/workflows/asking/runs?to=A", "")
	assert.Equal(t, []any{}, plain.do(200, "GET", "/v1/workflows", "")["workflows"])
	_, err := New(Config{Stores: k.stores, Tokens: []mdm.Secret{mdm.SecretString(token)}, MayBegin: []string{"asking"}})
	require.ErrorContains(t, err, "MayBegin")
	looking := newKit(t)
	assert.Equal(t, 404, looking.raw("POST", "/v1/runs/x/cancel", "", "Authorization", "Bearer "+token).Code, "there is no engine")
	assert.Empty(t, looking.do(200, "GET", "/v1/runs", "")["runs"])
}

func TestRunsOfTenants(t *testing.T) {
	k, e := newRunKit(t)
	k.enroll(mdm.EnrollmentID{Tenant: "red", Device: "A"}, mdm.EnrollmentID{Tenant: "blue", Device: "A"})
	answer := k.do(200, "POST", "/v1/workflows/broken/runs?all=1&key=k", "", "X-Tenant", "red")
	assert.Equal(t, 1., answer["begun"])
	require.NoError(t, e.Flush(t.Context()))
	runs := k.do(200, "GET", "/v1/runs", "", "X-Tenant", "red")["runs"].([]any)
	require.Len(t, runs, 1)
	id := runs[0].(map[string]any)["id"].(string)
	for _, path := range []string{"", "?state=1"} {
		k.do(404, "GET", "/v1/runs/"+id+path, "", "X-Tenant", "blue")
	}
	for _, path := range []string{"/cancel", "/resume"} {
		k.do(404, "POST", "/v1/runs/"+id+path, "", "X-Tenant", "blue")
	}
	k.do(404, "POST", "/v1/workflows/broken/runs?to=red~A", "", "X-Tenant", "blue")
	assert.Empty(t, k.do(200, "GET", "/v1/runs", "", "X-Tenant", "blue")["runs"])
	for _, w := range k.do(200, "GET", "/v1/workflows", "", "X-Tenant", "blue")["workflows"].([]any) {
		assert.Zero(t, w.(map[string]any)["runs"])
	}
	k.do(404, "GET", "/v1/runs?enrollment=red~A", "", "X-Tenant", "blue")
	r, err := k.stores.Runs.Run(t.Context(), "red", id)
	require.NoError(t, err)
	assert.Equal(t, workflow.Aside, r.Status)
}
