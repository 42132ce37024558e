package ade_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
)

func requires(q ade.Requirement) func(*ade.Service) {
	return func(s *ade.Service) {
		s.Require = func(context.Context, *enroll.MachineInfo) (ade.Requirement, error) { return q, nil }
	}
}

func update(version, build string) ade.Requirement {
	details := &enroll.ErrorSoftwareUpdateRequiredDetails{OSVersion: version}
	if build != "" {
		details.BuildVersion = &build
	}
	return ade.Requirement{Update: details, Message: "Please wait."}
}

const (
	canUpdate = "MDM_CAN_REQUEST_SOFTWARE_UPDATE"
	canPSSO   = "MDM_CAN_REQUEST_PSSO_CONFIG"
)

func TestRequireUpdate(t *testing.T) {
	t.Parallel()
	beta := update("18.3", "")
	beta.Update.RequireBetaProgram = &enroll.ErrorSoftwareUpdateRequiredRequireBetaProgram{Description: "iOS 18.3", Token: "t"}
	for name, tt := range map[string]struct {
		q    ade.Requirement
		says map[string]any
		want int
	}{
		"older":                          {update("18.3", ""), map[string]any{canUpdate: true}, 403},
		"older, cannot":                  {update("18.3", ""), nil, 200},
		"older, says no":                 {update("18.3", ""), map[string]any{canUpdate: false}, 200},
		"the same":                       {update("18.2", ""), map[string]any{canUpdate: true}, 200},
		"newer":                          {update("18.1.9", ""), map[string]any{canUpdate: true}, 200},
		"10 is more than 9":              {update("18.10", ""), map[string]any{canUpdate: true, "OS_VERSION": "18.9"}, 403},
		"does not say which":             {update("18.3", ""), map[string]any{canUpdate: true, "OS_VERSION": nil}, 200},
		"older build":                    {update("18.2", "22C153"), map[string]any{canUpdate: true}, 403},
		"the same build":                 {update("18.2", "22C152"), map[string]any{canUpdate: true}, 200},
		"newer build":                    {update("18.2", "22C99"), map[string]any{canUpdate: true}, 200},
		"newer letter":                   {update("18.2", "22B999"), map[string]any{canUpdate: true}, 200},
		"an odd build":                   {update("18.2", "22C153"), map[string]any{canUpdate: true, "VERSION": "x"}, 200},
		"the supplement is new enough":   {update("18.2", "22C153"), map[string]any{canUpdate: true, "SUPPLEMENTAL_BUILD_VERSION": "22C153"}, 200},
		"the build does not matter then": {update("18.1", "22C153"), map[string]any{canUpdate: true}, 200},
		"a beta":                         {beta, map[string]any{canUpdate: true}, 403},
		"a beta that it does not know":   {beta, map[string]any{canUpdate: true, "OS_VERSION": "17.4"}, 200},
		"not on an Apple TV":             {update("18.3", ""), map[string]any{canUpdate: true, "PRODUCT": "AppleTV14,1"}, 200},
		"no version":                     {update("", ""), map[string]any{canUpdate: true}, 500},
		"no version of Apple's":          {update("v18.3", ""), map[string]any{canUpdate: true}, 500},
		"a version in words":             {update("latest", ""), map[string]any{canUpdate: true}, 500},
		"a version with a space":         {update("18.3 ", ""), map[string]any{canUpdate: true}, 500},
		"a version with nothing between": {update("18..3", ""), map[string]any{canUpdate: true}, 500},
		"a long version":                 {update("18.99999999999999999999", ""), map[string]any{canUpdate: true}, 500},
		"no build of Apple's":            {update("18.2", "22C"), map[string]any{canUpdate: true}, 500},
		"no build of Apple's, older":     {update("18.3", "22 C153"), map[string]any{canUpdate: true}, 500},
		"no build, and a sign":           {update("18.2", "22C+153"), map[string]any{canUpdate: true}, 500},
		"a wrong one that is not asked":  {update("latest", ""), nil, 200},
		"an odd version of its own":      {update("18.3", ""), map[string]any{canUpdate: true, "OS_VERSION": "x"}, 200},
		"nothing":                        {ade.Requirement{}, map[string]any{canUpdate: true}, 200},
	} {
		w := newWorld(t, requires(tt.q))
		res := w.phone("S1").with(tt.says).enroll("")
		assert.Equal(t, tt.want, res.Code, name)
		if res.Code != http.StatusForbidden {
			continue
		}
		assert.Empty(t, w.sessions.all())
		assert.Zero(t, w.finals.Load())
		assert.Equal(t, "application/json", res.Header().Get("Content-Type"))
		var doc enroll.ErrorSoftwareUpdateRequired
		require.NoError(t, json.Unmarshal(res.Body.Bytes(), &doc))
		assert.Equal(t, "com.apple.softwareupdate.required", doc.Code)
		assert.Equal(t, "Please wait.", *doc.Message)
		assert.Equal(t, *tt.q.Update, doc.Details, name)
	}
}

