package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func TestABMSyncInWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	has := dep.Token{ConsumerKey: "CK"}
	held := dep.Sync{Round: 1, Fetched: 7, Holder: "somebody", HeldUntil: now.Add(time.Second)}
	left := dep.Sync{Round: 1, Fetched: 7, Holder: "somebody", HeldUntil: now.Add(-time.Second)}
	with := func(y dep.Sync, p dep.Phase) dep.Sync { y.Phase = p; return y }
	for _, c := range []struct {
		server  dep.Server
		state   string
		text    string
		running bool
	}{
		{dep.Server{Sync: held}, "no-token", "there is no server token yet", true},
		{dep.Server{Token: has, Stopped: &dep.Problem{}, Sync: dep.Sync{NotBefore: now.Add(time.Hour)}}, "stopped", "somebody does something", false},
		{dep.Server{Token: has, Sync: dep.Sync{NotBefore: now.Add(time.Hour)}}, "waiting", "2026-11-02T10:00:00Z", false},
		{dep.Server{Token: has, Sync: dep.Sync{NotBefore: now}}, "new", "not been fetched", false},
		{dep.Server{Token: has, Sync: held}, "fetching", "fetched: 7 so far", true},
		{dep.Server{Token: has, Sync: left}, "fetching", "fetched, when it goes on: 7 so far", false},
		{dep.Server{Token: has, Sync: with(held, dep.PhaseSweep)}, "sweeping", "all 7 devices", true},
		{dep.Server{Token: has, Sync: with(left, dep.PhaseChange)}, "changes", "all devices are known", false},
	} {
		got := shownSync(&c.server, now)
		assert.Equal(t, c.state, got.State)
		assert.Contains(t, got.Text, c.text)
		assert.Equal(t, c.running, got.Running, c.state)
		assert.Equal(t, c.state == "waiting" || c.state == "stopped", !got.NotBefore.IsZero(), c.state)
	}
}

// TestABMFetchThatGoesOn is not begun anew by an operator who asks twice.
func TestABMFetchThatGoesOn(t *testing.T) {
	k := newABMKit(t)
	k.ready("C02A")
	round := func() int {
		v, err := k.stores.DEP.Server(t.Context(), mainKey)
		require.NoError(t, err)
		return v.Sync.Round
	}
	before := round()
	k.do(202, "POST", "/v1/abm/servers/main/sync?full=1", "")
	assert.Equal(t, before+1, round())
	_, err := k.stores.DEP.ChangeServer(t.Context(), mainKey, func(v *dep.Server) error {
		v.Sync.Take("another process", time.Now(), time.Hour)
		return nil
	})
	require.NoError(t, err)
	k.do(202, "POST", "/v1/abm/servers/main/sync?full=1", "")
	assert.Equal(t, before+1, round())
}

// noChange is a store that is lost when a server is changed.
type noChange struct{ dep.Store }

func (noChange) ChangeServer(context.Context, dep.Key, func(*dep.Server) error) (dep.Server, error) {
	return dep.Server{}, mdm.Errorf(mdm.Unavailable, "test", "the store is away")
}

func TestABMProfileThatIsNotRemembered(t *testing.T) {
	k := newABMKit(t)
	k.ready()
	k.assigner.Store = noChange{k.assigner.Store}
	assert.Equal(t, "unavailable", k.no(503, "POST", "/v1/abm/servers/main/profiles", profileJSON)["code"])
	said := regexp.MustCompile(`the profile (\w+) is defined at Apple`).FindStringSubmatch(k.log.String())
	require.Len(t, said, 2, "the log has its UUID")
	_, _, ok := k.apple.Profile(said[1])
	assert.True(t, ok)
}

