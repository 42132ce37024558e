package mdmtest_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
)

func TestEncryptedProfiles(t *testing.T) {
	w := newWorld(t, nil)
	d, other := w.enrolled(mdmtest.Config{}), w.enrolled(mdmtest.Config{})
	sealed := func(data []byte) []byte {
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		p, err := parsed.Profile.Encrypt(d.Certificate())
		require.NoError(t, err)
		data, err = p.Encode()
		require.NoError(t, err)
		return data
	}
	raw := &profile.Raw{Type: "com.example.any", Values: map[string]any{"Key": "value"}}
	clip, err := (&profile.Profile{Identifier: "com.example.clip", Payloads: []profile.Payload{raw}}).Encode()
	require.NoError(t, err)
	install := command.Order{Command: command.InstallProfile{Payload: sealed(clip)}, To: mdm.IDs(id(d), id(other))}
	receipt := w.enqueue(install)
	require.NoError(t, d.Poll(t.Context()))
	require.NoError(t, other.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, receipt.UUID).State)
	assert.Equal(t, []string{"com.example.clip"}, d.Profiles())
	assert.Equal(t, command.Failed, w.entry(other, receipt.UUID).State, "it is not for this one")

	before := d.Certificate()
	receipt = w.enqueue(command.Order{Command: command.InstallProfile{Payload: sealed(w.enrollment(mdm.PurposeRenew, d.ID()))}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, receipt.UUID).State)
	assert.False(t, before.Equal(d.Certificate()), "the MDM profile was replaced")
	require.NoError(t, d.InstallEnrollment(t.Context(), sealed(w.enrollment(mdm.PurposeRenew, d.ID()))))
	assert.Error(t, w.device(mdmtest.Config{}).InstallEnrollment(t.Context(), sealed(w.enrollment(mdm.PurposeEnroll, ""))))
}

// What a server can do wrong, a device does not put up with.
func TestBadProfileServices(t *testing.T) {
	w := newWorld(t, nil)
	var service []byte
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(service) })
	mux.HandleFunc("POST /bad", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<plist/>")) })
	https := httptest.NewTLSServer(mux)
	t.Cleanup(https.Close)
	w.roots.AddCert(https.Certificate())
	content := map[string]any{"URL": https.URL + "/bad", "DeviceAttributes": []any{"UDID"}}
	for name, change := range map[string]func(map[string]any){
		"another type":         func(top map[string]any) { top["PayloadType"] = "Configuration" },
		"an array":             func(top map[string]any) { top["PayloadContent"] = []any{content} },
		"http":                 func(top map[string]any) { top["PayloadContent"] = map[string]any{"URL": "http://example.com"} },
		"no identifier":        func(top map[string]any) { delete(top, "PayloadIdentifier") },
		"good, but the answer": func(map[string]any) {},
	} {
		top := map[string]any{"PayloadType": "Profile Service", "PayloadVersion": 1, "PayloadIdentifier": "com.example", "PayloadUUID": "1",
			"PayloadContent": content}
		change(top)
		var err error
		service, err = plistx.Marshal(top)
		require.NoError(t, err)
		d := w.device(mdmtest.Config{})
		assert.ErrorContains(t, d.EnrollOverTheAir(t.Context(), https.URL+"/start"), "profile", name)
		assert.False(t, d.Managed(), name)
		assert.Nil(t, d.DeliveryIdentity().Leaf, name)
	}
}

func TestBuiltIn(t *testing.T) {
	ca, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
	require.NoError(t, err)
	d := mdmtest.NewDevice(mdmtest.Config{BuiltIn: ca})
	first, err := d.BuiltIn()
	require.NoError(t, err)
	assert.Equal(t, ca.Certificate.RawSubject, first.Leaf.RawIssuer)
	assert.Equal(t, x509.SHA1WithRSA, first.Leaf.SignatureAlgorithm)
	d.Wipe()
	again, err := d.BuiltIn()
	require.NoError(t, err)
	assert.True(t, first.Leaf.Equal(again.Leaf), "it stays when the device is wiped")
	virtual, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	assert.Equal(t, virtual.Leaf.RawSubject, virtual.Leaf.RawIssuer, "nobody vouches for it")
}
