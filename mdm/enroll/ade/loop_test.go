package ade_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// site is an MDM server with both ways in, over real HTTPS, with real stores.
type site struct {
	*testing.T
	stores  storage.Stores
	service *ade.Service
	https   *httptest.Server
	roots   *x509.CertPool
}

func newSite(t *testing.T, stores storage.Stores, change func(*ade.Service)) *site {
	t.Helper()
	s := &site{T: t, stores: stores, roots: x509.NewCertPool()}
	ca, mux := signingCA(), http.NewServeMux()
	s.https = httptest.NewUnstartedServer(mux)
	s.https.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.https.StartTLS()
	t.Cleanup(s.https.Close)
	s.roots.AddCert(ca.Certificate)
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: ca.Chain()})
	require.NoError(t, err)
	released := &practice.Setup{Roster: stores.Roster}
	h, err := server.New(server.Config{Stores: stores, Extractor: identity.TLS(), Validator: ours, Workflows: released.Workflows(),
		Cooks: released.Cooks(), Wrap: func(next checkin.Handler) checkin.Handler { return ade.Guard(stores.SCEP, next) }})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	recipe := enroll.Recipe{
		Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.test", ServerURL: s.https.URL + "/mdm",
			Roots: []*x509.Certificate{s.https.Certificate()}},
		Identities: enroll.SCEPIdentities{Store: stores.SCEP, Content: profile.SCEPContent{URL: s.https.URL + "/scep"}},
	}
	s.service = &ade.Service{Sessions: stores.Sessions, Signer: profile.CMSSigner{Certificate: ca.Certificate, Key: ca.Key},
		Final: func(ctx context.Context, session enroll.Session) (*profile.Profile, error) {
			return recipe.Profile(ctx, ade.For(session))
		},
		Login: func(w http.ResponseWriter, _ *http.Request, state string) { form(w, state, "") },
		Key:   mdm.SecretString("0123456789abcdef0123456789abcdef"), Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{appleCA().Certificate}}}
	if change != nil {
		change(s.service)
	}
	mux.Handle("/mdm", h)
	mux.Handle("/scep", &scep.Server{CA: ca, Store: stores.SCEP})
	mux.HandleFunc("/enroll", func(w http.ResponseWriter, r *http.Request) { s.service.Enroll().ServeHTTP(w, r) })
	mux.HandleFunc("/web", func(w http.ResponseWriter, r *http.Request) { s.service.Web().ServeHTTP(w, r) })
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s.service.Callback(func(w http.ResponseWriter, r *http.Request, _ enroll.Session) (string, bool) {
			if r.FormValue("password") != "lovelace" {
				form(w, r.FormValue("state"), "Once more, please.")
				return "", false
			}
			return r.FormValue("name"), true
		}).ServeHTTP(w, r)
	})
	return s
}

