package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, runDemo(t.Context(), options{}, &out), "%s", &out)
	assert.Contains(t, out.String(), "all as expected")
	assert.NotContains(t, out.String(), "WRONG")
}

func TestDemoNoticesWhatIsWrong(t *testing.T) {
	t.Parallel()
	tour := &tour{app: &app{apns: mdmtest.NewAPNs()}, out: io.Discard}
	defer tour.apns.Close()
	tour.check("step", mdmtest.NewDevice(mdmtest.Config{}), "this", "that")
	require.ErrorContains(t, tour.report(nil), "1 of 1 checks came out wrong")
}

// running starts a quick start with one simulated device.
func running(t *testing.T) (*app, *mdmtest.Device) {
	t.Helper()
	a, err := newApp(t.Context(), options{listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: t.TempDir(), token: "secret"}, true)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done; a.Close() })
	d := mdmtest.NewDevice(mdmtest.Config{Name: "Phone", RootCAs: a.pki.roots(), APNs: a.apns})
	require.NoError(t, d.Enroll(t.Context(), a.base+"/enroll.mobileconfig"))
	return a, d
}

func (a *app) call(t *testing.T, method, path, token string, body any) (int, string) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.admin.Addr().String()+path, bytes.NewReader(data))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}

func TestAPI(t *testing.T) {
	t.Parallel()
	a, d := running(t)
	for _, path := range []string{"/api/devices", "/api/commands?device=x", "/api/events", "/api/unknown"} {
		for _, token := range []string{"", "wrong"} {
			status, body := a.call(t, http.MethodGet, path, token, nil)
			assert.Equal(t, http.StatusUnauthorized, status, path)
			assert.NotContains(t, body, d.ID())
		}
	}
	status, body := a.call(t, http.MethodGet, "/api/devices", "secret", nil)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, d.ID())

	for _, bad := range []map[string]string{{"Device": d.ID(), "Command": "Frobnicate"}, {"Device": d.ID(), "Command": "<plist>"},
		{"Device": "nobody", "Command": "SecurityInfo"}, {"Device": "%zz", "Command": "SecurityInfo"}} {
		status, _ = a.call(t, http.MethodPost, "/api/commands", "secret", bad)
		assert.Equal(t, http.StatusBadRequest, status, "%v", bad)
	}
	raw := `<plist version="1.0"><dict><key>RequestType</key><string>SecurityInfo</string></dict></plist>`
	for _, good := range []string{"DeviceInformation", raw, "Renew"} {
		status, body = a.call(t, http.MethodPost, "/api/commands", "secret", map[string]string{"Device": d.ID(), "Command": good})
		require.Equal(t, http.StatusOK, status, body)
	}
	before := d.Certificate()
	require.NoError(t, d.Poll(t.Context()))
	assert.False(t, before.Equal(d.Certificate()))
	_, body = a.call(t, http.MethodGet, "/api/commands?device="+d.ID(), "secret", nil)
	var queue []struct{ RequestType, State string }
	require.NoError(t, json.Unmarshal([]byte(body), &queue))
	done := map[string]string{}
	for _, e := range queue {
		done[e.RequestType] = e.State
	}
	for _, kind := range []string{"DeviceInformation", "SecurityInfo", "InstallProfile"} {
		assert.Equal(t, "acknowledged", done[kind], kind)
	}
	assert.Contains(t, body, "QueryResponses")

	status, _ = a.call(t, http.MethodPost, "/api/end", "secret", map[string]string{"Device": d.ID()})
	assert.Equal(t, http.StatusOK, status)
	require.Error(t, d.Poll(t.Context()))
	assert.False(t, d.Managed(), "it was told to remove its management")
}

func TestPracticesInTheConsole(t *testing.T) {
	t.Parallel()
	a, d := running(t)
	status, body := a.call(t, http.MethodPost, "/api/clearpasscode", "secret", map[string]any{"Device": d.ID(), "Reason": "forgotten", "Possession": false})
	assert.Equal(t, http.StatusBadRequest, status, body)
	status, body = a.call(t, http.MethodPost, "/api/clearpasscode", "secret", map[string]any{"Device": d.ID(), "Reason": "forgotten", "Possession": true})
	require.Equal(t, http.StatusOK, status, body)
	status, body = a.call(t, http.MethodPost, "/api/gate", "secret", map[string]any{"Device": d.ID()})
	require.Equal(t, http.StatusOK, status, body)
	_, body = a.call(t, http.MethodGet, "/api/audit", "secret", nil)
	assert.Equal(t, 2, strings.Count(body, `"secret.requested"`), body)
	assert.Equal(t, 1, strings.Count(body, `"secret.refused"`), body)
	require.NoError(t, a.mdm.Flush(t.Context())) // the renewal begins with the event of the enrollment
	_, body = a.call(t, http.MethodGet, "/api/runs?device="+d.ID(), "secret", nil)
	for _, name := range []string{"clear-passcode", "passcode", "renewal"} {
		assert.Contains(t, body, `"`+name+`"`)
	}
}

