package dep_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func TestBypassVectors(t *testing.T) {
	for text, hash := range map[string]string{
		"00000-00000-0000-0000-0000-0000": "DEAB860D28DEB5B7121D6D8FCF0F78E1471756D1B2C566C03277C23EA8930B4F",
		"000H4-0R40M-30F2-0918-5HR3-8F17": "C5CED1D0C51459C1A887866A5868DD3E9E6F4FC4A8C244F3F9EB9383C0F8AECB",
		"ZZZZZ-ZZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZ7": "ED6CFC1588B175D652D1DD6705BA7FEC058B5C76FACDD8FF41285CA0D341BD25",
	} {
		for _, written := range []string{text, strings.ToLower(text), strings.ReplaceAll(text, "-", ""), " " + strings.ReplaceAll(text, "-", " ") + "\n"} {
			code, err := dep.ParseBypassCode(written)
			require.NoError(t, err, written)
			assert.Equal(t, text, string(code.Text().Reveal()))
			key, err := code.EscrowKey()
			require.NoError(t, err)
			assert.Equal(t, hash, key)
		}
	}
}

func TestNewBypassCode(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		code := dep.NewBypassCode()
		text := string(code.Text().Reveal())
		assert.Regexp(t, `^[0-9ACDEFGHJ-NP-RT-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{3}[0-7]$`, text)
		seen[text] = true
		again, err := dep.ParseBypassCode(text)
		require.NoError(t, err)
		assert.True(t, again.Equal(code))
		assert.False(t, code.IsZero())
	}
	assert.Len(t, seen, 100)
	var none dep.BypassCode
	assert.True(t, none.IsZero())
	assert.True(t, none.Text().IsZero())
	_, err := none.EscrowKey()
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func TestParseBypassCodeErrors(t *testing.T) {
	for _, text := range []string{
		"", "00000", "00000-00000-0000-0000-0000-00000", "00000-00000-0000-0000-0000-0008", "ZZZZZ-ZZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ",
		"B0000-00000-0000-0000-0000-0000", "O0000-00000-0000-0000-0000-0000", "ü000000000000000000000000", strings.Repeat("-", 200),
	} {
		_, err := dep.ParseBypassCode(text)
		require.Error(t, err, text)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		if len(text) > 20 {
			assert.NotContains(t, err.Error(), text)
		}
	}
}

func TestBypassCodeIsSecret(t *testing.T) {
	code, err := dep.ParseBypassCode("000H4-0R40M-30F2-0918-5HR3-8F17")
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "code", code)
	shown := fmt.Sprintf("%v %+v %#v %s %x %q %d", code, code, code, code, code, code, code) + code.String() + code.GoString() + log.String()
	assert.NotContains(t, shown, "000H4")
	assert.NotContains(t, shown, "000102")
	assert.NotContains(t, shown, "0 1 2")
	assert.Contains(t, shown, "[secret]")
	_, err = json.Marshal(code)
	require.ErrorIs(t, err, mdm.ErrSecret)
}

func TestUnlock(t *testing.T) {
	pair := tokenPair()
	cert, err := tls.X509KeyPair(pair.Certificate, pair.Key.Reveal())
	require.NoError(t, err)
	var query, form url.Values
	var shown []*x509.Certificate
	status, body := 200, ""
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseForm())
		assert.Equal(t, http.MethodPost, r.Method)
		assert.Equal(t, "/deviceservicesworkers/escrowKeyUnlock", r.URL.Path)
		query, form, shown = r.URL.Query(), r.PostForm, r.TLS.PeerCertificates
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)

	u := dep.Unlocker{Certificate: cert, URL: server.URL + "/deviceservicesworkers/escrowKeyUnlock", HTTP: server.Client()}
	code, err := dep.ParseBypassCode("000H4-0R40M-30F2-0918-5HR3-8F17")
	require.NoError(t, err)
	d := dep.Unlock{Serial: "C01", ProductType: "iPhone15,2", IMEI: "350000000000001", OrgName: "Example & Co", GUID: "0A1B", Code: code.Text()}
	require.NoError(t, u.Unlock(t.Context(), d))
	assert.Equal(t, url.Values{"serial": {"C01"}, "productType": {"iPhone15,2"}, "imei": {"350000000000001"}}, query)
	assert.Equal(t, url.Values{"orgName": {"Example & Co"}, "guid": {"0A1B"}, "escrowKey": {"000H4-0R40M-30F2-0918-5HR3-8F17"}}, form)
	require.Len(t, shown, 1)
	assert.True(t, shown[0].Equal(pairCert(t, pair)))
	d.IMEI2, d.MEID = "2", "3"
	require.NoError(t, u.Unlock(t.Context(), d))
	assert.Equal(t, []string{"2"}, query["imei2"])
	assert.Equal(t, []string{"3"}, query["meid"])
	assert.Empty(t, server.Client().Transport.(*http.Transport).TLSClientConfig.Certificates, "the caller's client is left alone")

	for s, want := range map[int]mdm.Code{400: mdm.Malformed, 403: mdm.Forbidden, 404: mdm.NotFound, 500: mdm.Unavailable, 429: mdm.Unavailable, 302: mdm.Unavailable} {
		status, body = s, "the code is 000H4-0R40M-30F2-0918-5HR3-8F17"
		err = u.Unlock(t.Context(), d)
		require.Error(t, err, s)
		assert.Equal(t, want, mdm.CodeOf(err), s)
		assert.NotContains(t, err.Error(), "000H4")
	}
	server.Close()
	err = u.Unlock(t.Context(), d)
	require.ErrorIs(t, err, dep.ErrUnavailable)
	assert.NotContains(t, err.Error(), "C01")
}

func TestUnlockRefuses(t *testing.T) {
	good := dep.Unlock{Serial: "C01", ProductType: "Mac14,2", OrgName: "Example", GUID: "1", Code: mdm.SecretString("x")}
	for name, change := range map[string]func(*dep.Unlock){
		"no serial":       func(d *dep.Unlock) { d.Serial = "" },
		"no type":         func(d *dep.Unlock) { d.ProductType = "" },
		"no organization": func(d *dep.Unlock) { d.OrgName = "" },
		"no GUID":         func(d *dep.Unlock) { d.GUID = "" },
		"no code":         func(d *dep.Unlock) { d.Code = mdm.Secret{} },
		"an odd IMEI":     func(d *dep.Unlock) { d.IMEI = "\x00" },
	} {
		d := good
		change(&d)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf((&dep.Unlocker{}).Unlock(t.Context(), d)), name)
	}
	err := (&dep.Unlocker{}).Unlock(t.Context(), good)
	require.ErrorContains(t, err, "Certificate is required")
	err = (&dep.Unlocker{URL: "http://plain.example.com"}).Unlock(t.Context(), good)
	require.ErrorContains(t, err, "https")
}
