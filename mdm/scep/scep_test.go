package scep_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
)

// store is a Store for tests.
type store struct {
	mu         sync.Mutex
	challenges map[[32]byte]*answered
	certs      map[mdm.Fingerprint]*mdm.Certificate
	err        error // returned by Redeem
}

type answered struct {
	scep.Challenge
	key, spent [32]byte
	der        []byte
}

func newStore() *store {
	return &store{challenges: map[[32]byte]*answered{}, certs: map[mdm.Fingerprint]*mdm.Certificate{}}
}

func (s *store) AddChallenge(_ context.Context, c scep.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenges[c.Hash] = &answered{Challenge: c}
	return nil
}

func (s *store) Redeem(_ context.Context, hash, key [32]byte, now time.Time) (scep.Challenge, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.challenges[hash]
	switch {
	case s.err != nil:
		return scep.Challenge{}, nil, s.err
	case c == nil:
		return scep.Challenge{}, nil, mdm.Errorf(mdm.Forbidden, "store", "unknown challenge")
	case c.der != nil && c.key == key:
		return c.Challenge, c.der, nil
	case c.spent != [32]byte{} && c.spent != key, now.After(c.ExpiresAt):
		return scep.Challenge{}, nil, mdm.Errorf(mdm.Forbidden, "store", "spent or expired")
	}
	return c.Challenge, nil, nil
}

func (s *store) Record(_ context.Context, i scep.Issue) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.challenges[i.Challenge]; c != nil {
		if c.spent != [32]byte{} && c.spent != i.Key {
			return mdm.Errorf(mdm.Forbidden, "store", "spent")
		}
		if c.der != nil {
			s.certs[sha256.Sum256(c.der)].Status = mdm.CertificateRevoked
		}
		c.key, c.der = i.Key, i.DER
	}
	cert := i.Certificate
	s.certs[cert.Fingerprint] = &cert
	return nil
}

func (s *store) Spend(_ context.Context, hash, key [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenges[hash].spent = key
	return nil
}

func (s *store) Certificate(_ context.Context, _ string, fp mdm.Fingerprint) (mdm.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.certs[fp]; c != nil {
		return *c, nil
	}
	return mdm.Certificate{}, mdm.Errorf(mdm.NotFound, "store", "no certificate")
}

func (s *store) setStatus(cert *x509.Certificate, status mdm.CertificateStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certs[mdm.FingerprintOf(cert)].Status = status
}

var (
	testCA = sync.OnceValue(func() *scep.LocalCA {
		ca, err := scep.NewLocalCA("test")
		if err != nil {
			panic(err)
		}
		return ca
	})
	testKeys = sync.OnceValue(func() []*rsa.PrivateKey {
		var keys []*rsa.PrivateKey
		for range 3 {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				panic(err)
			}
			keys = append(keys, key)
		}
		return keys
	})
)

func key(i int) *rsa.PrivateKey { return testKeys()[i] }

// serve returns a server, a client of it, and the recorded last request.
func serve(t testing.TB, s *store) (scep.Client, *scep.Server) {
	t.Helper()
	handler := &scep.Server{CA: testCA(), Store: s}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return scep.Client{URL: server.URL + "/scep", HTTP: server.Client()}, handler
}

func challenge(t testing.TB, s *store, c scep.Challenge) mdm.Secret {
	t.Helper()
	secret, err := scep.NewChallenge(t.Context(), s, c)
	require.NoError(t, err)
	return secret
}

func TestEnroll(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	secret := challenge(t, s, scep.Challenge{Device: "UDID", DeviceSerial: "C02"})
	cert, err := client.Enroll(t.Context(), key(0), secret)
	require.NoError(t, err)
	require.NoError(t, cert.CheckSignatureFrom(testCA().Certificate))
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	assert.NotEqual(t, "device", cert.Subject.CommonName, "the subject is the server's choice, not the request's")
	assert.True(t, cert.NotBefore.Before(time.Now().Add(-30*time.Minute)), "back-dated for slow clocks")
	record, err := s.Certificate(t.Context(), "", mdm.FingerprintOf(cert))
	require.NoError(t, err)
	assert.Equal(t, mdm.CertificateIssued, record.Status)
	assert.Equal(t, mdm.PurposeEnroll, record.Purpose)
	assert.Equal(t, "UDID", record.Device)
	assert.Equal(t, "C02", record.DeviceSerial)
}

