package practice_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// recipe makes enrollment profiles of the lab.
func (l *lab) recipe(identities enroll.Identities) *enroll.Recipe {
	return &enroll.Recipe{Identities: identities, Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: topic,
		ServerURL: l.https.URL + "/mdm", Uses: l.server.Uses()}}
}

func (l *lab) scepIdentities() enroll.SCEPIdentities {
	return enroll.SCEPIdentities{Content: profile.SCEPContent{URL: l.https.URL + "/scep"}, Store: l.stores.SCEP, Clock: l.now}
}

// site is another HTTPS server, which the lab's devices trust.
func (l *lab) site(h http.Handler) *httptest.Server {
	s := httptest.NewTLSServer(h)
	l.Cleanup(s.Close)
	l.roots.AddCert(s.Certificate())
	return s
}

// profileSigner signs for the lab. Devices trust it.
func (l *lab) profileSigner() profile.CMSSigner {
	l.roots.AddCert(l.ca.Certificate)
	return profile.CMSSigner{Certificate: l.ca.Certificate, Key: l.ca.Key}
}

// A user logs in, a device proves that Apple made it, and the profile that it gets can be read by it alone.
func TestBP07_OverTheAir(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(nil)
		factory, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
		require.NoError(t, err)
		ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: l.ca.Chain(), Clock: l.now})
		require.NoError(t, err)
		recipe, mux := l.recipe(l.scepIdentities()), http.NewServeMux()
		site := l.site(mux)
		service := &ota.Service{Sessions: l.stores.Sessions, Ledger: l.stores.SCEP, Validator: ours, Signer: l.profileSigner(), Clock: l.now,
			Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{factory.Certificate}}, URL: site.URL + "/continue",
			SCEP: profile.SCEPContent{URL: l.https.URL + "/scep"}, Identifier: "com.example.ota",
			Login: func(_ http.ResponseWriter, r *http.Request) (string, bool) { return r.URL.Query().Get("user"), true },
			Final: func(ctx context.Context, s enroll.Session) (*profile.Profile, error) {
				assert.Equal(t, "ada", s.User)
				return recipe.Profile(ctx, enroll.For{DeviceSerial: s.Device["SERIAL"], User: s.User, Sealed: true})
			}}
		mux.Handle("/start", service.Start())
		mux.Handle("/continue", service.Continue())
		d := l.device(mdmtest.Config{BuiltIn: factory})
		require.NoError(t, d.EnrollOverTheAir(t.Context(), site.URL+"/start?user=ada"))
		assert.True(t, d.Managed())
		e, err := l.stores.Roster.Enrollment(t.Context(), id(d))
		require.NoError(t, err)
		assert.Equal(t, mdm.Enrolled, e.State)

		other, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
		require.NoError(t, err)
		foreign := l.device(mdmtest.Config{BuiltIn: other})
		require.Error(t, foreign.EnrollOverTheAir(t.Context(), site.URL+"/start?user=ada"))
		assert.False(t, foreign.Managed())
	})
}

// Each device has an identity of its own, and one does not speak for another.
func TestBP10_IdentitiesAreEachTheirOwn(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(nil)
		for name, identities := range map[string]enroll.Identities{"SCEP": l.scepIdentities(), "PKCS#12": enroll.PKCS12Identities{CA: l.ca, Store: l.stores.SCEP}} {
			recipe := l.recipe(identities)
			recipe.AllowPlainPKCS12 = true
			one, two := l.device(mdmtest.Config{}), l.device(mdmtest.Config{})
			for _, d := range []*mdmtest.Device{one, two} {
				data, err := recipe.Bytes(t.Context(), enroll.For{DeviceSerial: d.SerialNumber()})
				require.NoError(t, err, name)
				require.NoError(t, d.InstallEnrollment(t.Context(), data), name)
			}
			assert.NotEqual(t, mdm.FingerprintOf(one.Certificate()), mdm.FingerprintOf(two.Certificate()), name)
			stolen, err := recipe.Bytes(t.Context(), enroll.For{DeviceSerial: one.SerialNumber()})
			require.NoError(t, err, name)
			require.Error(t, two.InstallEnrollment(t.Context(), stolen), "%s: it was made for another serial number", name)
			require.NoError(t, two.Poll(t.Context()), "%s: and it is managed as before", name)
		}
	})
}

// The service configuration leads a device to what it must trust, and then it enrolls.
func TestBP18_MDMServiceConfig(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(nil)
		var h http.Handler
		site := l.site(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
		config := enroll.ServiceConfig{DEPEnrollmentURL: l.https.URL + "/enroll", AnchorCertsURL: site.URL + "/anchors",
			TrustProfileURL: site.URL + "/trust", Anchors: []*x509.Certificate{l.ca.Certificate}}
		h, err := config.Handler("")
		require.NoError(t, err)
		get := func(url string, into any) {
			t.Helper()
			res, err := site.Client().Get(url)
			require.NoError(t, err)
			defer res.Body.Close()
			assert.Equal(t, "application/json; charset=UTF8", res.Header.Get("Content-Type"))
			require.NoError(t, json.NewDecoder(res.Body).Decode(into))
		}
		var told struct {
			Enroll  string `json:"dep_enrollment_url"`
			Anchors string `json:"dep_anchor_certs_url"`
			Trust   string `json:"trust_profile_url"`
		}
		get(site.URL+enroll.ServiceConfigPath, &told)
		var anchors []string
		get(told.Anchors, &anchors)
		assert.Equal(t, config.AnchorCerts(), anchors)
		d := l.device(mdmtest.Config{})
		require.NoError(t, d.Trust(t.Context(), told.Trust))
		require.NoError(t, d.Enroll(t.Context(), told.Enroll))
	})
}

// A profile that is handed out by other means enrolls one device, as long as its challenge is good.
func TestBP19_ExportedProfile(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(nil)
		recipe := l.recipe(l.scepIdentities())
		file, err := recipe.Bytes(t.Context(), enroll.For{})
		require.NoError(t, err)
		parsed, err := profile.Parse(file)
		require.NoError(t, err)
		assert.Empty(t, profile.ValidateEnrollment(parsed.Profile))
		require.NoError(t, l.device(mdmtest.Config{}).InstallEnrollment(t.Context(), file))
		second := l.device(mdmtest.Config{})
		require.Error(t, second.InstallEnrollment(t.Context(), file), "its challenge is spent")
		late, err := recipe.Bytes(t.Context(), enroll.For{})
		require.NoError(t, err)
		l.ahead.Add(int64(scep.DefaultChallengeLifetime + time.Minute))
		require.Error(t, second.InstallEnrollment(t.Context(), late), "its challenge has expired")
		assert.False(t, second.Managed())
	})
}
