package cms_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is a SignedData to be put together by hand. Its zero values are those of a good message by s.
type message struct {
	s         signer
	hash      crypto.Hash // 0: SHA-256
	digest    []byte      // name of the digest algorithm
	algorithm []byte      // name of the signature algorithm
	id        []byte      // of the signer
	kind      []byte      // content type
	content   []byte      // nil: body
	detached  bool
	attrs     [][]byte // signed attributes; nil: none
	certs     []byte   // nil: that of s
	infos     int      // how often the SignerInfo is there; 0: once
	unsigned  []byte   // unsigned attributes
	signature []byte   // nil: a good one
	ber       bool     // indefinite lengths, as captured from devices
}

func or(b, otherwise []byte) []byte {
	if b == nil {
		return otherwise
	}
	return b
}

func sumOf(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

func attr(id []byte, values ...[]byte) []byte { return el(0x30, id, el(0x31, values...)) }

// goodAttrs are the signed attributes of content, in the order of DER.
func goodAttrs(content []byte) [][]byte {
	return [][]byte{attr(oidContentType, oidData), attr(oidDigest, el(4, sumOf(crypto.SHA256, content)))}
}

func (m message) encode(t testing.TB) []byte {
	t.Helper()
	if m.hash == 0 {
		m.hash = crypto.SHA256
	}
	content, outer := or(m.content, body), el
	if m.ber {
		outer = open
	}
	signed, attrs := content, []byte(nil)
	if m.attrs != nil {
		signed, attrs = el(0x31, m.attrs...), el(0xa0, m.attrs...)
	}
	signature := m.signature
	if signature == nil {
		var err error
		signature, err = m.s.key.Sign(rand.Reader, sumOf(m.hash, signed), m.hash)
		require.NoError(t, err)
	}
	digest := el(0x30, or(m.digest, oidSHA256), null)
	info := el(0x30, version1, or(m.id, nameOf(m.s.cert)), digest, attrs, el(0x30, or(m.algorithm, oidRSA), null), el(4, signature), m.unsigned)
	infos := info
	for i := 1; i < m.infos; i++ {
		infos = append(infos, info...)
	}
	encap := outer(0x30, or(m.kind, oidData), outer(0xa0, el(4, content)))
	if m.detached {
		encap = outer(0x30, or(m.kind, oidData))
	}
	return outer(0x30, oidSignedData, outer(0xa0, outer(0x30, version1, el(0x31, digest), encap,
		el(0xa0, or(m.certs, m.s.cert.Raw)), el(0x31, infos))))
}

func raw(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, c.Raw...)
	}
	return out
}
