package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

const token = "a-token-of-some-length"

// kit is an API over a store in memory.
type kit struct {
	*testing.T
	http.Handler
	stores storage.Stores
}

func newKit(t *testing.T, change ...func(*Config)) *kit {
	t.Helper()
	k := &kit{T: t, stores: memory.New().Stores()}
	cfg := Config{Stores: k.stores, Tokens: []mdm.Secret{mdm.SecretString("another-token-of-some-length"), mdm.SecretString(token)}}
	for _, f := range change {
		f(&cfg)
	}
	h, err := New(cfg)
	require.NoError(t, err)
	k.Handler = h
	return k
}

func (k *kit) enroll(ids ...mdm.EnrollmentID) {
	k.Helper()
	var plan checkin.Plan
	for _, id := range ids {
		channel := mdm.DeviceChannel
		if id.IsUser() {
			channel = mdm.UserChannel
		}
		plan.Enrollments = append(plan.Enrollments, mdm.Enrollment{ID: id, Channel: channel, State: mdm.Enrolled, Generation: 1, Topic: "com.apple.mgmt.x",
			PushToken: []byte("PUSHTOKEN"), PushMagic: "PUSHMAGIC", Device: mdm.Device{SerialNumber: "SN" + id.Device, Supervised: mdm.Yes}, EnrolledAt: time.Now()})
	}
	require.NoError(k, k.stores.Checkin.Update(k.Context(), checkin.Key{ID: ids[0]}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
}

// do asks the API and returns the answer, which must have the status.
func (k *kit) do(status int, method, target, body string, headers ...string) map[string]any {
	k.Helper()
	w := k.raw(method, target, body, append([]string{"Authorization", "Bearer " + token}, headers...)...)
	require.Equal(k, status, w.Code, w.Body.String())
	require.Equal(k, "application/json", w.Header().Get("Content-Type"))
	assert.Equal(k, "no-store", w.Header().Get("Cache-Control"))
	assert.NotContains(k, w.Body.String(), "PUSH")
	var answer map[string]any
	require.NoError(k, json.Unmarshal(w.Body.Bytes(), &answer))
	return answer
}

func (k *kit) raw(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	k.Helper()
	r := httptest.NewRequestWithContext(k.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	return w
}

const rawCommand = `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CommandUUID</key><string>MY-UUID</string>
<key>Command</key><dict><key>RequestType</key><string>SecurityInfo</string></dict></dict></plist>`

func TestTokenIsNeeded(t *testing.T) {
	k := newKit(t)
	for _, header := range []string{"", "Bearer ", "Bearer wrong", token, "Basic " + token, "Bearer " + token + "x"} {
		w := k.raw("GET", "/v1/enrollments", "", "Authorization", header)
		assert.Equal(t, http.StatusUnauthorized, w.Code, header)
		assert.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
	}
	assert.Equal(t, http.StatusOK, k.raw("GET", "/v1/openapi.json", "").Code)
	for _, cfg := range []Config{{}, {Stores: k.stores}, {Stores: k.stores, Tokens: []mdm.Secret{mdm.SecretString("short")}}} {
		_, err := New(cfg)
		require.Error(t, err)
	}
}

func TestEnrollments(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "A", User: "anna"}, mdm.EnrollmentID{Device: "B"}, mdm.EnrollmentID{Tenant: "other", Device: "C"})
	var ids []string
	for next, pages := "", 0; ; pages++ {
		answer := k.do(200, "GET", "/v1/enrollments?limit=2&after="+next, "")
		for _, e := range answer["enrollments"].([]any) {
			ids = append(ids, e.(map[string]any)["id"].(string))
		}
		if answer["next"] == nil {
			assert.Equal(t, 1, pages)
			break
		}
		next = answer["next"].(string)
	}
	assert.Equal(t, []string{"A", "A/anna", "B"}, ids)
	assert.Len(t, k.do(200, "GET", "/v1/enrollments?channel=device&state=enrolled&serial=SNB", "")["enrollments"], 1)
	assert.Empty(t, k.do(200, "GET", "/v1/enrollments?state=ended", "")["enrollments"])

	one := k.do(200, "GET", "/v1/enrollments/A%2Fanna", "")
	assert.Equal(t, "user", one["channel"])
	assert.Equal(t, true, one["reachable"])
	assert.Equal(t, true, one["supervised"])
	assert.NotContains(t, one, "automated", "nobody knows")
	k.do(404, "GET", "/v1/enrollments/nobody", "")
	k.do(404, "GET", "/v1/enrollments/other~C", "")
	for _, query := range []string{"?limit=0", "?limit=x", "?limit=1001", "?state=odd", "?channel=odd", "?after=a/b/c", "?stat=enrolled", "?limit=1&limit=2"} {
		answer := k.do(400, "GET", "/v1/enrollments"+query, "")
		assert.Equal(t, "malformed", answer["error"].(map[string]any)["code"], query)
	}
}

func TestRawCommand(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "B"})
	answer := k.do(200, "POST", "/v1/commands?to=A,B,nobody&push=0", rawCommand)
	assert.Equal(t, "MY-UUID", answer["uuid"])
	assert.Equal(t, "SecurityInfo", answer["requestType"])
	assert.EqualValues(t, 2, answer["queued"])
	assert.EqualValues(t, 1, answer["refused"])
	targets := answer["targets"].([]any)
	require.Len(t, targets, 3)
	outcomes := map[any]any{}
	for _, x := range targets {
		outcomes[x.(map[string]any)["id"]] = x.(map[string]any)["outcome"]
	}
	assert.Equal(t, map[any]any{"A": "queued", "B": "queued", "nobody": "refused"}, outcomes)
	due, err := k.stores.Push.DuePushes(t.Context(), time.Now().Add(time.Hour), 10, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, due, "push=0")

	again := k.do(200, "POST", "/v1/commands?to=A&to=B", rawCommand)
	assert.EqualValues(t, 2, again["queued"], "it is on the queues already")
	list := k.do(200, "GET", "/v1/enrollments/A/commands", "")["commands"].([]any)
	require.Len(t, list, 1)
	assert.Equal(t, "queued", list[0].(map[string]any)["state"])
	assert.NotContains(t, list[0], "body", "it is there if it is asked for")
	list = k.do(200, "GET", "/v1/commands/MY-UUID?bodies=1&limit=1", "")["commands"].([]any)
	assert.Contains(t, list[0].(map[string]any)["body"], "SecurityInfo")
	assert.Len(t, k.do(200, "GET", "/v1/commands/MY-UUID?limit=1&after=A", "")["commands"], 1)
	k.do(404, "GET", "/v1/enrollments/nobody/commands", "")

	assert.EqualValues(t, 1, k.do(200, "DELETE", "/v1/commands/MY-UUID?to=A", "")["canceled"])
	assert.EqualValues(t, 1, k.do(200, "DELETE", "/v1/commands/MY-UUID?all=1", "")["canceled"])
	assert.Len(t, k.do(200, "GET", "/v1/commands/MY-UUID?state=canceled", "")["commands"], 2)
}

