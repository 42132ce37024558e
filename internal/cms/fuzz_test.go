package cms_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

func seeds(f *testing.F) {
	for _, s := range []signer{ecSigner(), rsaSigner()} {
		for _, o := range []cms.SignOptions{{}, {Indefinite: true}, captured} {
			f.Add(sign(f, s, o))
		}
	}
	sealed, err := cms.Encrypt(body, []*x509.Certificate{rsaSigner().cert})
	require.NoError(f, err)
	f.Add(sealed)
	f.Add(envelope{pieces: 3}.encode(f))
	for _, s := range []string{"1f80", "1f05", "3081", "308401", "2480", "24802403040141040142 0000", "30803080 0000 0000"} {
		f.Add(unhex(s))
	}
}

// FuzzToDER compares the structure with that which a plain recursive reader sees.
func FuzzToDER(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, ber []byte) {
		der, err := cms.ToDER(ber, cms.Limits{})
		if err != nil {
			require.True(t, errors.Is(err, cms.ErrSyntax) || errors.Is(err, cms.ErrTooLarge) || errors.Is(err, cms.ErrTooDeep) ||
				errors.Is(err, cms.ErrTooMany), "%v", err)
			return
		}
		require.LessOrEqual(t, len(der), 5*len(ber), "bounded by what came in")
		again, err := cms.ToDER(der, cms.Limits{Bytes: 8 << 20})
		require.NoError(t, err, "what we wrote, we read")
		require.True(t, bytes.Equal(der, again), "DER stays as it is")

		var want, got strings.Builder
		rest := outlineBER(&want, ber)
		require.Empty(t, rest)
		outlineDER(t, &got, der)
		require.Equal(t, want.String(), got.String())
	})
}

// outlineBER writes the structure of the element that well-formed ber begins with, and returns what follows it.
func outlineBER(w *strings.Builder, ber []byte) []byte {
	tag, n, head := ber[0], int(ber[1]), 2
	definite := n != 0x80
	if n > 0x80 {
		head += n - 0x80
		n = 0
		for _, b := range ber[2:head] {
			n = n<<8 | int(b)
		}
	}
	content, rest := ber[head:], []byte(nil)
	if definite {
		content, rest = ber[head:head+n], ber[head+n:]
	}
	if tag&0x20 == 0 {
		fmt.Fprintf(w, "%x:%x ", tag, content)
		return rest
	}
	var inner strings.Builder
	for len(content) > 0 && (definite || content[0] != 0) {
		content = outlineBER(&inner, content)
	}
	if !definite {
		rest = content[2:]
	}
	if tag == 0x24 { // in one piece, as if it had been so
		pieces := ""
		for _, piece := range strings.Fields(inner.String()) {
			pieces += strings.TrimPrefix(piece, "4:")
		}
		fmt.Fprintf(w, "4:%s ", pieces)
		return rest
	}
	fmt.Fprintf(w, "%x( %s) ", tag, inner.String())
	return rest
}

// outlineDER does so for DER, with the parser of the standard library.
func outlineDER(t *testing.T, w *strings.Builder, der []byte) {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		require.NoError(t, err)
		tag := der[0]
		der = rest
		if !v.IsCompound {
			fmt.Fprintf(w, "%x:%x ", tag, v.Bytes)
			continue
		}
		fmt.Fprintf(w, "%x( ", tag)
		outlineDER(t, w, v.Bytes)
		w.WriteString(") ")
	}
}

func FuzzParseSigned(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		signed, err := cms.ParseSigned(message, cms.Limits{})
		if err != nil {
			return
		}
		require.Same(t, signed.Signer, signed.Certificates[0])
		der, err := cms.ToDER(message, cms.Limits{})
		require.NoError(t, err)
		again, err := cms.ParseSigned(der, cms.Limits{Bytes: 8 << 20, Elements: 40_000})
		require.NoError(t, err, "its DER is the same message")
		require.True(t, bytes.Equal(signed.Content, again.Content) && signed.Signer.Equal(again.Signer))
		if signed.VerifyDetached(body) == nil {
			require.NoError(t, again.VerifyDetached(body))
			require.ErrorIs(t, signed.VerifyDetached(append([]byte{0}, body...)), cms.ErrSignature, "one content only")
		}
		_, err = cms.ParseCerts(message, cms.Limits{})
		require.NoError(t, err, "it has certificates")
	})
}

func FuzzDecrypt(f *testing.F) {
	seeds(f)
	s := rsaSigner()
	f.Fuzz(func(t *testing.T, message []byte) {
		content, err := cms.Decrypt(message, s.cert, s.key, cms.Limits{})
		require.LessOrEqual(t, len(content), len(message))
		if err != nil {
			require.Nil(t, content)
		}
	})
}