func TestABMOfTenants(t *testing.T) {
	k := newABMKit(t, func(c *Config) {
		c.Tokens, c.Authorize = nil, func(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }
	})
	k.apple.AddSerials(k.server, "C02A")
	enlisted := k.do(200, "PUT", "/v1/abm/servers/main", "", "X-Tenant", "red")
	k.do(200, "PUT", "/v1/abm/servers/main/token", k.token(k.server, enlisted), "X-Tenant", "red")
	_, err := k.syncer.Sync(t.Context(), dep.Key{Tenant: "red", Name: "main"})
	require.NoError(t, err)
	assert.Len(t, k.do(200, "GET", "/v1/abm/servers/main/devices", "", "X-Tenant", "red")["devices"], 1)
	assert.Len(t, k.do(200, "GET", "/v1/abm/devices/C02A", "", "X-Tenant", "red")["devices"], 1)

	assert.Empty(t, k.do(200, "GET", "/v1/abm/servers", "", "X-Tenant", "blue")["servers"])
	for _, c := range [][3]string{
		{"GET", "", ""},
		{"GET", "/devices", ""},
		{"GET", "/profiles", ""},
		{"POST", "/profiles", profileJSON},
		{"POST", "/sync?full=1", ""},
		{"PUT", "/token", k.token(k.server, enlisted)},
		{"PUT", "/profile", `{"uuid": "P"}`},
		{"PUT", "/devices/profile", `{"uuid": "P", "serials": ["C02A"]}`},
	} {
		assert.Equal(t, "no such server", k.no(404, c[0], "/v1/abm/servers/main"+c[1], c[2], "X-Tenant", "blue")["message"], c)
	}
	k.no(404, "GET", "/v1/abm/devices/C02A", "", "X-Tenant", "blue")
	mine := k.do(200, "PUT", "/v1/abm/servers/main", "", "X-Tenant", "blue")
	assert.NotEqual(t, enlisted["certificate"], mine["certificate"], "another server of the same name")
}

func TestABMIsOptional(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Stores.DEP = nil })
	assert.Equal(t, http.StatusNotFound, k.raw("GET", "/v1/abm/servers", "", "Authorization", "Bearer "+token).Code)

	k = newKit(t) // nobody here asks Apple
	k.do(200, "PUT", "/v1/abm/servers/main", "")
	assert.Equal(t, "P", k.do(200, "PUT", "/v1/abm/servers/main/profile", `{"uuid": "P"}`)["profile"])
	assert.Equal(t, http.StatusNotFound, k.raw("POST", "/v1/abm/servers/main/sync", "", "Authorization", "Bearer "+token).Code)
	assert.Equal(t, http.StatusMethodNotAllowed, k.raw("POST", "/v1/abm/servers/main/profiles", "", "Authorization", "Bearer "+token).Code)

	stores := k.stores
	for _, change := range []func(*Config){
		func(c *Config) { c.Stores.DEP, c.Syncer = nil, &dep.Syncer{Store: stores.DEP} },
		func(c *Config) { c.Syncer = &dep.Syncer{} },
		func(c *Config) { c.Assigner = &dep.Assigner{Store: stores.DEP} },
	} {
		cfg := Config{Stores: stores, Authorize: func(*http.Request) (string, error) { return "", nil }}
		change(&cfg)
		_, err := New(cfg)
		require.Error(t, err)
	}
}

// TestABMDescription holds what is answered and its description against each other.
func TestABMDescription(t *testing.T) {
	t.Parallel()
	type schema struct {
		Required   []string           `json:"required"`
		Properties map[string]*schema `json:"properties"`
	}
	var doc struct {
		Components struct {
			Schemas map[string]*schema `json:"schemas"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(description, &doc))
	var hold func(where string, of reflect.Type, s *schema)
	hold = func(where string, of reflect.Type, s *schema) {
		var described, always, answered, required []string
		for key := range s.Properties {
			described = append(described, key)
		}
		always = append(always, s.Required...)
		for field := range of.Fields() {
			key, option, _ := strings.Cut(field.Tag.Get("json"), ",")
			answered = append(answered, key)
			if option == "" {
				required = append(required, key)
			}
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && strings.HasPrefix(inner.Name(), "abm") {
				hold(where+"."+key, inner, s.Properties[key])
			}
		}
		assert.ElementsMatch(t, answered, described, where)
		assert.ElementsMatch(t, required, always, where)
	}
	for name, of := range map[string]reflect.Type{"ABMServer": reflect.TypeFor[abmServer](), "ABMDevice": reflect.TypeFor[abmDevice](), "ABMProfile": reflect.TypeFor[abmProfile]()} {
		require.Contains(t, doc.Components.Schemas, name)
		hold(name, of, doc.Components.Schemas[name])
	}
}