func TestJSONCommand(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "B"})
	const body = `{"RequestType": "DeviceInformation", "Queries": ["OSVersion"]}`
	answer := k.do(200, "POST", "/v1/commands?all=1&serial=SNA&priority=inventory&collapse=info&notAfter=2099-01-01T00:00:00Z", body, "Content-Type", "application/json")
	assert.EqualValues(t, 1, answer["queued"])
	assert.NotContains(t, answer, "targets", "with all, only who was refused is listed")
	answer = k.do(200, "POST", "/v1/commands?all=1&collapse=info", body, "Content-Type", "application/json")
	assert.EqualValues(t, 1, answer["collapsed"])
	assert.EqualValues(t, 1, answer["queued"])
	due, err := k.stores.Push.DuePushes(t.Context(), time.Now().Add(time.Hour), 10, time.Minute)
	require.NoError(t, err)
	assert.Len(t, due, 2)
	assert.EqualValues(t, 2, k.do(200, "POST", "/v1/push?all=1", "")["woken"])
}

func TestStreamedOrder(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "B"})
	w := k.raw("POST", "/v1/commands?all=1", rawCommand, "Authorization", "Bearer "+token, "Accept", "application/x-ndjson")
	require.Equal(t, 200, w.Code)
	assert.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
	var lines []map[string]any
	for d := json.NewDecoder(w.Body); ; {
		var line map[string]any
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		lines = append(lines, line)
	}
	require.Len(t, lines, 4)
	assert.Equal(t, "queued", lines[0]["outcome"])
	assert.Equal(t, false, lines[2]["done"])
	assert.Equal(t, true, lines[3]["done"])
	assert.EqualValues(t, 2, lines[3]["queued"])
}

