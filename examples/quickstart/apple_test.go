package main

import (
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
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// What is waited for happens within a second or two.
const (
	waitFor = 30 * time.Second
	tick    = 50 * time.Millisecond
)

// inBox returns a phone that nobody has bought yet.
func inBox(a *app) *mdmtest.Device {
	return mdmtest.NewDevice(mdmtest.Config{ProductName: models[0].product, RootCAs: a.pki.roots(), APNs: a.apns, BuiltIn: a.factory})
}

// TestOneEnrollmentURL holds what Apple gives to devices against what Apple Configurator is told.
func TestOneEnrollmentURL(t *testing.T) {
	t.Parallel()
	a, _ := running(t)
	d := inBox(a)
	require.NoError(t, a.setUp(t.Context(), d, models[0]))
	assigned, ok := d.Assigned()
	require.True(t, ok)
	var told struct {
		Enroll  string `json:"dep_enrollment_url"`
		Anchors string `json:"dep_anchor_certs_url"`
	}
	require.NoError(t, json.Unmarshal(a.get(t, enroll.ServiceConfigPath, http.StatusOK), &told))
	assert.Equal(t, told.Enroll, assigned.URL)
	assert.Equal(t, told.Enroll, assigned.WebURL)
	var anchors []string
	require.NoError(t, json.Unmarshal(a.get(t, strings.TrimPrefix(told.Anchors, a.base), http.StatusOK), &anchors))
	assert.Equal(t, a.adeProfile().AnchorCerts, anchors)
	assert.Len(t, anchors, 1)
}

// get reads a page of the device side.
func (a *app) get(t *testing.T, path string, status int) []byte {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pki.roots(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.base+path, nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, status, res.StatusCode, "%s", body)
	return body
}

// TestWhoIsNotOurs: a genuine device that Apple did not say is ours gets no page to sign in on, by whichever way it comes.
func TestWhoIsNotOurs(t *testing.T) {
	t.Parallel()
	a, _ := running(t)
	stranger := inBox(a)
	url := a.serviceConfig().DEPEnrollmentURL
	to := mdmtest.Assignment{URL: url, WebURL: url, AnchorCerts: a.serviceConfig().Anchors}
	for range 2 {
		var refused *mdmtest.RefusedError
		report, err := stranger.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: to, User: adeUser, Password: adePassword, Fill: signIn(adePassword)})
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, http.StatusForbidden, refused.Answer.Status)
		assert.Empty(t, report.Prompts)
		to.WebURL = "" // the device posts
	}
	assert.False(t, stranger.Managed())
	assert.Contains(t, string(a.get(t, adePath, http.StatusBadRequest)), "That did not work", "a browser that is no web view of Setup Assistant")
}

func TestPasswordsInSetupAssistant(t *testing.T) {
	t.Parallel()
	a, _ := running(t)
	d := inBox(a)
	url := a.serviceConfig().DEPEnrollmentURL
	to := mdmtest.Assignment{URL: url, AnchorCerts: a.serviceConfig().Anchors, IsSupervised: true, AwaitDeviceConfigured: true}
	a.apple.buy(d.SerialNumber(), models[0])
	require.Eventually(t, func() bool {
		_, ours, err := a.fromApple(t.Context(), "", d.SerialNumber())
		return ours && err == nil
	}, waitFor, tick)

	_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: to, User: adeUser, Password: "wrong"})
	require.Error(t, err)
	_, err = d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: to, User: "eve", Password: adePassword})
	require.Error(t, err)
	web := to
	web.WebURL = url
	_, err = d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: web, Fill: signIn("", "wrong", adePassword+"x")})
	require.ErrorContains(t, err, "does not know the password")
	assert.False(t, d.Managed())

	report, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: to, User: adeUser, Password: adePassword}) // by POST, with Digest
	require.NoError(t, err)
	assert.Equal(t, []string{"Sign in to set up this device."}, report.Prompts)
	assert.False(t, d.InSetup())
	assert.Contains(t, d.Profiles(), policyProfile)
}

func TestConsoleShowsDevicesFromApple(t *testing.T) {
	t.Parallel()
	a, _ := running(t)
	d := inBox(a)
	a.apple.buy("STILLINBOX", models[2])
	require.NoError(t, a.setUp(t.Context(), d, models[0]))
	show := func() map[string]appleDevice {
		status, body := a.call(t, http.MethodGet, "/api/apple", "secret", nil)
		require.Equal(t, http.StatusOK, status, body)
		var view appleView
		require.NoError(t, json.Unmarshal([]byte(body), &view))
		assert.False(t, view.TokenEnds.IsZero())
		devices := map[string]appleDevice{}
		for _, one := range view.Devices {
			devices[one.Serial] = one
		}
		return devices
	}
	require.Eventually(t, func() bool {
		all := show()
		return all[d.SerialNumber()].Profile == "pushed" && all["STILLINBOX"].Profile == "assigned"
	}, waitFor, tick)
	box, phone := show()["STILLINBOX"], show()[d.SerialNumber()]
	assert.Equal(t, "MacBook Air", box.Model)
	assert.Empty(t, box.State)
	assert.Equal(t, "unknown", box.Removable)
	assert.Equal(t, d.ID(), phone.ID.Device)
	assert.Equal(t, []string{"enrolled", "yes", "no"}, []string{phone.State, phone.Supervised, phone.Removable})

	_, err := a.stores.Command.Enqueue(t.Context(), command.Order{Command: command.ProfileList{}, To: mdm.IDs(id(d)), NoPush: true})
	require.NoError(t, err)
	require.NoError(t, d.Poll(t.Context()))
	assert.True(t, show()[d.SerialNumber()].Confirmed)

	status, _ := a.call(t, http.MethodGet, "/api/apple", "wrong", nil)
	assert.Equal(t, http.StatusUnauthorized, status)
}

// TestTokenForManagedAccounts: a device that asks is given what shows Apple that it is managed here.
func TestTokenForManagedAccounts(t *testing.T) {
	t.Parallel()
	a, d := running(t)
	source := a.mdm.Checkin().Tokens[dep.MAIDService]
	require.Eventually(t, func() bool { // when the first sync has read our account
		token, err := source.Token(t.Context(), id(d), nil)
		return err == nil && strings.Count(string(token.Reveal()), ".") == 2
	}, waitFor, tick)
}

// TestAnotherStandInForApple: the database outlives the stand-in, whose devices and token are gone with it.
func TestAnotherStandInForApple(t *testing.T) {
	t.Parallel()
	o := options{listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: t.TempDir()}
	for _, serial := range []string{"FIRST", "SECOND"} {
		a, err := newApp(t.Context(), o, true)
		require.NoError(t, err)
		a.apple.buy(serial, models[0])
		_, err = a.apple.syncer.Sync(t.Context(), appleKey)
		require.NoError(t, err)
		_, ours, err := a.fromApple(t.Context(), "", serial)
		require.NoError(t, err)
		assert.True(t, ours)
		_, ours, err = a.fromApple(t.Context(), "", "FIRST")
		require.NoError(t, err)
		assert.Equal(t, serial == "FIRST", ours)
		assert.Empty(t, a.apple.abm.Violations())
		a.Close()
	}
}

func TestNoAppleWithoutSimulatedDevices(t *testing.T) {
	t.Parallel()
	a, err := newApp(t.Context(), options{listen: "127.0.0.1:0", admin: "127.0.0.1:0", data: t.TempDir()}, false)
	require.NoError(t, err)
	defer a.Close()
	assert.Empty(t, a.serviceConfig().DEPEnrollmentURL)
	_, err = a.listApple(t.Context(), nil)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}
