package ade_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
)

func TestEnroll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ade.Service) { s.Tenant = func(r *http.Request) string { return r.URL.Query().Get("customer") } })
	p := w.phone("S1").with(map[string]any{"NEW_KEY": []any{"x"}, "IMEI": "35 1234", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": true})
	res := p.enroll("")
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "application/x-apple-aspen-config", res.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", res.Header().Get("Cache-Control"))
	assert.Equal(t, "@S1", w.label(res.Body.Bytes()))
	require.Len(t, w.sessions.all(), 1)
	for _, s := range w.sessions.all() {
		assert.Equal(t, ade.Kind, s.Kind)
		assert.Equal(t, "7", s.Tenant)
		assert.Equal(t, enroll.SessionDelivered, s.State)
		assert.Equal(t, w.now(), s.DeliveredAt)
		assert.Equal(t, mdm.FingerprintOf(p.builtIn.Leaf), s.BuiltIn)
		assert.Equal(t, map[string]string{"UDID": "UDID-S1", "SERIAL": "S1", "PRODUCT": "iPhone15,2", "VERSION": "22C152", "OS_VERSION": "18.2",
			"LANGUAGE": "de", "IMEI": "35 1234", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": "true"}, s.Device)
		assert.True(t, s.KeepUntil.After(s.OpenUntil))
	}
	require.Equal(t, http.StatusOK, p.enroll("").Code, "the answer may have been lost")
}

// Devices sign in more than one way, and a Mac has another key.
func TestEnrollSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.phone("S1")
	for name, o := range map[string]cms.SignOptions{
		"SHA-1, BER, no attributes": {Hash: crypto.SHA1, NoAttributes: true, Indefinite: true},
		"with its chain":            {Chain: []*x509.Certificate{appleCA().Certificate, appleCA().Root}},
	} {
		assert.Equal(t, http.StatusOK, w.post(signed(t, p.says, p.builtIn, o), "").Code, name)
	}
	// without SERIAL, as where the device is its user's own
	assert.Equal(t, http.StatusOK, p.with(map[string]any{"SERIAL": nil, "UDID": nil}).enroll("").Code)
}

func TestEnrollRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.phone("S1")
	content, err := plistx.Marshal(p.says)
	require.NoError(t, err)
	stranger, err := otherCA().Issue("S1") // of a CA with the name of Apple's
	require.NoError(t, err)
	virtual, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	changed := bytes.Replace(p.message(), []byte("UDID-S1"), []byte("UDID-S2"), 1)
	detached, err := cms.Sign(content, p.builtIn.Leaf, p.builtIn.PrivateKey.(crypto.Signer), cms.SignOptions{Detached: true})
	require.NoError(t, err)
	mine := authority(t, p.builtIn)
	forged := p.message()
	forged[len(forged)-1] ^= 1
	for name, tt := range map[string]struct {
		body []byte
		want int
	}{
		"nothing":                          {nil, 400},
		"no CMS":                           {[]byte("hello"), 400},
		"a bare property list":             {content, 400},
		"a signature of something else":    {detached, 400},
		"cut off":                          {p.message()[:400], 400},
		"changed after it was signed":      {changed, 403},
		"another signature":                {forged, 403},
		"a CA of the same name":            {signed(t, p.says, stranger, cms.SignOptions{}), 403},
		"nobody's certificate":             {signed(t, p.says, virtual, cms.SignOptions{}), 403},
		"a certificate that a device made": {signed(t, p.says, mine, cms.SignOptions{Chain: []*x509.Certificate{p.builtIn.Leaf}}), 403},
		"too large":                        {bytes.Repeat([]byte{0x30}, enroll.MaxMessage+1), 413},
		"not a dictionary":                 {sign(t, p, []byte(`<plist version="1.0"><array/></plist>`)), 400},
		"no property list":                 {sign(t, p, []byte("x")), 400},
		"deep":                             {sign(t, p, []byte("<plist>"+strings.Repeat("<array>", 40)+strings.Repeat("</array>", 40)+"</plist>")), 400},
		"empty":                            {p.with(map[string]any{"UDID": nil, "SERIAL": nil, "PRODUCT": nil}).message(), 400},
		"UDID is a number":                 {p.with(map[string]any{"UDID": 7}).message(), 400},
		"a flag is a text":                 {p.with(map[string]any{"MDM_CAN_REQUEST_SOFTWARE_UPDATE": "yes"}).message(), 400},
		"SERIAL is data":                   {p.with(map[string]any{"SERIAL": []byte("S1")}).message(), 400},
		"PAIRING_TOKEN is a text":          {p.with(map[string]any{"PAIRING_TOKEN": "x"}).message(), 400},
		"a long PAIRING_TOKEN":             {p.with(map[string]any{"PAIRING_TOKEN": make([]byte, 17<<10)}).message(), 400},
		"a long UDID":                      {p.with(map[string]any{"UDID": strings.Repeat("U", 256)}).message(), 400},
		"a long PRODUCT":                   {p.with(map[string]any{"PRODUCT": strings.Repeat("P", 2000)}).message(), 400},
		"a line break in SERIAL":           {p.with(map[string]any{"SERIAL": "S\n1"}).message(), 400},
	} {
		w.refused(name, tt.want, func() *httptest.ResponseRecorder { return w.post(tt.body, "") })
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
		rec := httptest.NewRecorder()
		w.service.Enroll().ServeHTTP(rec, httptest.NewRequest(method, "/", nil))
		assert.Equal(t, http.StatusMethodNotAllowed, rec.Code)
		assert.Equal(t, "POST", rec.Header().Get("Allow"))
	}
	assert.Equal(t, http.StatusOK, p.enroll("").Code)
}

// sign signs any content as p.
func sign(t testing.TB, p *phone, content []byte) []byte {
	t.Helper()
	body, err := cms.Sign(content, p.builtIn.Leaf, p.builtIn.PrivateKey.(crypto.Signer), cms.SignOptions{})
	require.NoError(t, err)
	return body
}

// authority is an identity that was signed with the key of a device, as if that were an authority.
func authority(t testing.TB, by tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "S1"}, NotAfter: time.Now().Add(time.Hour),
		SignatureAlgorithm: x509.SHA256WithRSA}
	der, err := x509.CreateCertificate(rand.Reader, template, by.Leaf, key.Public(), by.PrivateKey)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Leaf: leaf, PrivateKey: key}
}

