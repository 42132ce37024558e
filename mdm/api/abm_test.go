package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

const profileJSON = `{"profile_name": "Firm", "url": "https://mdm.example.com/enroll", "is_supervised": true, "is_mdm_removable": false, "something_new": 7}`

// TestABMFromNothing is what an operator does, with a syncer and an assigner that run.
func TestABMFromNothing(t *testing.T) {
	k := newABMKit(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = k.syncer.Run(ctx) })
	running.Go(func() { _ = k.assigner.Run(ctx) })
	defer running.Wait()
	defer stop()
	k.apple.AddSerials(k.server, "C02A", "C02B", "C02C")
	state := func() map[string]any { return k.do(200, "GET", "/v1/abm/servers/main", "") }
	settled := func(ok func(server map[string]any) bool) {
		t.Helper()
		require.Eventually(t, func() bool { return ok(state()) }, 20*time.Second, 5*time.Millisecond)
	}

	assert.Empty(t, k.do(200, "GET", "/v1/abm/servers", "")["servers"])
	enlisted := k.do(200, "PUT", "/v1/abm/servers/main", "")
	assert.Contains(t, enlisted["certificate"], "BEGIN CERTIFICATE")
	assert.NotContains(t, enlisted, "token")
	assert.Equal(t, "no-token", enlisted["sync"].(map[string]any)["state"])
	assert.Equal(t, enlisted, k.do(200, "PUT", "/v1/abm/servers/main", ""), "it is the same one")
	assert.Equal(t, enlisted, state())

	imported := k.do(200, "PUT", "/v1/abm/servers/main/token", k.token(k.server, enlisted))
	assert.Equal(t, false, imported["token"].(map[string]any)["expired"])
	assert.NotEmpty(t, imported["token"].(map[string]any)["expires"])
	settled(func(v map[string]any) bool { // at once, by the import
		return v["sync"].(map[string]any)["state"] == "changes" && v["sync"].(map[string]any)["running"] == false
	})
	v := state()
	assert.Equal(t, "MDM", v["serverName"])
	assert.Equal(t, "Example Inc.", v["organization"])
	assert.NotEmpty(t, v["admin"])
	assert.Equal(t, 3., v["devices"])

	defined := k.do(200, "POST", "/v1/abm/servers/main/profiles", profileJSON)
	uuid := defined["uuid"].(string)
	given, _, ok := k.apple.Profile(uuid)
	require.True(t, ok)
	assert.Contains(t, string(given), "something_new", "Apple may know more than we do")
	list := k.do(200, "GET", "/v1/abm/servers/main/profiles", "")["profiles"].([]any)
	assert.Equal(t, []any{defined}, list)
	assert.Equal(t, uuid, k.do(200, "PUT", "/v1/abm/servers/main/profile", `{"uuid": "`+uuid+`"}`)["profile"])
	settled(func(map[string]any) bool { d, _, _ := k.apple.Device("C02B"); return d.ProfileUUID == uuid })
	settled(func(v map[string]any) bool { return v["due"] == 0. })
	list = k.do(200, "GET", "/v1/abm/servers/main/profiles", "")["profiles"].([]any)
	assert.Equal(t, true, list[0].(map[string]any)["default"])

	k.apple.AddSerials(k.server, "C02D")
	assert.Equal(t, "main", k.do(202, "POST", "/v1/abm/servers/main/sync", "")["name"])
	settled(func(v map[string]any) bool { return v["devices"] == 4. })
	before, err := k.stores.DEP.Server(t.Context(), mainKey)
	require.NoError(t, err)
	assert.Equal(t, "fetching", k.do(202, "POST", "/v1/abm/servers/main/sync?full=1", "")["sync"].(map[string]any)["state"])
	settled(func(v map[string]any) bool { return v["sync"].(map[string]any)["state"] == "changes" })
	after, err := k.stores.DEP.Server(t.Context(), mainKey)
	require.NoError(t, err)
	assert.Equal(t, before.Sync.Round+1, after.Sync.Round)

	one := k.do(200, "GET", "/v1/abm/servers", "")["servers"].([]any)[0].(map[string]any)
	assert.Equal(t, 4., one["devices"])
	assert.NotContains(t, one, "certificate")
	text, err := json.Marshal([]any{one, state(), imported, list})
	require.NoError(t, err)
	k.noSecrets(string(text), k.log.String())
}

