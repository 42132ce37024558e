package ade_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
)

// fuzzed is a world with a phone.
func fuzzed(f *testing.F, change func(*ade.Service)) (*world, *phone) {
	w := newWorld(f, change)
	return w, w.phone("S1")
}

// isRefusal reports whether it is an answer to what is hostile.
func isRefusal(code int) bool {
	return code == http.StatusBadRequest || code == http.StatusForbidden || code == http.StatusRequestEntityTooLarge
}

// unsigned signs nothing, which takes no time.
type unsigned struct{}

func (unsigned) Sign(_ context.Context, profile []byte) ([]byte, error) { return profile, nil }

// FuzzEnroll posts bodies: as they are, or as what a device signed.
func FuzzEnroll(f *testing.F) {
	w, p := fuzzed(f, func(s *ade.Service) { requires(update("18.3", "22D1"))(s); s.Signer = unsigned{} })
	for _, says := range []*phone{p, p.with(map[string]any{"SERIAL": 5, "NEW": []any{"x"}}), p.with(map[string]any{canUpdate: true, "VERSION": "22C9x"})} {
		content, err := plistx.Marshal(says.says)
		require.NoError(f, err)
		f.Add(true, content)
	}
	f.Add(false, p.message())
	f.Add(false, signed(f, p.says, p.builtIn, cms.SignOptions{Hash: crypto.SHA1, NoAttributes: true, Indefinite: true}))
	f.Add(false, []byte{0x30, 0x80, 0x24, 0x80})
	f.Fuzz(func(t *testing.T, sign bool, body []byte) {
		if sign {
			var err error
			body, err = cms.Sign(body, p.builtIn.Leaf, p.builtIn.PrivateKey.(crypto.Signer), cms.SignOptions{})
			require.NoError(t, err)
		}
		before := len(w.sessions.all())
		res := w.post(body, "")
		if res.Code == http.StatusOK {
			clear(w.sessions.rows)
			return
		}
		require.True(t, isRefusal(res.Code), "%d", res.Code)
		require.Len(t, w.sessions.all(), before)
	})
}

// FuzzHeader opens the web view with headers: as they are, or as base64 of what is in them.
func FuzzHeader(f *testing.F) {
	w, p := fuzzed(f, nil)
	f.Add(false, []byte(base64.StdEncoding.EncodeToString(p.message())))
	f.Add(false, []byte(base64.RawURLEncoding.EncodeToString(p.message())))
	f.Add(true, p.message())
	f.Add(false, []byte("AA== AA_-"))
	f.Fuzz(func(t *testing.T, encode bool, header []byte) {
		text := string(header)
		if encode {
			text = base64.StdEncoding.EncodeToString(header)
		}
		res := w.open(text)
		if res.Code == http.StatusFound {
			clear(w.sessions.rows)
			w.states = nil
			return
		}
		require.True(t, isRefusal(res.Code), "%d", res.Code)
		require.Empty(t, w.sessions.all())
	})
}

// FuzzAuthorization sends logins. None of them is right.
func FuzzAuthorization(f *testing.F) {
	w, p := fuzzed(f, withPasswords(nil))
	body := p.message()
	f.Add(basic("ada", "x"))
	f.Add(digest("ada", "x", nonce(f, w.post(body, "")), uri))
	f.Add(`Digest username="\`)
	f.Fuzz(func(t *testing.T, authorization string) {
		res := w.post(body, authorization)
		require.Equal(t, http.StatusUnauthorized, res.Code)
		require.NotEmpty(t, res.Header().Values("Www-Authenticate"))
	})
}

// FuzzState ends logins with states and cookies that nobody was given.
func FuzzState(f *testing.F) {
	w, p := fuzzed(f, nil)
	v := p.visit()
	f.Add(v.state, "x")
	f.Add("", v.cookie.Value)
	f.Add("ade-..", "x")
	f.Fuzz(func(t *testing.T, state, cookie string) {
		req := httptest.NewRequest(http.MethodGet, "/callback", nil)
		req.Header.Set("Cookie", v.cookie.Name+"="+cookie)
		if sent, err := req.Cookie(v.cookie.Name); err == nil && state == v.state && sent.Value == v.cookie.Value {
			t.Skip()
		}
		rec := httptest.NewRecorder()
		w.service.Finish(rec, req, state, "ada")
		require.Equal(t, http.StatusForbidden, rec.Code)
	})
}

// FuzzMachineInfo reads what a device says of itself, without its signature.
func FuzzMachineInfo(f *testing.F) {
	p := newWorld(f, nil).phone("S1")
	for _, says := range []*phone{p, p.with(map[string]any{"SERIAL": 5}), p.with(map[string]any{"NEW": map[string]any{"x": []any{true}}, "PAIRING_TOKEN": []byte("t")})} {
		content, err := plistx.Marshal(says.says)
		require.NoError(f, err)
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		info, err := ade.ReadInfo(content)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		require.LessOrEqual(t, len(info.UDID), mdm.MaxIdentifier)
		require.LessOrEqual(t, len(info.Serial), mdm.MaxIdentifier)
		require.True(t, utf8.ValidString(info.UDID+info.Serial+info.Product+info.OSVersion+info.Version))
	})
}

// FuzzDigest reads the parameters of a login by Digest.
func FuzzDigest(f *testing.F) {
	_, rest, _ := strings.Cut(digest("ada", "x", "nonce", uri), " ")
	f.Add(rest)
	f.Add(`a="\`)
	f.Add(`nonce=a,response=b, ,=`)
	f.Fuzz(func(t *testing.T, header string) {
		d, ok := ade.ParseDigest(header)
		if ok {
			require.NotEmpty(t, d["nonce"])
			require.NotEmpty(t, d["response"])
		}
	})
}
