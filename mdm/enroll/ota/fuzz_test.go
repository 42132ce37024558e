package ota_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
)

// allow takes every device that signs.
func allow(context.Context, *x509.Certificate) error { return nil }

// FuzzContinue sends bodies of steps 2 and 3: as they are, or as what the device or its identity signed.
func FuzzContinue(f *testing.F) {
	w := newWorld(f, nil)
	open, p := w.begun("S0"), w.identified("S1")
	for _, says := range []map[string]any{p.says, open.says, open.with(map[string]any{"CHALLENGE": []byte("guessed"), "SERIAL": 5, "NEW": []any{"x"}})} {
		content, err := plistx.Marshal(says)
		require.NoError(f, err)
		f.Add(uint8(1), content)
		f.Add(uint8(2), content)
	}
	f.Add(uint8(0), open.message(map[string]any{"CHALLENGE": "wrong"}, open.builtIn))
	f.Add(uint8(0), signed(f, p.says, p.builtIn, cms.SignOptions{Hash: crypto.SHA1, NoAttributes: true, Indefinite: true}))
	f.Add(uint8(0), []byte{0x30, 0x80, 0x24, 0x80})
	f.Fuzz(func(t *testing.T, as uint8, body []byte) {
		by, url := tls.Certificate{}, open.url
		switch as % 3 {
		case 1:
			by = open.builtIn
		case 2:
			by, url = p.identity, p.url
		}
		if by.Leaf != nil {
			var err error
			body, err = cms.Sign(body, by.Leaf, by.PrivateKey.(crypto.Signer), cms.SignOptions{})
			require.NoError(t, err)
		}
		before := w.sessions.all()
		res := w.post(url, body)
		switch res.Code {
		case http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge:
			require.Equal(t, before, w.sessions.all())
		case http.StatusOK:
			require.Equal(t, uint8(2), as%3, "nobody guesses a challenge")
		default:
			t.Fatalf("%d", res.Code)
		}
	})
}