func TestABMTokensThatAreRefused(t *testing.T) {
	k := newABMKit(t)
	k.no(404, "PUT", "/v1/abm/servers/main/token", "anything")
	enlisted := k.do(200, "PUT", "/v1/abm/servers/main", "")
	foreign := k.do(200, "PUT", "/v1/abm/servers/foreign", "")
	const target = "/v1/abm/servers/main/token"
	assert.Equal(t, "malformed", k.no(400, "PUT", target, "")["code"])
	assert.Equal(t, "not a token", k.no(400, "PUT", target, "hello")["code"])
	refused := k.no(400, "PUT", target, k.token(k.server, foreign))
	assert.Equal(t, "other key", refused["code"])
	assert.Contains(t, refused["message"], "certificate of this server")
	assert.Equal(t, "too large", k.no(413, "PUT", target, strings.Repeat("x", maxTokenFile+1))["code"])
	assert.Equal(t, "no-token", k.do(200, "GET", "/v1/abm/servers/main", "")["sync"].(map[string]any)["state"], "nothing was kept")

	k.do(200, "PUT", target, k.token(k.server, enlisted))
	other := k.token(k.apple.Server("Other"), enlisted)
	refused = k.no(409, "PUT", target, other)
	assert.Equal(t, "other server", refused["code"])
	assert.Contains(t, refused["message"], "other=1")
	assert.NotContains(t, refused["message"], "malformed", "where it comes from is for logs")
	k.no(400, "PUT", target+"?other=yes", other)
	k.do(200, "PUT", target+"?other=1", other)
	k.sync()
	assert.Equal(t, "Other", k.do(200, "GET", "/v1/abm/servers/main", "")["serverName"])
	assert.NotContains(t, k.log.String(), "ERROR")
}

func TestABMDevices(t *testing.T) {
	k := newABMKit(t)
	k.ready("C02A", "C02B", "C02C", "C02D")
	k.apple.Unassign("C02D")
	k.sync()
	page := k.do(200, "GET", "/v1/abm/servers/main/devices?limit=2", "")
	assert.Len(t, page["devices"], 2)
	assert.Equal(t, "C02B", page["next"])
	page = k.do(200, "GET", "/v1/abm/servers/main/devices?limit=2&after=C02B", "")
	require.Len(t, page["devices"], 1)
	assert.NotContains(t, page, "next")
	assert.Len(t, k.do(200, "GET", "/v1/abm/servers/main/devices?gone=1", "")["devices"], 4)

	gone := k.device("C02D")
	assert.Equal(t, true, gone["gone"])
	assert.NotEmpty(t, gone["goneAt"])
	assert.Equal(t, "not on this server any more", gone["hold"].(map[string]any)["note"])
	d := k.device("C02A")
	assert.Equal(t, "main", d["server"])
	assert.NotContains(t, d, "wanted")
	assert.NotContains(t, d, "assignment")
	assert.Equal(t, map[string]any{"note": "no profile is assigned"}, d["hold"])

	firm := k.do(200, "POST", "/v1/abm/servers/main/profiles", profileJSON)["uuid"].(string)
	soft := k.do(200, "POST", "/v1/abm/servers/main/profiles", `{"profile_name": "Soft", "url": "https://mdm.example.com/enroll"}`)["uuid"].(string)
	k.do(200, "PUT", "/v1/abm/servers/main/profile", `{"uuid": "`+soft+`"}`)
	wanted := k.do(200, "PUT", "/v1/abm/servers/main/devices/profile", `{"uuid": "`+firm+`", "serials": ["C02B", "XXXX", "C02A", "C02B"]}`)
	assert.Equal(t, map[string]any{"uuid": firm, "devices": 2., "unknown": []any{"XXXX"}}, wanted)
	d = k.device("C02A")
	assert.Equal(t, firm, d["wanted"])
	assert.Equal(t, true, d["own"])
	assert.NotContains(t, d, "profile")
	assert.NotEmpty(t, d["assignment"].(map[string]any)["due"])
	k.apple.Say(dep.StatusNotAccessible, 1, "C02B")
	k.assign()
	refused := k.device("C02B")["assignment"].(map[string]any)
	assert.Equal(t, dep.StatusNotAccessible, refused["answer"])
	assert.Equal(t, 1., refused["tries"])
	assert.Equal(t, 1., k.do(200, "GET", "/v1/abm/servers/main", "")["due"])
	assert.Equal(t, soft, k.device("C02C")["profile"])

	k.apple.Activate("C02A")
	k.sync()
	d = k.device("C02A")
	assert.Equal(t, firm, d["profile"])
	assert.Equal(t, "pushed", d["status"])
	assert.Equal(t, map[string]any{"supervised": true, "removable": false, "note": "the profile Firm"}, d["hold"])
	assert.NotContains(t, d["assignment"], "due")

	k.do(200, "PUT", "/v1/abm/servers/main/devices/profile", `{"uuid": "", "serials": ["C02A"]}`)
	d = k.device("C02A")
	assert.Equal(t, soft, d["wanted"])
	assert.NotContains(t, d, "own")
	k.do(200, "PUT", "/v1/abm/servers/main/profile", `{"uuid": ""}`)
	assert.NotContains(t, k.device("C02A"), "wanted")
	assert.Empty(t, k.apple.Violations())
}

