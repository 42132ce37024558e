package dep

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzUnwrap reads what is around a token, without the encryption, which takes its time.
func FuzzUnwrap(f *testing.F) {
	f.Add([]byte("Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n-----BEGIN MESSAGE-----\r\n{=22a\r\n\":1}\r\n-----END MESSAGE-----\r\n"))
	f.Add([]byte("Content-Type: application/pkcs7-mime;\n\tname=x\nContent-Transfer-Encoding: base64\n\nMIIB\nAA=="))
	f.Add([]byte("-----BEGIN PKCS7-----\nMIIB\n-----END PKCS7-----\n"))
	f.Add([]byte("0\x82\x01\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := unwrapFile(data)
		require.True(t, err == nil || file == nil)
		require.LessOrEqual(t, len(file), len(data))
		text, err := unwrapMessage(data)
		if err != nil {
			return
		}
		require.Equal(t, -1, bytes.IndexAny(text, "\r\n"))
		require.LessOrEqual(t, len(text), len(data))
		if token, err := ParseToken(text); err == nil {
			require.NotEmpty(t, token.ConsumerKey)
			require.NoError(t, token.Replaces(token))
		}
	})
}
