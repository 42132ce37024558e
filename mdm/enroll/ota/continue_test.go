package ota_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ota.Service) {
		s.SCEP.Name, s.SCEP.Keysize = new("CA"), new(profile.SCEPKeysize1024)
		s.Attributes = []string{"UDID", "SERIAL", "DEVICE_NAME", "IMEI", "CHALLENGE"}
	})
	p := w.begun("S1")
	p.says["DEVICE_NAME"], p.says["IMEI"], p.says["WHATEVER"] = "Ada’s 👩‍👧 iPhone", uint64(5), "x"
	res := p.step2()
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "application/x-apple-aspen-config", res.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", res.Header().Get("Cache-Control"))
	payload := scepOf(t, res.Body.Bytes())
	content := payload.PayloadContent
	assert.Equal(t, w.service.SCEP.URL, content.URL)
	assert.Equal(t, "CA", *content.Name)
	assert.Equal(t, profile.SCEPKeysize2048, *content.Keysize)
	assert.Equal(t, "RSA", *content.KeyType)
	assert.EqualValues(t, 5, *content.KeyUsage)
	assert.False(t, *content.KeyIsExtractable)
	assert.True(t, w.service.SCEP.Challenge.IsZero(), "the template stays as it is")

	row := p.session()
	assert.Equal(t, enroll.SessionIdentified, row.State)
	assert.Equal(t, map[string]string{"UDID": "UDID-S1", "SERIAL": "S1", "DEVICE_NAME": "Ada’s 👩‍👧 iPhone"}, row.Device,
		"what was asked for, and is text")
	assert.Equal(t, mdm.FingerprintOf(p.builtIn.Leaf), row.BuiltIn)
	assert.Equal(t, 1, row.Runs)

	p.certify(keys()[0], content.Challenge)
	record, err := w.stores.SCEP.Certificate(t.Context(), "", mdm.FingerprintOf(p.identity.Leaf))
	require.NoError(t, err)
	assert.Equal(t, mdm.PurposeProfile, record.Purpose)
	assert.Equal(t, row.ID, record.Device, "no enrollment can claim it")
	assert.Equal(t, "S1", record.DeviceSerial)

	second := scepOf(t, p.step2().Body.Bytes())
	assert.False(t, second.PayloadContent.Challenge.Equal(content.Challenge), "fresh each time")
	assert.NotEqual(t, payload.PayloadUUID, second.PayloadUUID)
}

func TestWhatDevicesSend(t *testing.T) {
	t.Parallel()
	ecdsa, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{Algorithm: x509.ECDSAWithSHA256})
	require.NoError(t, err)
	w := newWorld(t, func(s *ota.Service) {
		s.Devices.Issuers = []*x509.Certificate{appleCA().Certificate, ecdsa.Certificate}
	})
	modern, err := ecdsa.Issue("modern")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		by      tls.Certificate
		options cms.SignOptions
		data    bool
	}{
		"SHA-256":           {},
		"SHA-1":             {options: cms.SignOptions{Hash: crypto.SHA1}},
		"BER, no attribute": {options: cms.SignOptions{Hash: crypto.SHA1, NoAttributes: true, Indefinite: true}},
		"with a chain":      {options: cms.SignOptions{Chain: []*x509.Certificate{appleCA().Certificate, appleCA().Root}}},
		"challenge as data": {data: true},
		"ECDSA":             {by: modern},
	} {
		p := w.begun(name)
		if c.by.Leaf == nil {
			c.by = p.builtIn
		}
		p.says["CHALLENGE"] = p.challenge
		if c.data {
			p.says["CHALLENGE"] = []byte(p.challenge)
		}
		assert.Equal(t, http.StatusOK, w.post(p.url, signed(t, p.says, c.by, c.options)).Code, name)
	}
}

// TestMoreThanAStoreKeeps: what is too long in all is the device's mistake, not ours.
func TestMoreThanAStoreKeeps(t *testing.T) {
	t.Parallel()
	names := []string{"UDID", "VERSION", "PRODUCT", "IMEI", "ICCID", "MEID", "DEVICE_NAME"}
	w := newWorld(t, func(s *ota.Service) { s.Attributes = names })
	w.service.Sessions = w.stores.Sessions
	p := w.begun("S1")
	long := map[string]any{}
	for _, name := range names[1:] {
		long[name] = strings.Repeat("<", 1024) // as JSON six times as long
	}
	assert.Equal(t, http.StatusBadRequest, w.post(p.url, p.message(long, p.builtIn)).Code)
	assert.Equal(t, http.StatusOK, p.step2().Code, "it can come again")
}

