package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func TestWaves(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "A", User: "anna"}, mdm.EnrollmentID{Device: "B"}, mdm.EnrollmentID{Tenant: "other", Device: "C"})
	begun := k.do(200, "POST", "/v1/waves?all=1&channel=device&rate=5&id=refresh", "")
	assert.Equal(t, "refresh", begun["id"])
	assert.Equal(t, map[string]any{"channel": "device"}, begun["to"])
	for key, want := range map[string]float64{"rate": 5, "total": 2, "woken": 0, "percent": 0} {
		assert.Equal(t, want, begun[key], key)
	}
	assert.NotContains(t, begun, "estimatedEnd", "nobody can say yet")
	assert.Equal(t, begun, k.do(200, "POST", "/v1/waves?all=1&id=refresh", ""), "begun again, it is the one that is there")

	w, err := k.stores.Waves.Wave(t.Context(), "", "refresh")
	require.NoError(t, err)
	w, err = k.stores.Waves.AdvanceWave(t.Context(), w, push.Step{At: time.Now(), Max: 1})
	require.NoError(t, err)
	half := k.do(200, "GET", "/v1/waves/refresh", "")
	assert.Equal(t, 50., half["percent"])
	assert.Contains(t, half, "estimatedEnd")
	assert.NotContains(t, half, "endedAt")
	for w.Open() {
		w, err = k.stores.Waves.AdvanceWave(t.Context(), w, push.Step{At: time.Now(), Max: 1})
		require.NoError(t, err)
	}
	done := k.do(200, "GET", "/v1/waves/refresh", "")
	assert.Equal(t, 100., done["percent"])
	assert.Equal(t, 2., done["woken"])
	assert.Contains(t, done, "endedAt")

	second := k.do(200, "POST", "/v1/waves?all=1", "")
	assert.Equal(t, 3., second["total"], "users, too")
	page := k.do(200, "GET", "/v1/waves?limit=1", "")
	require.Len(t, page["waves"], 1)
	assert.Equal(t, second["id"], page["next"])
	page = k.do(200, "GET", "/v1/waves?limit=1&after="+page["next"].(string), "")
	require.Len(t, page["waves"], 1)
	assert.NotContains(t, page, "next")
	assert.Len(t, k.do(200, "GET", "/v1/waves?open=1", "")["waves"], 1)

	canceled := k.do(200, "DELETE", "/v1/waves/"+second["id"].(string), "")
	assert.Equal(t, true, canceled["canceled"])
	assert.Empty(t, k.do(200, "GET", "/v1/waves?open=1", "")["waves"])
	k.do(404, "GET", "/v1/waves/none", "")
	k.do(404, "DELETE", "/v1/waves/none", "")
}

func TestWavesThatAreRefused(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"})
	for _, query := range []string{"", "?all=0", "?channel=device", "?all=1&to=A", "?all=1&rate=-1", "?all=1&rate=x", "?all=1&rate=1000001",
		"?all=1&state=odd", "?all=1&id=a%20b", "?all=1&limit=5", "?all=1&after=A"} {
		answer := k.do(400, "POST", "/v1/waves"+query, "")
		assert.Equal(t, "malformed", answer["error"].(map[string]any)["code"], query)
	}
	for _, query := range []string{"?open=odd", "?limit=0", "?tenant=other"} {
		k.do(400, "GET", "/v1/waves"+query, "")
	}
	assert.Empty(t, k.do(200, "GET", "/v1/waves", "")["waves"])
}

func TestWavesOfTenants(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Authorize = func(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }
	})
	k.enroll(mdm.EnrollmentID{Tenant: "red", Device: "A"}, mdm.EnrollmentID{Tenant: "blue", Device: "A"})
	red := k.do(200, "POST", "/v1/waves?all=1&id=wave", "", "X-Tenant", "red")
	assert.Equal(t, 1., red["total"])
	k.do(404, "GET", "/v1/waves/wave", "", "X-Tenant", "blue")
	k.do(404, "DELETE", "/v1/waves/wave", "", "X-Tenant", "blue")
	assert.Empty(t, k.do(200, "GET", "/v1/waves", "", "X-Tenant", "blue")["waves"])
	assert.Len(t, k.do(200, "GET", "/v1/waves", "", "X-Tenant", "red")["waves"], 1)
}