// An authority that Apple's device CA signed is no device: it could sign devices.
func TestEnrollRefusesAnAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.phone("S1")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issuer, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}}, key.Public(), key)
	require.NoError(t, err)
	root, err := x509.ParseCertificate(issuer)
	require.NoError(t, err)
	w.service.Devices.Issuers = append(w.service.Devices.Issuers, root)
	for _, isCA := range []bool{true, false} {
		template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "device"}, IsCA: isCA, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), key)
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		body := signed(t, p.says, tls.Certificate{Leaf: leaf, PrivateKey: key}, cms.SignOptions{})
		if isCA {
			w.refused("an authority", http.StatusForbidden, func() *httptest.ResponseRecorder { return w.post(body, "") })
		} else {
			assert.Equal(t, http.StatusOK, w.post(body, "").Code)
		}
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	var answer error
	asked := 0
	w := newWorld(t, func(s *ade.Service) {
		s.Stranger = func(context.Context, *x509.Certificate) error { asked++; return answer }
	})
	virtual, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	p := w.phone("S1")
	require.Equal(t, http.StatusOK, p.enroll("").Code)
	assert.Zero(t, asked, "nobody asks about a genuine device")
	p.builtIn = virtual
	assert.Equal(t, http.StatusOK, p.enroll("").Code)
	answer = mdm.Errorf(mdm.Forbidden, "test", "no")
	w.refused("forbidden", http.StatusForbidden, func() *httptest.ResponseRecorder { return p.enroll("") })
}

// hookErrors are what hooks may return, and what a device is answered: never 401, and never that it was its fault.
func hookErrors() map[error]int {
	return map[error]int{
		mdm.Errorf(mdm.Forbidden, "test", "no"):      http.StatusForbidden,
		mdm.Errorf(mdm.Unmanaged, "test", "no"):      http.StatusForbidden,
		mdm.Errorf(mdm.NotFound, "test", "no"):       http.StatusForbidden,
		mdm.Errorf(mdm.UserDeclined, "test", "no"):   http.StatusForbidden,
		mdm.Errorf(mdm.Unavailable, "test", "later"): http.StatusServiceUnavailable,
		mdm.Errorf(mdm.Malformed, "test", "bad"):     http.StatusInternalServerError,
		mdm.Errorf(mdm.TooLarge, "test", "large"):    http.StatusInternalServerError,
		errors.New("secret details"):                 http.StatusInternalServerError,
	}
}

type failingSigner struct{ err error }

func (f failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, f.err }

func TestHookErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p, v, good := w.phone("S1"), w.phone("S2").visit(), *w.service
	for err, want := range hookErrors() {
		for name, change := range map[string]func(*ade.Service){
			"admit": func(s *ade.Service) { s.Admit = func(context.Context, enroll.Session) error { return err } },
			"final": func(s *ade.Service) {
				s.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return nil, err }
			},
			"signer": func(s *ade.Service) {
				s.Signer, s.Final = failingSigner{err}, func(_ context.Context, s enroll.Session) (*profile.Profile, error) { return webClip(s), nil }
			},
			"require": func(s *ade.Service) {
				s.Require = func(context.Context, *enroll.MachineInfo) (ade.Requirement, error) { return ade.Requirement{}, err }
			},
			"authenticate": func(s *ade.Service) {
				s.Authenticate = func(context.Context, enroll.Session) (*ade.Password, error) { return nil, err }
			},
		} {
			service := good
			change(&service)
			w.service = &service
			w.refused(name+": "+err.Error(), want, func() *httptest.ResponseRecorder {
				res := p.enroll("")
				assert.NotContains(t, res.Body.String(), "details")
				assert.Equal(t, want == http.StatusServiceUnavailable, res.Header().Get("Retry-After") != "")
				return res
			})
			if name != "require" && name != "authenticate" {
				w.refused("finish, "+name, want, func() *httptest.ResponseRecorder { return v.finish("ada") })
			}
		}
		w.service = &good
		w.sessions.outage(err)
		res, finished := p.enroll(""), v.finish("ada")
		w.sessions.outage(nil)
		switch mdm.CodeOf(err) {
		case mdm.NotFound: // of a store it means something else
		default:
			assert.Equal(t, want, res.Code, "store: %v", err)
			assert.Equal(t, want, finished.Code, "store: %v", err)
		}
	}
	for name, bad := range map[string]*profile.Profile{"no profile": nil, "no identifier": {}} {
		service := good
		service.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return bad, nil }
		w.service = &service
		w.refused(name, 500, func() *httptest.ResponseRecorder { return p.enroll("") })
	}
	for name, change := range map[string]func(*ade.Service){
		"Sessions": func(s *ade.Service) { s.Sessions = nil }, "Signer": func(s *ade.Service) { s.Signer = nil }, "Final": func(s *ade.Service) { s.Final = nil },
	} {
		service := good
		change(&service)
		w.service = &service
		w.refused(name, 500, func() *httptest.ResponseRecorder { return p.enroll("") })
		w.refused(name, 500, func() *httptest.ResponseRecorder { return v.finish("ada") })
	}
	w.service = &good
	require.Equal(t, http.StatusOK, p.enroll("").Code)
	require.Equal(t, http.StatusOK, v.finish("ada").Code, "none of it used the state up")
}

// Admit turns away who is not in an inventory, before anybody is asked for a password.
func TestAdmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ade.Service) {
		s.Admit = func(_ context.Context, session enroll.Session) error {
			if session.Device["SERIAL"] != "S1" {
				return mdm.Errorf(mdm.Forbidden, "test", "not ours")
			}
			return nil
		}
		s.Authenticate = func(context.Context, enroll.Session) (*ade.Password, error) { return passwords(), nil }
	})
	w.refused("not ours", http.StatusForbidden, func() *httptest.ResponseRecorder { return w.phone("S2").enroll("") })
	w.refused("no serial number", http.StatusForbidden, func() *httptest.ResponseRecorder { return w.phone("S1").with(map[string]any{"SERIAL": nil}).enroll("") })
	w.refused("ours", http.StatusUnauthorized, func() *httptest.ResponseRecorder { return w.phone("S1").enroll("") })
}

func TestTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body := w.phone("S1").message()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.Equal(t, http.StatusOK, w.post(body, "").Code) })
	}
	wg.Wait()
	assert.Len(t, w.sessions.all(), 8)
}

func TestLog(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	w := newWorld(t, func(s *ade.Service) {
		s.Logger = slog.New(slog.NewTextHandler(&text, nil))
		s.Authenticate = func(context.Context, enroll.Session) (*ade.Password, error) { return passwords(), nil }
	})
	p := w.phone("S1").with(map[string]any{"PAIRING_TOKEN": []byte("pairing-token-bytes")})
	require.Equal(t, http.StatusUnauthorized, p.enroll("").Code)
	require.Equal(t, http.StatusUnauthorized, p.enroll(basic("ada", "guessed-wrong")).Code)
	require.Equal(t, http.StatusOK, p.enroll(basic("ada", "lovelace")).Code)
	require.Equal(t, http.StatusBadRequest, w.post([]byte("x"), "").Code)
	v := p.visit()
	require.Equal(t, http.StatusOK, v.finish("ada").Code)
	require.Equal(t, http.StatusForbidden, v.finish("ada").Code)
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	require.Len(t, lines, 7)
	assert.Contains(t, lines[0], `level=INFO msg="ade enroll"`)
	assert.Contains(t, lines[1], "http=401")
	assert.Contains(t, lines[2], "user=ada udid=UDID-S1 serial=S1 http=200")
	assert.Contains(t, lines[3], "level=WARN")
	assert.Contains(t, lines[4], `msg="ade web"`)
	assert.Contains(t, lines[5], `msg="ade finish"`)
	assert.Contains(t, lines[6], "http=403")
	_, token, _ := strings.Cut(v.state, ".")
	for _, secret := range []string{"guessed-wrong", "lovelace", token, v.cookie.Value, "pairing-token"} {
		assert.NotContains(t, text.String(), secret)
	}
}
