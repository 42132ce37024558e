package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/memory"
)

// shelf writes profiles, each into the directory of its stage.
func (s *site) shelf(stages map[string]string) string {
	s.Helper()
	dir := s.file("profiles")
	for name, stage := range stages {
		data, err := (&profile.Profile{Identifier: name, Payloads: []profile.Payload{&profile.WebClip{URL: "https://example.com", Label: name}}}).Encode()
		require.NoError(s, err)
		require.NoError(s, os.MkdirAll(filepath.Join(dir, stage), 0o700))
		require.NoError(s, os.WriteFile(filepath.Join(dir, stage, name+".mobileconfig"), data, 0o600))
	}
	return dir
}

// until has devices connect until something is so.
func (s *site) until(is func() bool, devices ...*mdmtest.Device) {
	s.Helper()
	require.Eventually(s, func() bool {
		for _, d := range devices {
			if d.Managed() {
				require.NoError(s, d.Poll(s.Context()))
			}
		}
		return is()
	}, 30*time.Second, 50*time.Millisecond)
}

// run returns the only run of a workflow, nil if there is none yet.
func (s *site) run(r *running, name string) map[string]any {
	s.Helper()
	status, answer := s.ask("GET", r.admin+"/v1/runs?workflow="+name, "")
	require.Equal(s, 200, status, answer)
	runs := answer["runs"].([]any)
	if len(runs) == 0 {
		return nil
	}
	require.Len(s, runs, 1)
	return runs[0].(map[string]any)
}

func TestPracticesOfADevice(t *testing.T) {
	s := newSite(t)
	r := s.start("-tls-cert", s.file("tls.pem"), "-tls-key", s.file("tls.key"), "-enrollment-id", "com.example.mdm",
		"-profiles", s.shelf(map[string]string{"com.example.ca": "trust", "com.example.rules": "restrictions", "com.example.wifi": "capabilities"}))
	d := s.device(mdmtest.ModeTLS, "https://"+r.devices)
	s.until(func() bool { run := s.run(r, "setup"); return run != nil && run["status"] == "done" }, d)
	assert.ElementsMatch(t, []string{"com.example.ca", "com.example.rules", "com.example.wifi"}, d.Profiles())
	var first []string
	for _, done := range d.History() {
		first = append(first, done.Order.RequestType)
	}
	assert.Equal(t, []string{"InstallProfile", "InstallProfile", "InstallProfile"}, first[:3])

	_, answer := s.ask("GET", r.admin+"/v1/workflows", "")
	assert.Contains(t, answer["workflows"].([]any)[0].(map[string]any), "mayBegin")
	status, answer := s.ask("POST", r.admin+"/v1/workflows/setup/runs?to="+d.ID(), "")
	assert.Equal(t, 200, status, answer)
	status, answer = s.ask("POST", r.admin+"/v1/runs/resume?workflow=setup", "")
	assert.Equal(t, []any{200, 0.}, []any{status, answer["again"]})
	for _, name := range []string{"ending", "clear-passcode"} {
		status, _ = s.ask("POST", r.admin+"/v1/workflows/"+name+"/runs?to="+d.ID(), "")
		assert.Equal(t, 404, status, "it has a door of its own")
	}

	status, answer = s.ask("POST", r.admin+"/v1/enrollments/"+d.ID()+"/end?reason=sold", "")
	require.Equal(t, 200, status, answer)
	s.until(func() bool { return !d.Managed() }, d) // it was told to remove its profile
	assert.Contains(t, s.run(r, "ending")["note"], "told to remove its profile")
}