func TestConsoleShowsTheNewestCommands(t *testing.T) {
	t.Parallel()
	a, d := running(t)
	var last command.Receipt
	for range 205 {
		var err error
		last, err = a.stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d)), NoPush: true})
		require.NoError(t, err)
	}
	_, body := a.call(t, http.MethodGet, "/api/commands?device="+d.ID(), "secret", nil)
	assert.Contains(t, body, last.UUID)
	assert.Equal(t, 200, strings.Count(body, `"queued":`))
}

func TestLiveEvents(t *testing.T) {
	t.Parallel()
	a, d := running(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.admin.Addr().String()+"/api/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer secret")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var got string
	buf := make([]byte, 4096)
	for !strings.Contains(got, "enrollment.checkedout") {
		n, err := res.Body.Read(buf)
		require.NoError(t, err, got)
		if got += string(buf[:n]); strings.Contains(got, "enrollment.enrolled") && d.Managed() {
			require.NoError(t, d.CheckOut(t.Context()))
		}
	}
}

func TestPagesAndProfiles(t *testing.T) {
	t.Parallel()
	a, _ := running(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pki.roots(), MinVersion: tls.VersionTLS12}}}
	get := func(path string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.base+path, nil)
		require.NoError(t, err)
		res, err := client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, body
	}
	res, body := get("/")
	assert.Contains(t, string(body), "/enroll.mobileconfig")
	assert.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'self'")
	_, one := get("/enroll.mobileconfig")
	_, two := get("/enroll.mobileconfig")
	assert.NotEqual(t, challengeIn(t, one), challengeIn(t, two), "each download has a challenge of its own")
	res, plain := get("/enroll.mobileconfig?signed=0")
	assert.Equal(t, profile.ContentType, res.Header.Get("Content-Type"))
	parsed, err := profile.Parse(plain)
	require.NoError(t, err)
	assert.Nil(t, parsed.Signer)
	assert.Empty(t, profile.ValidateEnrollment(parsed.Profile))
	_, trust := get("/trust.mobileconfig")
	parsed, err = profile.Parse(trust)
	require.NoError(t, err)
	require.Len(t, parsed.Profile.Payloads, 1)
	assert.Equal(t, profile.TypeRootCertificate, parsed.Profile.Payloads[0].PayloadType())
	res, body = get("/MDMServiceConfig")
	assert.Equal(t, "application/json; charset=UTF8", res.Header.Get("Content-Type"))
	assert.JSONEq(t, `{"trust_profile_url": "`+a.base+`/trust.mobileconfig", "dep_enrollment_url": "`+a.base+`/ade",
		"dep_anchor_certs_url": "`+a.base+`/anchors.json"}`, string(body))
}

func TestOverTheAir(t *testing.T) {
	t.Parallel()
	a, _ := running(t)
	d := mdmtest.NewDevice(mdmtest.Config{RootCAs: a.pki.roots(), APNs: a.apns, BuiltIn: a.factory})
	require.NoError(t, d.EnrollOverTheAir(t.Context(), a.base+"/ota.mobileconfig"))
	assert.True(t, d.Managed())
	other, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
	require.NoError(t, err)
	d = mdmtest.NewDevice(mdmtest.Config{RootCAs: a.pki.roots(), APNs: a.apns, BuiltIn: other})
	require.Error(t, d.EnrollOverTheAir(t.Context(), a.base+"/ota.mobileconfig"), "somebody else made it")
	assert.False(t, d.Managed())
}

func challengeIn(t *testing.T, data []byte) string {
	t.Helper()
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	require.NotNil(t, parsed.Signer)
	for _, payload := range parsed.Profile.Payloads {
		if scep, ok := payload.(*profile.SCEP); ok {
			return string(scep.PayloadContent.Challenge.Reveal())
		}
	}
	t.Fatal("no SCEP payload")
	return ""
}

func TestStateSurvivesARestart(t *testing.T) {
	t.Parallel()
	o := options{listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: t.TempDir()}
	first, err := newApp(t.Context(), o, false)
	require.NoError(t, err)
	first.Close()
	second, err := newApp(t.Context(), o, false)
	require.NoError(t, err)
	defer second.Close()
	assert.True(t, first.pki.devices.Certificate.Equal(second.pki.devices.Certificate))
	assert.True(t, first.pki.server.Certificate.Equal(second.pki.server.Certificate))
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-public-url", "http://mdm.example.com"}, {"-listen", "nowhere:x:y"}, {"-push-cert", "absent.pem"}, {"-unknown"}} {
		dir := t.TempDir()
		require.Error(t, run(t.Context(), append([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-data", dir}, args...)), "%v", args)
	}
	require.NoError(t, run(t.Context(), []string{"-h"}))
}