func TestOrdersThatAreRefused(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"})
	for target, body := range map[string]string{
		"/v1/commands":                              rawCommand,
		"/v1/commands?all=0":                        rawCommand,
		"/v1/commands?to=A&all=1":                   rawCommand,
		"/v1/commands?state=enrolled":               rawCommand,
		"/v1/commands?to=":                          rawCommand,
		"/v1/commands?to=A&push=no":                 rawCommand,
		"/v1/commands?to=A&priority=9":              rawCommand,
		"/v1/commands?to=A&notBefore=today":         rawCommand,
		"/v1/commands?to=A&supersede=1":             rawCommand,
		"/v1/commands?to=A&uuid=ANOTHER":            rawCommand,
		"/v1/commands?to=A&typo=1":                  rawCommand,
		"/v1/commands?to=A&all=1&typo=1&collapse=x": "",
		"/v1/commands?to=A&collapse=y":              "",
		"/v1/commands?to=A&collapse=z":              "hello",
	} {
		answer := k.do(400, "POST", target, body)
		assert.NotEmpty(t, answer["error"].(map[string]any)["message"], target)
	}
	k.do(413, "POST", "/v1/commands?to=A", strings.Repeat("x", maxBody+1))
	k.do(404, "POST", "/v1/commands?to=other~A", rawCommand)
	assert.Empty(t, k.do(200, "GET", "/v1/enrollments/A/commands", "")["commands"])
}

func TestEndAndEvents(t *testing.T) {
	ended := map[mdm.EnrollmentID]string{}
	k := newKit(t, func(c *Config) {
		c.End = func(_ context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error {
			assert.Zero(t, g, "whatever is there")
			ended[id] = reason
			return nil
		}
	})
	k.enroll(mdm.EnrollmentID{Device: "A"})
	k.do(200, "POST", "/v1/enrollments/A/end?reason=lost", "")
	assert.Equal(t, map[mdm.EnrollmentID]string{{Device: "A"}: "lost"}, ended)
	k.do(200, "POST", "/v1/commands?to=A", rawCommand)
	answer := k.do(200, "GET", "/v1/events?limit=1", "")
	assert.Len(t, answer["events"], 1)
	assert.NotEmpty(t, answer["next"])
	assert.Empty(t, k.do(200, "GET", "/v1/asides", "")["asides"])
}

func TestTenants(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Authorize = func(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }
	})
	k.enroll(mdm.EnrollmentID{Tenant: "red", Device: "A"}, mdm.EnrollmentID{Tenant: "blue", Device: "A"})
	answer := k.do(200, "POST", "/v1/commands?all=1", rawCommand, "X-Tenant", "red")
	assert.EqualValues(t, 1, answer["queued"])
	assert.Empty(t, k.do(200, "GET", "/v1/commands/MY-UUID", "", "X-Tenant", "blue")["commands"])
	assert.EqualValues(t, 0, k.do(200, "DELETE", "/v1/commands/MY-UUID?all=1", "", "X-Tenant", "blue")["canceled"])
	assert.Len(t, k.do(200, "GET", "/v1/enrollments/A/commands", "", "X-Tenant", "red")["commands"], 1)
	k.do(404, "GET", "/v1/enrollments/red~A", "", "X-Tenant", "blue")
}

func TestFailuresSayNothing(t *testing.T) {
	db := memory.New()
	h, err := New(Config{Stores: db.Stores(), Tokens: []mdm.Secret{mdm.SecretString(token)}})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	k := &kit{T: t, Handler: h}
	answer := k.do(503, "GET", "/v1/enrollments", "")
	assert.NotContains(t, answer["error"].(map[string]any)["message"], "closed")
}

// fanOuts is a store with an order under way.
type fanOuts struct{}

func (fanOuts) Resume(context.Context) (bool, error) { return false, nil }

func (fanOuts) FanOuts(context.Context, string) ([]command.FanOut, error) {
	return []command.FanOut{{RequestType: "SecurityInfo", BegunAt: time.Unix(1, 0).UTC(), Done: command.Receipt{UUID: "U", Queued: 5}}}, nil
}

func TestOrdersUnderWay(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Stores.FanOuts = fanOuts{} })
	assert.Equal(t, []any{map[string]any{"uuid": "U", "requestType": "SecurityInfo", "queued": 5., "collapsed": 0., "refused": 0., "done": false,
		"begunAt": "1970-01-01T00:00:01Z"}}, k.do(200, "GET", "/v1/orders", "")["orders"])
}

// TestDescription holds the routes and the description against each other.
func TestDescription(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	require.NoError(t, json.NewDecoder(bytes.NewReader(description)).Decode(&doc))
	var described, served []string
	for path, methods := range doc.Paths {
		for method := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	k := newKit(t)
	stores := k.stores
	stores.FanOuts = fanOuts{}
	a := &api{cfg: Config{Stores: stores, Expiry: &expiry.Calendar{}, Workflows: &workflow.Engine{}, Syncer: &dep.Syncer{}, Assigner: &dep.Assigner{}, End: func(context.Context, mdm.EnrollmentID, mdm.Generation, string) error { return nil }}}
	for pattern := range a.table() {
		served = append(served, pattern)
	}
	slices.Sort(described)
	slices.Sort(served)
	assert.Equal(t, served, described)
}