func TestPasscodesAreClearedOnRecord(t *testing.T) {
	s := newSite(t)
	r := s.start("-tls-cert", s.file("tls.pem"), "-tls-key", s.file("tls.key"))
	d := s.device(mdmtest.ModeTLS, "https://"+r.devices)
	ask := func(body string) int {
		status, _ := s.ask("POST", r.admin+"/guard/clear-passcode", body)
		return status
	}
	device := `"device": "` + d.ID() + `"`
	assert.Equal(t, 400, ask("{"))
	assert.Equal(t, 400, ask(`{`+device+`, "actor": "mary", "possession": true}`), "why?")
	assert.Equal(t, 403, ask(`{`+device+`, "actor": "mary", "reason": "ticket 7"}`), "nobody has seen it")
	require.Equal(t, 200, ask(`{`+device+`, "actor": "mary", "reason": "ticket 7", "possession": true}`))
	s.until(func() bool { return s.run(r, "clear-passcode")["status"] == "done" }, d)
	history := d.History()
	assert.Equal(t, "ClearPasscode", history[len(history)-1].Order.RequestType)

	res, err := http.Post(r.admin+"/guard/clear-passcode", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
}

func TestRenewalIsWatched(t *testing.T) {
	s := newSite(t)
	r := s.start("-tls-cert", s.file("tls.pem"), "-tls-key", s.file("tls.key"), "-enrollment-id", "com.example.mdm", "-anchors", s.file("tls.pem"),
		"-public-url", "https://mdm.example.com", "-scep-url", "https://scep.example.com/scep")
	d := s.device(mdmtest.ModeTLS, "https://"+r.devices)
	s.until(func() bool {
		run := s.run(r, "renewal")
		return run != nil && run["step"] == "watch" && run["note"] != nil && run["waits"] != nil
	}, d)
	assert.Contains(t, s.run(r, "renewal")["note"], "identity")
}

// TestRecipeKeepsWhatMustStay makes the profile that replaces the one of a device.
func TestRecipeKeepsWhatMustStay(t *testing.T) {
	s := newSite(t)
	stores := memory.New().Stores()
	id := mdm.EnrollmentID{Device: "D"}
	known := []mdm.Enrollment{
		{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "com.apple.mgmt.External.its-own", Rights: mdm.InspectProfiles | mdm.InstallProfiles},
		{ID: mdm.EnrollmentID{Device: "E"}, Channel: mdm.UserEnrollmentChannel, State: mdm.Enrolled, Generation: 1},
	}
	require.NoError(t, stores.Checkin.Update(t.Context(), checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Enrollments: known}, nil
	}))
	o := options{identity: "signature", enrollmentID: "com.example.mdm", publicURL: "https://mdm.example.com/", path: "/mdm",
		scepURL: "https://scep.example.com/scep", anchors: s.file("tls.pem")}
	recipe, err := o.recipe(stores)
	require.NoError(t, err)
	p, err := recipe.Profile(t.Context(), enroll.Renewal(&known[0]))
	require.NoError(t, err)
	assert.Equal(t, "com.example.mdm", p.Identifier)
	require.Len(t, p.Payloads, 3)
	m := p.Payloads[2].(*profile.MDM)
	assert.Equal(t, "https://mdm.example.com/mdm", m.ServerURL)
	assert.Equal(t, known[0].Topic, m.Topic)
	assert.EqualValues(t, known[0].Rights, *m.AccessRights)
	assert.True(t, *m.SignMessage)
	_, err = recipe.Profile(t.Context(), enroll.Renewal(&known[1]))
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	o.anchors = "none"
	recipe, err = o.recipe(stores)
	require.NoError(t, err)
	assert.Empty(t, recipe.Enrollment.Roots)
}

func TestProfilesThatCannotBeRead(t *testing.T) {
	s := newSite(t)
	dir := s.shelf(map[string]string{"a": "trust"})
	f, err := readProfiles(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, f.stages.Trust)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trust", "b.mobileconfig"), f.data["a"], 0o600))
	_, err = readProfiles(dir)
	require.ErrorContains(t, err, "two profiles")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trust", "b.mobileconfig"), []byte("none"), 0o600))
	_, err = readProfiles(dir)
	require.ErrorContains(t, err, "b.mobileconfig")
	_, err = readProfiles(s.file("nowhere"))
	require.ErrorContains(t, err, "there is no *.mobileconfig")
	_, err = newPractices(&options{profiles: dir}, memory.New().Stores())
	require.ErrorContains(t, err, "-profiles")
	_, err = newPractices(&options{scepURL: "https://scep.example.com", anchors: "nowhere"}, memory.New().Stores())
	require.ErrorContains(t, err, "-anchors")
	assert.NoError(t, run(canceled(t), options{store: "memory:", identity: "signature", deviceCA: s.file("devices.pem"), listen: "127.0.0.1:0", path: "/mdm", noPush: true}, io.Discard, nil),
		"without an API")
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