// form is a login page of a vendor.
func form(w http.ResponseWriter, state, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!doctype html><p>%s</p><form method="post" action="/login"><input type="hidden" name="state" value="%s">
		<input name="name"><input name="password" type="password"></form>`, text, html.EscapeString(state))
}

func (s *site) device(cfg mdmtest.Config) *mdmtest.Device {
	cfg.RootCAs, cfg.BuiltIn = s.roots, appleCA()
	return mdmtest.NewDevice(cfg)
}

// assigned is what Apple tells devices of this server.
func (s *site) assigned() mdmtest.Assignment {
	return mdmtest.Assignment{URL: s.https.URL + "/enroll", AnchorCerts: []*x509.Certificate{s.https.Certificate()}, IsSupervised: true,
		SkipSetupItems: []string{"Siri", "Payment"}}
}

func (s *site) web() mdmtest.Assignment {
	a := s.assigned()
	a.URL, a.WebURL = s.https.URL+"/nowhere", s.https.URL+"/web"
	return a
}

// fill types what a user types, of several passwords one after another.
func fill(name string, passwords ...string) func(*mdmtest.Page) error {
	return func(p *mdmtest.Page) error {
		if len(passwords) == 0 {
			return errors.New("the user gives up")
		}
		p.Form.Values.Set("name", name)
		p.Form.Values.Set("password", passwords[0])
		passwords = passwords[1:]
		return nil
	}
}

func (s *site) enrollment(d *mdmtest.Device) *mdm.Enrollment {
	s.Helper()
	e, err := s.stores.Roster.Enrollment(s.Context(), mdm.EnrollmentID{Device: d.ID()})
	require.NoError(s, err)
	return e
}

func TestLoop(t *testing.T) {
	t.Parallel()
	s := newSite(t, memory.New().Stores(), func(s *ade.Service) { requires(update("18.3", "22D1"))(s); withPasswords(nil)(s) })
	d := s.device(mdmtest.Config{})
	a := s.assigned()
	a.AwaitDeviceConfigured = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := d.SetupAssistant(ctx, mdmtest.Assistant{Assignment: a, User: "ada", Password: "lovelace", CanUpdate: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"18.3"}, report.Updates)
	assert.Equal(t, []string{"Log in with your account of Example."}, report.Prompts)
	assert.NotContains(t, report.Panes, "Siri")
	assert.Contains(t, report.Panes, "Location")
	assert.False(t, d.InSetup())
	e := s.enrollment(d)
	assert.Equal(t, mdm.Enrolled, e.State)
	assert.Equal(t, d.SerialNumber(), e.Device.SerialNumber)
	record, err := s.stores.SCEP.Certificate(t.Context(), "", mdm.FingerprintOf(d.Certificate()))
	require.NoError(t, err)
	assert.Equal(t, d.SerialNumber(), record.DeviceSerial, "the identity was made for this device")
	var done []string
	for _, one := range d.History() {
		done = append(done, one.Order.RequestType)
	}
	assert.Contains(t, done, "DeviceConfigured")
	require.ErrorIs(t, d.CheckOut(t.Context()), mdmtest.ErrNotRemovable)
}

// A Mac tells how it was enrolled, and whether its management can be removed.
func TestLoopMac(t *testing.T) {
	t.Parallel()
	s := newSite(t, memory.New().Stores(), nil)
	d := s.device(mdmtest.Config{ProductName: "Mac14,2", OSVersion: "15.2"})
	_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned()})
	require.NoError(t, err)
	ask := func(c command.Command) {
		_, err := s.stores.Command.Enqueue(t.Context(), command.Order{Command: c, To: mdm.IDs(mdm.EnrollmentID{Device: d.ID()})})
		require.NoError(t, err)
		require.NoError(t, d.Poll(t.Context()))
	}
	ask(command.SecurityInfo{})
	ask(command.ProfileList{})
	answers := map[string]mdmtest.Answer{}
	for _, one := range d.History() {
		answers[one.Order.RequestType] = one.Answer
	}
	info := answers["SecurityInfo"].Fields["SecurityInfo"].(map[string]any)
	assert.Equal(t, true, info["ManagementStatus"].(map[string]any)["EnrolledViaDEP"])
	first := answers["ProfileList"].Fields["ProfileList"].([]any)[0].(map[string]any)
	assert.Equal(t, "com.example.mdm", first["PayloadIdentifier"])
	assert.Equal(t, true, first["PayloadRemovalDisallowed"])
}

func TestLoopPasswords(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ade.Password){
		"Digest": func(p *ade.Password) { p.Basic = nil },
		"Basic":  func(p *ade.Password) { p.Digest = nil },
	} {
		s := newSite(t, memory.New().Stores(), withPasswords(change))
		var refused *mdmtest.RefusedError
		report, err := s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned(), User: "ada", Password: "x"})
		require.ErrorAs(t, err, &refused, name)
		assert.Equal(t, http.StatusUnauthorized, refused.Answer.Status)
		assert.Len(t, report.Prompts, 2, name)
		_, err = s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned(), User: "ada", Password: "lovelace"})
		require.NoError(t, err, name)
	}
}

func TestLoopWeb(t *testing.T) {
	t.Parallel()
	s := newSite(t, memory.New().Stores(), nil)
	d := s.device(mdmtest.Config{})
	report, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.web(), Fill: fill("ada", "wrong", "lovelace")})
	require.NoError(t, err)
	assert.Equal(t, []string{s.https.URL + "/web", s.https.URL + "/login", s.https.URL + "/login"}, report.Pages)
	assert.Equal(t, mdm.Enrolled, s.enrollment(d).State)

	d = s.device(mdmtest.Config{})
	_, err = d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.web(), Fill: fill("ada", "wrong")})
	require.ErrorContains(t, err, "gives up")
	assert.False(t, d.Managed())

	unpinned := s.web()
	unpinned.AnchorCerts = nil
	_, err = s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: unpinned, Fill: fill("ada", "lovelace")})
	require.Error(t, err, "the server is not trusted without its anchors")
}

// A server that is started again in the middle goes on, on a database.
func TestLoopRestart(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "mdm.db")
	db, err := sqlite.Open(t.Context(), name, nil)
	require.NoError(t, err)
	second, err := sqlite.Open(t.Context(), name, nil) // another process on the same file
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = db.Close(), second.Close() })
	s := newSite(t, db.Stores(), withPasswords(func(p *ade.Password) { p.Basic = nil }))
	restart := func() {
		again := *s.service
		again.Sessions = second.Stores().Sessions
		s.service = &again
	}
	typed := fill("ada", "lovelace")
	d := s.device(mdmtest.Config{})
	_, err = d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.web(), Fill: func(p *mdmtest.Page) error {
		restart()
		return typed(p)
	}})
	require.NoError(t, err)
	assert.Equal(t, mdm.Enrolled, s.enrollment(d).State)

	req := func() *http.Request { return httptest.NewRequest(http.MethodPost, uri, nil) }
	w := &world{TB: t, sessions: newSessions(), service: s.service}
	p := w.phone("S9")
	authorization := digest("ada", "lovelace", nonce(t, p.enroll("")), req().URL.RequestURI())
	restart()
	w.service = s.service
	require.Equal(t, http.StatusOK, p.enroll(authorization).Code, "a nonce of the process before")
	restart()
	w.service = s.service
	assert.Equal(t, http.StatusUnauthorized, p.enroll(authorization).Code, "it was used in the process before")
}

// A device that a server asks for what it cannot do does not go round in a circle, and says what it was told.
func TestLoopEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, memory.New().Stores(), requires(update("18.3", "")))
	var refused *mdmtest.RefusedError
	d := s.device(mdmtest.Config{})
	_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned()})
	require.NoError(t, err, "a device that cannot update is enrolled as it is")
	failed := errors.New("no space")
	_, err = s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned(), CanUpdate: true,
		Update: func(enroll.ErrorSoftwareUpdateRequiredDetails) error { return failed }})
	require.ErrorIs(t, err, failed)
	_, err = s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned(), CanUpdate: true,
		Says: map[string]any{"OS_VERSION": "18.2"}})
	require.ErrorContains(t, err, "circle", "what the device says is never what it was told to be")

	s.service.Admit = func(context.Context, enroll.Session) error { return mdm.Errorf(mdm.Forbidden, "test", "not ours") }
	_, err = s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned()})
	require.ErrorAs(t, err, &refused)
	assert.Empty(t, refused.Code)
	s.service.Admit = func(context.Context, enroll.Session) error { return mdm.Errorf(mdm.Unavailable, "test", "later") }
	_, err = s.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.web()})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusServiceUnavailable, refused.Answer.Status)
}

// A watch gets its pairing token, a Mac its Platform SSO, and then their profile.
func TestLoopRequirements(t *testing.T) {
	t.Parallel()
	q := ade.Requirement{PairingToken: "6A2F0A0C-0D6C-4A43-8D6F-6E3A5D4B8F11", PSSO: &enroll.ErrorPSSORequiredDetails{ProfileURL: "https://mdm.example.com/psso",
		AuthURL: "https://mdm.example.com/auth", Package: enroll.ErrorPSSORequiredPackage{ManifestURL: "https://mdm.example.com/manifest"}}}
	s := newSite(t, memory.New().Stores(), func(s *ade.Service) {
		requires(q)(s)
		s.Bearer = func(_ context.Context, _ enroll.Session, token mdm.Secret) (string, error) {
			if !token.Equal(mdm.SecretString("token-of-ada")) {
				return "", ade.ErrWrong
			}
			return "ada", nil
		}
	})
	var asked string
	_, err := s.device(mdmtest.Config{ProductName: "Watch7,3", OSVersion: "11.0"}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned(),
		PairingToken: func(security string) ([]byte, error) { asked = security; return []byte("token"), nil }})
	require.NoError(t, err)
	assert.Equal(t, q.PairingToken, asked)
	report, err := s.device(mdmtest.Config{ProductName: "Mac14,2", OSVersion: "26.0"}).SetupAssistant(t.Context(),
		mdmtest.Assistant{Assignment: s.assigned(), CanPSSO: true, PSSO: func(d enroll.ErrorPSSORequiredDetails) (string, error) { asked = d.AuthURL; return "token-of-ada", nil }})
	require.NoError(t, err)
	assert.True(t, report.PSSO)
	assert.Equal(t, q.PSSO.AuthURL, asked)
	var refused *mdmtest.RefusedError
	_, err = s.device(mdmtest.Config{ProductName: "Mac14,2", OSVersion: "26.0"}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned(), CanPSSO: true,
		PSSO: func(enroll.ErrorPSSORequiredDetails) (string, error) { return "token-of-eve", nil }})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusForbidden, refused.Answer.Status)
	_, err = s.device(mdmtest.Config{ProductName: "Watch7,3"}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned()})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, enroll.ErrorWatchPairingTokenMissingCode, refused.Code)
}

// A device that comes again, with its users, is the same one; none becomes another by saying so later.
func TestLoopAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, memory.New().Stores(), nil)
	for _, product := range []string{"iPhone15,2", "Mac14,2"} {
		d := s.device(mdmtest.Config{ProductName: product, SerialNumber: "S-" + product[:3]})
		for range 2 { // the second time without CheckOut, as after it was erased
			_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assigned()})
			require.NoError(t, err)
			assert.Equal(t, mdm.Enrolled, s.enrollment(d).State)
		}
		if product == "Mac14,2" {
			user := d.User("5A4F0A0C-0D6C-4A43-8D6F-6E3A5D4B8F11", "ada")
			require.NoError(t, user.TokenUpdate(t.Context()))
			require.NoError(t, user.Poll(t.Context()))
		}
		says := map[string]any{"Topic": "com.apple.mgmt.External.test", "ProductName": product, "SerialNumber": d.SerialNumber()}
		_, err := d.Tell(t.Context(), "Authenticate", says)
		require.NoError(t, err, "its answer was lost")
		says["SerialNumber"] = "S-of-another"
		_, err = d.Tell(t.Context(), "Authenticate", says)
		require.Error(t, err)
		assert.Equal(t, d.SerialNumber(), s.enrollment(d).Device.SerialNumber)
		assert.Equal(t, mdm.Enrolled, s.enrollment(d).State)
	}
}

// The challenge of a profile is for its device, and once.
func TestLoopStolenProfile(t *testing.T) {
	t.Parallel()
	s := newSite(t, memory.New().Stores(), nil)
	w := &world{TB: t, sessions: newSessions(), service: s.service}
	owner := s.device(mdmtest.Config{UDID: "UDID-S1", SerialNumber: "S1"})
	thief := s.device(mdmtest.Config{UDID: "UDID-S2", SerialNumber: "S2"})
	profiles := [][]byte{w.phone("S1").enroll("").Body.Bytes(), w.phone("S1").enroll("").Body.Bytes()}
	require.Error(t, thief.InstallEnrollment(t.Context(), profiles[0]), "made for another device")
	assert.False(t, thief.Managed())
	require.Error(t, owner.InstallEnrollment(t.Context(), profiles[0]), "its challenge is used up")
	require.NoError(t, owner.InstallEnrollment(t.Context(), profiles[1]))
	require.Error(t, thief.InstallEnrollment(t.Context(), profiles[1]))
	// an identity that was made for nobody enrolls nobody
	recipe := enroll.Recipe{Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.test", ServerURL: s.https.URL + "/mdm"},
		Identities: enroll.SCEPIdentities{Store: s.stores.SCEP, Content: profile.SCEPContent{URL: s.https.URL + "/scep"}}}
	data, err := recipe.Bytes(t.Context(), enroll.For{})
	require.NoError(t, err)
	require.Error(t, thief.InstallEnrollment(t.Context(), data))
}
