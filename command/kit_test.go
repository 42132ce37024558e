package command_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
)

// plist wraps elements in a property list.
func plist(elements string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?><plist version="1.0">` + elements + `</plist>`)
}

// raw is a raw command of the elements of a dictionary.
func raw(elements string) command.Raw { return plist("<dict>" + elements + "</dict>") }

// whole is a raw message; id is the element of its CommandUUID, or empty.
func whole(id, elements string) command.Raw {
	if id != "" {
		id = "<key>CommandUUID</key>" + id
	}
	return raw(id + "<key>Command</key><dict>" + elements + "</dict>")
}

const kind = "<key>RequestType</key><string>Test</string>"

// decoded returns a prepared message.
func decoded(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var message map[string]any
	require.NoError(t, plistx.UnmarshalLimits(body, &message, plistx.Limits{Bytes: command.MaxBody}))
	return message
}

// prepared returns the Command dictionary of an order and its item.
func prepared(t testing.TB, o command.Order) (map[string]any, command.Item) {
	t.Helper()
	item, err := command.Prepare(o)
	require.NoError(t, err)
	message := decoded(t, item.Body)
	require.Equal(t, item.UUID, message["CommandUUID"])
	dict, ok := message["Command"].(map[string]any)
	require.True(t, ok)
	require.Equal(t, item.RequestType, dict["RequestType"])
	return dict, item
}

// profileOf is a profile with payloads of the types.
func profileOf(types ...string) []byte {
	payloads := ""
	for _, t := range types {
		payloads += fmt.Sprintf("<dict><key>PayloadType</key><string>%s</string></dict>", t)
	}
	return plist("<dict><key>PayloadType</key><string>Configuration</string><key>PayloadContent</key><array>" + payloads + "</array></dict>")
}

// signer returns a certificate that signed itself, and its key.
func signer(t testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}