func TestRequireOthers(t *testing.T) {
	t.Parallel()
	q := ade.Requirement{PairingToken: "2A9E-…", PSSO: &enroll.ErrorPSSORequiredDetails{ProfileURL: "https://mdm.example.com/psso", AuthURL: "https://mdm.example.com/auth",
		Package: enroll.ErrorPSSORequiredPackage{ManifestURL: "https://mdm.example.com/manifest"}}}
	watch, mac := map[string]any{"PRODUCT": "Watch7,3"}, map[string]any{"PRODUCT": "Mac14,2", canPSSO: true, "OS_VERSION": "26.0"}
	for name, tt := range map[string]struct {
		says map[string]any
		code string
	}{
		"a watch":            {watch, "com.apple.watch.pairing.token.missing"},
		"a watch with one":   {map[string]any{"PRODUCT": "Watch7,3", "PAIRING_TOKEN": []byte("token")}, ""},
		"a phone":            {nil, ""},
		"a phone that lies":  {map[string]any{canPSSO: true}, ""},
		"a Mac":              {mac, "com.apple.psso.required"},
		"a Mac that cannot":  {map[string]any{"PRODUCT": "Mac14,2", "OS_VERSION": "26.0"}, ""},
		"a Mac of the past":  {map[string]any{"PRODUCT": "Mac14,2", canPSSO: true, "OS_VERSION": "15.2"}, ""},
		"a Mac without more": {map[string]any{"PRODUCT": "Mac14,2", canPSSO: false}, ""},
	} {
		w := newWorld(t, requires(q))
		p := w.phone("S1").with(tt.says)
		res := p.enroll("")
		if tt.code == "" {
			assert.Equal(t, http.StatusOK, res.Code, name)
			continue
		}
		assert.Equal(t, http.StatusForbidden, res.Code, name)
		var doc struct {
			Code    string         `json:"code"`
			Details map[string]any `json:"details"`
		}
		require.NoError(t, json.Unmarshal(res.Body.Bytes(), &doc))
		assert.Equal(t, tt.code, doc.Code, name)
		assert.NotEmpty(t, doc.Details)
		if tt.code == "com.apple.watch.pairing.token.missing" {
			assert.Equal(t, map[string]any{"security-token": "2A9E-…"}, doc.Details)
		}
		// the web view is answered the same, before anybody logs in
		web := p.open(base64.StdEncoding.EncodeToString(p.message()))
		assert.Equal(t, http.StatusForbidden, web.Code, name)
		assert.JSONEq(t, res.Body.String(), web.Body.String())
		assert.Empty(t, web.Result().Cookies())
		assert.Empty(t, w.states)
	}
}

// A device updates itself before its user is asked for a password, and only then.
func TestRequireComesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ade.Service) { requires(update("18.3", ""))(s); withPasswords(nil)(s) })
	p := w.phone("S1").with(map[string]any{canUpdate: true})
	w.refused("older", http.StatusForbidden, func() *httptest.ResponseRecorder { return p.enroll(basic("ada", "lovelace")) })
	p = p.with(map[string]any{"OS_VERSION": "18.3"})
	w.refused("updated", http.StatusUnauthorized, func() *httptest.ResponseRecorder { return p.enroll("") })
	assert.Equal(t, http.StatusOK, p.enroll(basic("ada", "lovelace")).Code)
}

// What a hook sees is what the device said, with the keys that nobody knows yet.
func TestRequireSees(t *testing.T) {
	t.Parallel()
	var seen *enroll.MachineInfo
	w := newWorld(t, func(s *ade.Service) {
		s.Require = func(_ context.Context, info *enroll.MachineInfo) (ade.Requirement, error) {
			seen = info
			return ade.Requirement{}, nil
		}
	})
	p := w.phone("S1").with(map[string]any{"PAIRING_TOKEN": []byte("token"), "NEW": "key", "MEID": "M"})
	require.Equal(t, http.StatusOK, p.enroll("").Code)
	assert.Equal(t, "S1", seen.Serial)
	assert.Equal(t, "M", *seen.MEID)
	assert.Equal(t, []byte("token"), seen.PairingToken.Reveal())
	assert.Equal(t, map[string]any{"NEW": "key"}, seen.Extra)
	for _, session := range w.sessions.all() {
		assert.NotContains(t, session.Device, "PAIRING_TOKEN", "a secret is not kept")
		assert.NotContains(t, session.Device, "NEW")
	}
}

// A Mac that comes back from Platform SSO says no more that it can be asked for it, and has a token instead of a password.
func TestBearer(t *testing.T) {
	t.Parallel()
	var verdict error
	w := newWorld(t, func(s *ade.Service) {
		withPasswords(nil)(s)
		s.Bearer = func(_ context.Context, session enroll.Session, token mdm.Secret) (string, error) {
			assert.Equal(t, "S1", session.Device["SERIAL"])
			if !token.Equal(mdm.SecretString("dXNlci1pZGVudGl0eQ==")) {
				return "", fmt.Errorf("of nobody: %w", ade.ErrWrong)
			}
			return "ada", verdict
		}
	})
	p := w.phone("S1").with(map[string]any{"PRODUCT": "Mac14,2", "OS_VERSION": "26.0"})
	for name, authorization := range map[string]string{
		"another token": "Bearer x", "no token": "Bearer", "an empty one": "Bearer ", "a long one": "Bearer " + strings.Repeat("x", 17<<10), "an odd one": "Bearer dXNlci1pZGVudGl0eQ==\t\x01",
	} {
		w.refused(name, http.StatusForbidden, func() *httptest.ResponseRecorder { return p.enroll(authorization) })
	}
	w.refused("none: it can still log in by password", http.StatusUnauthorized, func() *httptest.ResponseRecorder { return p.enroll("") })
	for err, want := range hookErrors() {
		verdict = err
		w.refused(err.Error(), want, func() *httptest.ResponseRecorder { return p.enroll("Bearer dXNlci1pZGVudGl0eQ==") })
	}
	verdict = nil
	res := p.enroll("bEARER  dXNlci1pZGVudGl0eQ==")
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "ada@S1", w.label(res.Body.Bytes()))

	w.service.Bearer = nil
	w.refused("nobody looks at tokens", http.StatusUnauthorized, func() *httptest.ResponseRecorder { return p.enroll("Bearer dXNlci1pZGVudGl0eQ==") })
}