// hostile is a request that must be refused.
type hostile struct {
	url  string
	body []byte
	want int
}

// refuses sends each request and checks that it is refused and changes nothing.
func (w *world) refuses(requests map[string]hostile) {
	w.t.Helper()
	for name, r := range requests {
		before := w.sessions.all()
		res := w.post(r.url, r.body)
		assert.Equal(w.t, r.want, res.Code, name)
		assert.Equal(w.t, http.StatusText(r.want)+"\n", res.Body.String(), "%s: nothing is told", name)
		assert.Equal(w.t, "no-store", res.Header().Get("Cache-Control"), name)
		assert.Equal(w.t, before, w.sessions.all(), "%s: nothing changes", name)
	}
}

// with returns what p says, with other values.
func (p *phone) with(more map[string]any) map[string]any {
	says := map[string]any{"CHALLENGE": p.challenge}
	for _, from := range []map[string]any{p.says, more} {
		for key, value := range from {
			if says[key] = value; value == nil {
				delete(says, key)
			}
		}
	}
	return says
}

func (p *phone) message(more map[string]any, by tls.Certificate) []byte {
	return signed(p.w.t, p.with(more), by, cms.SignOptions{})
}

func otherSession(url string) string {
	return strings.Replace(url, "session=ota-", "session=ota-ff", 1)
}

func TestStep2Refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p, taken := w.begun("S1"), w.begun("S2")
	require.Equal(t, http.StatusOK, taken.step2().Code)
	foreignCA, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
	require.NoError(t, err)
	foreign, err := foreignCA.Issue("S1")
	require.NoError(t, err)
	virtual, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	good := p.message(nil, p.builtIn)
	plainPost := func(content string) []byte {
		body, err := cms.Sign([]byte(content), p.builtIn.Leaf, p.builtIn.PrivateKey.(crypto.Signer), cms.SignOptions{})
		require.NoError(t, err)
		return body
	}
	w.refuses(map[string]hostile{
		"no challenge":               {p.url, p.message(map[string]any{"CHALLENGE": nil}, p.builtIn), 403},
		"wrong challenge":            {p.url, p.message(map[string]any{"CHALLENGE": p.challenge + "x"}, p.builtIn), 403},
		"empty challenge":            {p.url, p.message(map[string]any{"CHALLENGE": ""}, p.builtIn), 403},
		"a number as challenge":      {p.url, p.message(map[string]any{"CHALLENGE": 1}, p.builtIn), 403},
		"another's challenge":        {p.url, taken.message(nil, p.builtIn), 403},
		"a challenge that is taken":  {taken.url, taken.message(map[string]any{"UDID": nil, "SERIAL": nil}, p.builtIn), 403},
		"the hash of the challenge":  {p.url, p.message(map[string]any{"CHALLENGE": secretOf(p)}, p.builtIn), 403},
		"another UDID than before":   {taken.url, taken.message(map[string]any{"UDID": "U"}, taken.builtIn), 403},
		"another SERIAL than before": {taken.url, taken.message(map[string]any{"SERIAL": "S"}, taken.builtIn), 403},
		"no session":                 {"/continue", good, 403},
		"an empty session":           {"/continue?session=", good, 403},
		"an unknown session":         {otherSession(p.url), good, 403},
		"another kind of session":    {"/continue?session=ade-00", good, 403},
		"a session too long":         {"/continue?session=ota-" + strings.Repeat("0", 1000), good, 403},
		"a namesake of the CA":       {p.url, p.message(nil, foreign), 403},
		"a virtual machine":          {p.url, p.message(nil, virtual), 403},
		"an authority":               {p.url, p.message(nil, tls.Certificate{Leaf: w.ca.Certificate, PrivateKey: w.ca.Key}), 403},
		"other content":              {p.url, bytes.Replace(good, []byte("UDID-S1"), []byte("UDID-S9"), 1), 403},
		"nothing":                    {p.url, nil, 400},
		"a plist":                    {p.url, []byte("<plist/>"), 400},
		"cut off":                    {p.url, good[:len(good)/2], 400},
		"detached":                   {p.url, signed(t, p.with(nil), p.builtIn, cms.SignOptions{Detached: true}), 400},
		"a bomb":                     {p.url, bytes.Repeat([]byte{0x30, 0x80}, 30_000), 400},
		"deep":                       {p.url, bytes.Repeat([]byte{0x24, 0x80}, 32_000), 400},
		"too large":                  {p.url, make([]byte, enroll.MaxMessage+1), 413},
		"no attributes":              {p.url, plainPost("hello"), 400},
		"a list of attributes":       {p.url, plainPost(`<plist version="1.0"><array/></plist>`), 400},
		"deep attributes":            {p.url, plainPost(`<plist version="1.0">` + strings.Repeat("<array>", 5000)), 400},
		"a control character":        {p.url, p.message(map[string]any{"UDID": "a\nb"}, p.builtIn), 400},
		"a long UDID":                {p.url, p.message(map[string]any{"UDID": strings.Repeat("a", 256)}, p.builtIn), 400},
		"a long VERSION":             {p.url, p.message(map[string]any{"VERSION": strings.Repeat("a", 1025)}, p.builtIn), 400},
	})
	assert.Equal(t, http.StatusOK, p.step2().Code, "and the device itself gets through after all that")
}