func TestClockOfTheDeviceMayBeWrong(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	for _, off := range []time.Duration{-400 * 24 * time.Hour, 400 * 24 * time.Hour} {
		client.Clock = func() time.Time { return time.Now().Add(off) }
		_, err := client.Enroll(t.Context(), key(0), challenge(t, s, scep.Challenge{}))
		require.NoError(t, err, off)
	}
}

func TestChallengeIsGoodOnce(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	secret := challenge(t, s, scep.Challenge{})
	first, err := client.Enroll(t.Context(), key(0), secret)
	require.NoError(t, err)
	again, err := client.Enroll(t.Context(), key(0), secret)
	require.NoError(t, err, "a device that lost the answer asks again with the same key")
	assert.True(t, first.Equal(again))
	_, err = client.Enroll(t.Context(), key(1), secret)
	require.ErrorIs(t, err, scep.ErrFailure)
}

func TestChallengeRefused(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	for name, secret := range map[string]mdm.Secret{
		"none":    {},
		"unknown": mdm.SecretString("guess"),
		"expired": challenge(t, s, scep.Challenge{ExpiresAt: time.Now().Add(-time.Second)}),
		"tenant":  challenge(t, s, scep.Challenge{Tenant: "other"}),
	} {
		_, err := client.Enroll(t.Context(), key(0), secret)
		require.ErrorIs(t, err, scep.ErrFailure, name)
	}
	assert.Empty(t, s.certs)
	_, err := scep.NewChallenge(t.Context(), s, scep.Challenge{Purpose: mdm.PurposeRenew})
	require.Error(t, err, "a renewal is somebody's")
}

func TestOutageSpendsNothing(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	secret := challenge(t, s, scep.Challenge{})
	s.err = errors.New("disk full")
	_, err := client.Enroll(t.Context(), key(0), secret)
	require.ErrorContains(t, err, "500")
	s.err = nil
	_, err = client.Enroll(t.Context(), key(1), secret)
	require.NoError(t, err)
}

// deaf is a ResponseWriter whose client has gone.
type deaf struct{ http.ResponseWriter }

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestUndeliveredAnswerSpendsNothing(t *testing.T) {
	s := newStore()
	handler := &scep.Server{CA: testCA(), Store: s}
	var lose atomic.Bool
	lose.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lose.Load() && r.URL.Query().Get("operation") == "PKIOperation" {
			handler.ServeHTTP(deaf{w}, r)
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	client := scep.Client{URL: server.URL, HTTP: server.Client()}
	secret := challenge(t, s, scep.Challenge{})
	_, err := client.Enroll(t.Context(), key(0), secret)
	require.Error(t, err)
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.certs) == 1 }, 10*time.Second, time.Millisecond)
	lose.Store(false)
	cert, err := client.Enroll(t.Context(), key(1), secret)
	require.NoError(t, err, "a device that made a new key after the loss must not be shut out")
	living := 0
	for _, c := range s.certs {
		if c.Status == mdm.CertificateIssued {
			living++
			assert.Equal(t, mdm.FingerprintOf(cert), c.Fingerprint)
		}
	}
	assert.Equal(t, 1, living, "one challenge never gives two living certificates")
}

func TestRenew(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	old, err := client.Enroll(t.Context(), key(0), challenge(t, s, scep.Challenge{Device: "UDID"}))
	require.NoError(t, err)
	_, err = client.Renew(t.Context(), old, key(0), key(1))
	require.ErrorIs(t, err, scep.ErrFailure, "a certificate that never enrolled renews nothing")
	s.setStatus(old, mdm.CertificateActive)
	cert, err := client.Renew(t.Context(), old, key(0), key(1))
	require.NoError(t, err)
	record, err := s.Certificate(t.Context(), "", mdm.FingerprintOf(cert))
	require.NoError(t, err)
	assert.Equal(t, mdm.PurposeRenew, record.Purpose)
	assert.Equal(t, "UDID", record.Device)
	for _, status := range []mdm.CertificateStatus{mdm.CertificateRetired, mdm.CertificateRevoked} {
		s.setStatus(old, status)
		_, err = client.Renew(t.Context(), old, key(0), key(1))
		require.ErrorIs(t, err, scep.ErrFailure, status.String())
	}
	foreign, err := scep.NewLocalCA("test")
	require.NoError(t, err)
	stranger, err := foreign.Issue(t.Context(), scep.Request{Key: key(2).Public()})
	require.NoError(t, err)
	_, err = client.Renew(t.Context(), stranger, key(2), key(1))
	require.ErrorIs(t, err, scep.ErrFailure, "signed by a certificate of another CA of the same name")
}