func TestABMDeviceThatMoves(t *testing.T) {
	k := newABMKit(t)
	k.ready("C02A")
	other := k.apple.Server("Other")
	k.do(200, "PUT", "/v1/abm/servers/second/token", k.token(other, k.do(200, "PUT", "/v1/abm/servers/second", "")))
	k.apple.Move(other, "C02A")
	k.sync()
	_, err := k.syncer.Sync(t.Context(), dep.Key{Name: "second"})
	require.NoError(t, err)
	list := k.do(200, "GET", "/v1/abm/devices/C02A", "")["devices"].([]any)
	require.Len(t, list, 2)
	assert.Equal(t, "second", list[0].(map[string]any)["server"], "where it is comes first")
	assert.Equal(t, true, list[1].(map[string]any)["gone"])
	k.no(404, "GET", "/v1/abm/devices/C02Z", "")
}

func TestABMRefusalsOfApple(t *testing.T) {
	k := newABMKit(t)
	k.do(200, "PUT", "/v1/abm/servers/main", "")
	const target = "/v1/abm/servers/main/profiles"
	for _, target := range []string{target, "/v1/abm/servers/main/sync"} {
		refused := k.no(409, "POST", target, profileJSON)
		assert.Equal(t, "no token", refused["code"])
		assert.Equal(t, dep.ErrNoToken.Help(), refused["message"])
	}
	k.ready()
	tests := []struct {
		fault                mdmtest.ABMFault
		status               int
		code, word, message  string
		wait                 string
		logged, neverAnswers string
	}{
		{mdmtest.ABMFault{Status: 403, Body: "T_C_NOT_SIGNED"}, 502, "refused", "T_C_NOT_SIGNED", dep.ErrTermsNotSigned.Help(), "", "T_C_NOT_SIGNED", ""},
		{mdmtest.ABMFault{Status: 429, RetryAfter: 90 * time.Second}, 503, "unavailable", "THROTTLED", "", "90", "", ""},
		{mdmtest.ABMFault{Status: 503, Body: "internal"}, 503, "unavailable", "", "", "5", "503", "internal"},
		{mdmtest.ABMFault{Cut: true}, 503, "unavailable", "", "", "5", "", "127.0.0.1"},
		{mdmtest.ABMFault{Status: 400, Body: "DEPARTMENT_INVALID"}, 400, "malformed", "DEPARTMENT_INVALID", "Apple does not take it: DEPARTMENT_INVALID", "", "", ""},
		{mdmtest.ABMFault{Status: 400, Body: "MALFORMED_REQUEST_BODY"}, 502, "refused", "MALFORMED_REQUEST_BODY", "", "", "", ""},
		{mdmtest.ABMFault{Status: 400, Body: "USER_AGENT_INVALID"}, 502, "refused", "USER_AGENT_INVALID", dep.ErrUserAgentInvalid.Help(), "", "", ""},
		{mdmtest.ABMFault{Status: 404, Body: "gone fishing"}, 502, "refused", "", "", "", "gone fishing", ""},
	}
	for _, c := range tests {
		k.log.Reset()
		k.apple.Queue("POST /profile", c.fault)
		w := k.raw("POST", target, profileJSON, "Authorization", "Bearer "+token)
		require.Equal(t, c.status, w.Code, "%v: %s", c.fault, w.Body)
		assert.Equal(t, c.wait, w.Header().Get("Retry-After"), c.fault)
		var answer struct {
			Error struct{ Code, Message, Word string }
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		assert.Equal(t, c.code, answer.Error.Code, c.fault)
		if c.word != "" {
			assert.Equal(t, c.word, answer.Error.Word)
		}
		if c.message != "" {
			assert.Equal(t, c.message, answer.Error.Message)
		}
		assert.NotEmpty(t, answer.Error.Message)
		assert.Contains(t, k.log.String(), c.logged)
		if c.neverAnswers != "" {
			assert.NotContains(t, w.Body.String(), c.neverAnswers)
		}
		k.noSecrets(w.Body.String(), k.log.String())
	}
	assert.Empty(t, k.do(200, "GET", target, "")["profiles"], "none was defined")

	k.apple.RequireTerms(true)
	_, err := k.syncer.Sync(t.Context(), mainKey)
	require.ErrorIs(t, err, dep.ErrTermsNotSigned)
	v := k.do(200, "GET", "/v1/abm/servers/main", "")
	assert.Equal(t, "stopped", v["sync"].(map[string]any)["state"])
	problem := v["problem"].(map[string]any)
	assert.Equal(t, "T_C_NOT_SIGNED", problem["word"])
	assert.Equal(t, dep.ErrTermsNotSigned.Help(), problem["text"])
	assert.NotEmpty(t, problem["since"])
}

func TestABMRequestsThatAreRefused(t *testing.T) {
	k := newABMKit(t)
	k.ready("C02A")
	serials := strings.Repeat(`"C02A",`, dep.MaxBatch) + `"C02A"`
	for _, c := range []struct {
		status               int
		method, target, body string
	}{
		{400, "PUT", "/v1/abm/servers/" + url.PathEscape("a\nb"), ""},
		{400, "PUT", "/v1/abm/servers/" + strings.Repeat("x", 256), ""},
		{404, "GET", "/v1/abm/servers/" + url.PathEscape("a\nb"), ""},
		{404, "GET", "/v1/abm/servers/none", ""},
		{404, "GET", "/v1/abm/servers/none/devices", ""},
		{404, "GET", "/v1/abm/servers/none/profiles", ""},
		{404, "POST", "/v1/abm/servers/none/sync", ""},
		{404, "POST", "/v1/abm/servers/none/profiles", profileJSON},
		{404, "PUT", "/v1/abm/servers/none/profile", `{"uuid": "P"}`},
		{404, "PUT", "/v1/abm/servers/none/devices/profile", `{"uuid": "P", "serials": ["C02A"]}`},
		{400, "GET", "/v1/abm/servers?tenant=red", ""},
		{400, "GET", "/v1/abm/servers/main/devices?limit=1001", ""},
		{400, "GET", "/v1/abm/servers/main/devices?after=a%20b", ""},
		{400, "GET", "/v1/abm/servers/main/devices?gone=odd", ""},
		{400, "GET", "/v1/abm/devices/" + strings.Repeat("C", 65), ""},
		{400, "POST", "/v1/abm/servers/main/sync?full=maybe", ""},
		{400, "PUT", "/v1/abm/servers/main/profile", ``},
		{400, "PUT", "/v1/abm/servers/main/profile", `{}`},
		{400, "PUT", "/v1/abm/servers/main/profile", `null`},
		{400, "PUT", "/v1/abm/servers/main/profile", `{"uuid": null}`},
		{400, "PUT", "/v1/abm/servers/main/profile", `{"uuid": "a b"}`},
		{400, "PUT", "/v1/abm/servers/main/profile", `{"uuid": "P", "serials": ["C02A"]}`},
		{400, "PUT", "/v1/abm/servers/main/profile", `{"uuid": "P"} {"uuid": "Q"}`},
		{400, "PUT", "/v1/abm/servers/main/devices/profile", `{"uuid": "P"}`},
		{400, "PUT", "/v1/abm/servers/main/devices/profile", `{"uuid": "P", "serials": []}`},
		{400, "PUT", "/v1/abm/servers/main/devices/profile", `{"serials": ["C02A"]}`},
		{400, "PUT", "/v1/abm/servers/main/devices/profile", `{"uuid": "P", "serials": ["C02A", ""]}`},
		{400, "PUT", "/v1/abm/servers/main/devices/profile", `{"uuid": "P", "serials": [` + serials + `]}`},
		{413, "PUT", "/v1/abm/servers/main/devices/profile", strings.Repeat(" ", maxObject+1)},
		{400, "POST", "/v1/abm/servers/main/profiles", `null`},
		{400, "POST", "/v1/abm/servers/main/profiles", `hello`},
		{400, "POST", "/v1/abm/servers/main/profiles", `{"profile_name": "X", "url": "http://mdm.example.com"}`},
		{400, "POST", "/v1/abm/servers/main/profiles", `{"profile_name": "X", "url": "https://mdm.example.com", "devices": ["C02A"]}`},
		{400, "POST", "/v1/abm/servers/main/profiles", `{"profile_name": "X", "url": "https://mdm.example.com", "devices": "C02A"}`},
		{413, "POST", "/v1/abm/servers/main/profiles", strings.Repeat(" ", maxProfile+1)},
	} {
		refused := k.no(c.status, c.method, c.target, c.body)
		assert.NotEmpty(t, refused["message"], "%s %.100s", c.target, c.body)
	}
	v, err := k.stores.DEP.Server(t.Context(), mainKey)
	require.NoError(t, err)
	assert.Empty(t, v.Profile)
	assert.Empty(t, v.Profiles)
	assert.NotContains(t, k.device("C02A"), "wanted")
	assert.Empty(t, k.apple.Violations())
}