func secretOf(p *phone) []byte { s := p.session().Secret; return s[:] }

func TestStep3Refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	open, p, other := w.begun("S0"), w.identified("S1"), w.identified("S2") // p goes no further, or it would be refused for that

	// A certificate that was ordered for a session without its step 2.
	early := *open
	challenge, err := scep.NewChallenge(t.Context(), w.stores.SCEP, scep.Challenge{Purpose: mdm.PurposeProfile, Device: open.session().ID,
		ExpiresAt: w.now().Add(time.Hour)})
	require.NoError(t, err)
	early.certify(keys()[0], challenge)
	// An identity of MDM is of our CA as well.
	enrolled := *p
	challenge, err = scep.NewChallenge(t.Context(), w.stores.SCEP, scep.Challenge{Purpose: mdm.PurposeEnroll, Device: p.session().ID,
		ExpiresAt: w.now().Add(time.Hour)})
	require.NoError(t, err)
	enrolled.certify(keys()[0], challenge)
	// One that nobody recorded.
	cert, err := w.ca.Issue(t.Context(), scep.Request{Key: keys()[0].Public()})
	require.NoError(t, err)
	unrecorded := tls.Certificate{Leaf: cert, PrivateKey: keys()[0]}
	// One that was revoked, because another took its place.
	revoked := *p
	issue := scepOf(t, p.step2().Body.Bytes()).PayloadContent.Challenge
	revoked.certify(keys()[0], issue)
	record, err := w.stores.SCEP.Certificate(t.Context(), "", mdm.FingerprintOf(revoked.identity.Leaf))
	require.NoError(t, err)
	record.Status = mdm.CertificateRevoked
	require.NoError(t, w.stores.SCEP.Record(t.Context(), scep.Issue{Certificate: record, At: w.now()}))
	// One that was used, before another run of the same device.
	replaced := w.delivered("S3")
	again := *replaced
	again.getIdentity(keys()[1])
	require.Equal(t, http.StatusOK, again.step3().Code)
	foreignCA, err := scep.NewLocalCA("test devices")
	require.NoError(t, err)
	cert, err = foreignCA.Issue(t.Context(), scep.Request{Key: keys()[0].Public()})
	require.NoError(t, err)
	foreign := tls.Certificate{Leaf: cert, PrivateKey: keys()[0]}

	finals := w.finals.Load()
	good := signed(t, p.says, other.identity, cms.SignOptions{})
	w.refuses(map[string]hostile{
		"step 3 before step 2":       {open.url, early.message(nil, early.identity), 403},
		"an identity of MDM":         {p.url, p.message(nil, enrolled.identity), 403},
		"not in the ledger":          {p.url, p.message(nil, unrecorded), 403},
		"revoked":                    {p.url, p.message(nil, revoked.identity), 403},
		"replaced":                   {replaced.url, replaced.message(nil, replaced.identity), 403},
		"another CA":                 {p.url, p.message(nil, foreign), 403},
		"another session's identity": {p.url, p.message(nil, other.identity), 403},
		"another session's device":   {other.url, p.message(nil, other.identity), 403},
		"another session's both":     {p.url, other.message(map[string]any{"UDID": nil, "SERIAL": nil}, other.identity), 403},
		"another UDID":               {other.url, other.message(map[string]any{"UDID": "U"}, other.identity), 403},
		"another SERIAL":             {other.url, other.message(map[string]any{"SERIAL": "S"}, other.identity), 403},
		"other content":              {other.url, bytes.Replace(good, []byte("22C152"), []byte("22C999"), 1), 403},
		"no attributes":              {other.url, good[:100], 400},
	})
	assert.Equal(t, finals, w.finals.Load(), "nothing was made for them")
	assert.Equal(t, http.StatusOK, p.step3().Code, "and the device itself gets through after all that")
	res := w.post(other.url, other.message(map[string]any{"UDID": nil, "SERIAL": nil, "CHALLENGE": nil}, other.identity))
	assert.Equal(t, http.StatusOK, res.Code, "what is left out does not contradict")
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.identified("S1")
	res := p.step3()
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "application/x-apple-aspen-config", res.Header().Get("Content-Type"))
	parsed, err := profile.Parse(res.Body.Bytes())
	require.NoError(t, err)
	assert.True(t, parsed.Signer.Equal(w.ca.Certificate))
	assert.Equal(t, "com.example.last", parsed.Profile.Identifier, "its header is readable")
	assert.Empty(t, parsed.Profile.Payloads)
	assert.NotContains(t, res.Body.String(), "intranet")
	final, err := parsed.Profile.Decrypt(p.identity.Leaf, p.identity.PrivateKey)
	require.NoError(t, err)
	assert.Equal(t, webClip().Payloads[0].PayloadType(), final.Payloads[0].PayloadType())
	_, err = parsed.Profile.Decrypt(p.identity.Leaf, keys()[1])
	assert.Error(t, err, "for nobody else")

	row := p.session()
	assert.Equal(t, enroll.SessionDelivered, row.State)
	assert.Equal(t, mdm.FingerprintOf(p.identity.Leaf), row.Identity)
	assert.True(t, row.DeliveredAt.Equal(w.now()))
	assert.Zero(t, row.UpdateFrom, "a profile that does not expire is not updated")

	w = newWorld(t, func(s *ota.Service) { s.Unencrypted = true })
	parsed, err = profile.Parse(w.identified("S1").step3().Body.Bytes())
	require.NoError(t, err)
	assert.Len(t, parsed.Profile.Payloads, 1)

	sealed := &profile.Profile{Identifier: "com.example.sealed", EncryptedContent: []byte{1}}
	w = newWorld(t, func(s *ota.Service) {
		s.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return sealed, nil }
	})
	parsed, err = profile.Parse(w.identified("S1").step3().Body.Bytes())
	require.NoError(t, err)
	assert.Equal(t, sealed.EncryptedContent, parsed.Profile.EncryptedContent, "not twice")
}