func TestExpiredCertificateDoesNotRenew(t *testing.T) {
	s := newStore()
	client, handler := serve(t, s)
	old, err := client.Enroll(t.Context(), key(0), challenge(t, s, scep.Challenge{Device: "UDID"}))
	require.NoError(t, err)
	s.setStatus(old, mdm.CertificateActive)
	handler.Clock = func() time.Time { return old.NotAfter.Add(time.Hour) }
	_, err = client.Renew(t.Context(), old, key(0), key(1))
	require.ErrorIs(t, err, scep.ErrFailure)
}

func TestWeakKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	s := newStore()
	client, _ := serve(t, s)
	_, err = client.Enroll(t.Context(), weak, challenge(t, s, scep.Challenge{}))
	require.Error(t, err)
	assert.Empty(t, s.certs)
}

func TestCapabilitiesAndCertificate(t *testing.T) {
	client, handler := serve(t, newStore())
	get := func(operation string) (string, string) {
		res, err := client.HTTP.Get(client.URL + "?operation=" + operation)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.Header.Get("Content-Type"), string(body)
	}
	_, caps := get("GetCACaps")
	assert.Contains(t, strings.Fields(caps), "POSTPKIOperation")
	assert.NotContains(t, caps, "DES3")
	kind, body := get("GetCACert&message=any")
	assert.Equal(t, "application/x-x509-ca-cert", kind)
	assert.Equal(t, testCA().Certificate.Raw, []byte(body))
	handler.CA = &scep.LocalCA{Certificate: testCA().Certificate, Key: testCA().Key, Parents: []*x509.Certificate{testCA().Certificate}}
	kind, _ = get("GetCACert")
	assert.Equal(t, "application/x-x509-ca-ra-cert", kind)
}

// recorder keeps the message of a PKIOperation.
type recorder struct {
	next http.RoundTripper
	body []byte
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost {
		r.body, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(r.body))
	}
	return r.next.RoundTrip(req)
}

// recorded returns a valid PKCSReq message for a new challenge.
func recorded(t testing.TB, s *store, client scep.Client) []byte {
	t.Helper()
	rec := &recorder{next: client.HTTP.Transport}
	client.HTTP = &http.Client{Transport: rec}
	_, err := client.Enroll(t.Context(), key(0), challenge(t, s, scep.Challenge{}))
	require.NoError(t, err)
	return rec.body
}

func TestPKIOperationByGet(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	text := base64.StdEncoding.EncodeToString(recorded(t, s, client))
	for name, message := range map[string]string{
		"escaped":            url.QueryEscape(text),
		"plus sign left raw": strings.ReplaceAll(strings.ReplaceAll(text, "/", "%2F"), "=", "%3D"), // a raw + arrives as a space
	} {
		res, err := client.HTTP.Get(client.URL + "?operation=PKIOperation&message=" + message)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, res.StatusCode, name)
		assert.Equal(t, "application/x-pki-message", res.Header.Get("Content-Type"), name)
		require.NoError(t, res.Body.Close())
	}
}

func TestHostileHTTP(t *testing.T) {
	s := newStore()
	client, _ := serve(t, s)
	good := recorded(t, s, client)
	post := func(body []byte) int {
		res, err := client.HTTP.Post(client.URL+"?operation=PKIOperation", "application/x-pki-message", bytes.NewReader(body))
		require.NoError(t, err)
		defer res.Body.Close()
		return res.StatusCode
	}
	assert.Equal(t, http.StatusOK, post(good))
	for name, body := range map[string][]byte{
		"empty":     nil,
		"text":      []byte("hello"),
		"huge":      make([]byte, 1<<20),
		"nested":    bytes.Repeat([]byte{0x30, 0x80}, 20_000),
		"short":     {0x1f, 0x80},
		"truncated": good[:len(good)-1],
	} {
		assert.Equal(t, http.StatusBadRequest, post(body), name)
	}
	for i := 0; i < len(good); i += 97 {
		assert.Equal(t, http.StatusBadRequest, post(good[:i]), "cut at %d", i)
	}
	for request, want := range map[string]int{
		"GET ?operation=PKIOperation&message=%21": http.StatusBadRequest,
		"GET ?operation=GetCRL":                   http.StatusBadRequest,
		"GET ":                                    http.StatusBadRequest,
		"PUT ?operation=PKIOperation":             http.StatusMethodNotAllowed,
		"POST ?operation=GetCACert":               http.StatusBadRequest,
	} {
		method, query, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, client.URL+query, nil)
		require.NoError(t, err)
		res, err := client.HTTP.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, want, res.StatusCode, request)
	}
}

func TestServerWithoutRSAKeySaysSo(t *testing.T) {
	client, handler := serve(t, newStore())
	handler.CA = external{}
	_, err := client.Enroll(t.Context(), key(0), mdm.SecretString("x"))
	require.ErrorContains(t, err, "500")
}

// external is a CA elsewhere, whose key is not at hand.
type external struct{}

func (external) Issue(ctx context.Context, r scep.Request) (*x509.Certificate, error) {
	return testCA().Issue(ctx, r)
}
func (external) Chain() []*x509.Certificate { return testCA().Chain() }

func TestExternalCAWithRA(t *testing.T) {
	s := newStore()
	client, handler := serve(t, s)
	ra, err := testCA().Issue(t.Context(), scep.Request{Key: key(2).Public()})
	require.NoError(t, err)
	handler.CA, handler.RACertificate, handler.RAKey = external{}, ra, key(2)
	cert, err := client.Enroll(t.Context(), key(0), challenge(t, s, scep.Challenge{}))
	require.NoError(t, err)
	require.NoError(t, cert.CheckSignatureFrom(testCA().Certificate))
}

func TestLocalCAPEM(t *testing.T) {
	text, err := testCA().PEM()
	require.NoError(t, err)
	ca, err := scep.ParseLocalCA(text)
	require.NoError(t, err)
	assert.True(t, ca.Certificate.Equal(testCA().Certificate))
	_, err = scep.ParseLocalCA(mdm.SecretString("nothing"))
	require.Error(t, err)
	other, err := scep.NewLocalCA("other")
	require.NoError(t, err)
	mixed, err := (&scep.LocalCA{Certificate: testCA().Certificate, Key: other.Key}).PEM()
	require.NoError(t, err)
	_, err = scep.ParseLocalCA(mixed)
	require.ErrorContains(t, err, "match")
}

func TestCertificatesNeverOutliveTheCA(t *testing.T) {
	ca := *testCA()
	ca.Lifetime = 100 * 365 * 24 * time.Hour
	cert, err := ca.Issue(t.Context(), scep.Request{Key: key(0).Public()})
	require.NoError(t, err)
	assert.Equal(t, ca.Certificate.NotAfter, cert.NotAfter)
}

func FuzzPKIOperation(f *testing.F) {
	s := newStore()
	handler := &scep.Server{CA: testCA(), Store: s}
	server := httptest.NewServer(handler)
	f.Cleanup(server.Close)
	f.Add(recorded(f, s, scep.Client{URL: server.URL, HTTP: server.Client()}))
	f.Add([]byte{0x30, 0x80, 0x1f, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := httptest.NewRequest(http.MethodPost, "/?operation=PKIOperation", bytes.NewReader(data))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code)
	})
}

func BenchmarkEnroll(b *testing.B) {
	s := newStore()
	handler := &scep.Server{CA: testCA(), Store: s}
	server := httptest.NewServer(handler)
	b.Cleanup(server.Close)
	body := recorded(b, s, scep.Client{URL: server.URL, HTTP: server.Client()})
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?operation=PKIOperation", bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

func Example() {
	ctx := context.Background()
	ca, err := scep.NewLocalCA("Example Devices")
	if err != nil {
		fmt.Println(err)
		return
	}
	ledger := newStore() // yours: storage.Stores.SCEP
	server := httptest.NewServer(&scep.Server{CA: ca, Store: ledger})
	defer server.Close()

	// For the enrollment profile of one device:
	challenge, err := scep.NewChallenge(ctx, ledger, scep.Challenge{DeviceSerial: "C02XXXXXXXXX"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// What the device does with it:
	deviceKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := scep.Client{URL: server.URL}.Enroll(ctx, deviceKey, challenge)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("issued by", cert.Issuer.CommonName)
	// Output: issued by Example Devices
}