func TestStranger(t *testing.T) {
	t.Parallel()
	virtual, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	another, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	w := newWorld(t, func(s *ota.Service) {
		s.Stranger = func(_ context.Context, signer *x509.Certificate) error {
			if signer.Equal(virtual.Leaf) || signer.Equal(another.Leaf) {
				return nil
			}
			return mdm.Errorf(mdm.Forbidden, "test", "unknown")
		}
	})
	p := w.begun("VM1")
	foreign, err := must(mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})).Issue("VM1")
	require.NoError(t, err)
	w.refuses(map[string]hostile{"unknown": {p.url, p.message(nil, foreign), 403}})
	p.builtIn = virtual
	p.getIdentity(keys()[0])
	assert.Equal(t, http.StatusOK, p.step3().Code)
	w.refuses(map[string]hostile{
		"another one":            {p.url, p.message(nil, another), 403},
		"without the challenge":  {p.url, p.message(map[string]any{"CHALLENGE": nil}, virtual), 403},
		"not the identity of us": {otherSession(p.url), p.message(nil, p.identity), 403},
	})
}

func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ota.Service) {
		s.Tenant = func(r *http.Request) string { return r.URL.Query().Get("tenant") }
	})
	start := httptest.NewRecorder()
	w.service.Start().ServeHTTP(start, httptest.NewRequest(http.MethodGet, "/start?tenant=red", nil))
	p := w.phone("S1")
	p.url, p.challenge = readService(t, start.Body.Bytes())
	red, blue := p.url+"&tenant=red", p.url+"&tenant=blue"
	assert.Equal(t, "red", p.session().Tenant)
	w.refuses(map[string]hostile{
		"another tenant": {blue, p.message(nil, p.builtIn), 403},
		"no tenant":      {p.url, p.message(nil, p.builtIn), 403},
	})
	assert.Equal(t, http.StatusOK, w.post(red, p.message(nil, p.builtIn)).Code)
}
