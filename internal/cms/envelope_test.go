package cms_test

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"testing"

	smallstep "github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

func TestEnvelope(t *testing.T) {
	s := rsaSigner()
	for _, n := range []int{0, 1, 15, 16, 17, 5000} {
		content := bytes.Repeat([]byte{7}, n)
		sealed, err := cms.Encrypt(content, []*x509.Certificate{s.cert})
		require.NoError(t, err)
		opened, err := cms.Decrypt(sealed, s.cert, s.key, cms.Limits{})
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, opened))
		theirs, err := smallstep.Parse(sealed)
		require.NoError(t, err)
		opened, err = theirs.Decrypt(s.cert, s.key)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, opened), "another library reads it, too")
		assert.False(t, n > 16 && bytes.Contains(sealed, content))
	}
}

func TestEnvelopeForSeveral(t *testing.T) {
	second := newSigner(otherRSA().key, "second", 8)
	sealed, err := cms.Encrypt(body, []*x509.Certificate{rsaSigner().cert, second.cert})
	require.NoError(t, err)
	for _, s := range []signer{rsaSigner(), second, {second.cert, decrypter{Signer: second.key}}} {
		opened, err := cms.Decrypt(sealed, s.cert, s.key, cms.Limits{})
		require.NoError(t, err)
		assert.Equal(t, body, opened)
	}
	_, err = cms.Decrypt(sealed, ecSigner().cert, rsaSigner().key, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrDecrypt, "for others")
	_, err = cms.Encrypt(body, nil)
	require.Error(t, err)
	_, err = cms.Encrypt(body, []*x509.Certificate{rsaSigner().cert, ecSigner().cert})
	require.ErrorIs(t, err, cms.ErrAlgorithm)
	for _, key := range []crypto.PrivateKey{nil, "no key", ecSigner().key, rsaSigner().key.Public()} {
		_, err = cms.Decrypt(sealed, rsaSigner().cert, key, cms.Limits{})
		require.ErrorIs(t, err, cms.ErrAlgorithm)
	}
}

// decrypter is a key that only its interface is known of.
type decrypter struct {
	crypto.Signer
	answer []byte // nil: that of the key
	fail   error
}

func (d decrypter) Decrypt(r io.Reader, sealed []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if d.answer != nil || d.fail != nil {
		return d.answer, d.fail
	}
	return d.Signer.(crypto.Decrypter).Decrypt(r, sealed, opts)
}

// envelope is an EnvelopedData to be put together by hand. Its zero values are those of a good one to rsaSigner.
type envelope struct {
	cipher    []byte // name; nil: AES-256-CBC
	key       []byte // nil: 32 zero bytes
	iv        []byte // nil: zeros of the block size
	plain     []byte // with padding; nil: body, padded
	wrapped   []byte // nil: the key, encrypted
	id        []byte
	transport []byte
	before    []byte // other recipients
	pieces    int    // of the content; 0: a primitive element
	after     []byte // follows the content
}

var (
	oidAES128 = oid(2, 16, 840, 1, 101, 3, 4, 1, 2)
	oidAES192 = oid(2, 16, 840, 1, 101, 3, 4, 1, 22)
	oidAES256 = oid(2, 16, 840, 1, 101, 3, 4, 1, 42)
	oid3DES   = oid(1, 2, 840, 113549, 3, 7)
	oidDES    = oid(1, 3, 14, 3, 2, 7)
	oidGCM    = oid(2, 16, 840, 1, 101, 3, 4, 1, 46)
)

func pad(content []byte, size int) []byte {
	n := size - len(content)%size
	return append(bytes.Clone(content), bytes.Repeat([]byte{byte(n)}, n)...)
}

func (e envelope) encode(t testing.TB) []byte {
	t.Helper()
	key := or(e.key, make([]byte, 32))
	block, err := aes.NewCipher(key)
	if bytes.Equal(e.cipher, oid3DES) {
		block, err = des.NewTripleDESCipher(key)
	}
	require.NoError(t, err)
	iv := or(e.iv, make([]byte, block.BlockSize()))
	sealed := bytes.Clone(or(e.plain, pad(body, block.BlockSize())))
	if len(sealed)%block.BlockSize() == 0 && len(iv) == block.BlockSize() {
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	}
	s := rsaSigner()
	//lint:ignore SA1019 the only key transport that devices read
	wrapped, err := rsa.EncryptPKCS1v15(rand.Reader, s.cert.PublicKey.(*rsa.PublicKey), key)
	require.NoError(t, err)
	content := el(0x80, sealed)
	if e.pieces > 0 {
		var parts []byte
		for i := range e.pieces {
			parts = append(parts, el(4, sealed[i*len(sealed)/e.pieces:(i+1)*len(sealed)/e.pieces])...)
		}
		content = open(0xa0, parts)
	}
	recipient := el(0x30, []byte{2, 1, 0}, or(e.id, nameOf(s.cert)), el(0x30, or(e.transport, oidRSA), null), el(4, or(e.wrapped, wrapped)))
	return el(0x30, oidEnveloped, el(0xa0, el(0x30, []byte{2, 1, 0}, el(0x31, e.before, recipient),
		el(0x30, oidData, el(0x30, or(e.cipher, oidAES256), el(4, iv)), content, e.after))))
}

func TestDecryptByHand(t *testing.T) {
	s := rsaSigner()
	block := func(last ...byte) []byte { return append(make([]byte, 32-len(last)), last...) }
	other := el(0x30, []byte{2, 1, 0}, nameOf(ecSigner().cert), el(0x30, oidRSA, null), el(4, make([]byte, 256)))
	for name, tt := range map[string]struct {
		envelope
		want error
	}{
		"AES-256":                    {envelope{}, nil},
		"AES-192":                    {envelope{cipher: oidAES192, key: make([]byte, 24)}, nil},
		"AES-128":                    {envelope{cipher: oidAES128, key: make([]byte, 16)}, nil},
		"3DES":                       {envelope{cipher: oid3DES, key: make([]byte, 24)}, nil},
		"one piece":                  {envelope{pieces: 1}, nil},
		"odd pieces":                 {envelope{pieces: 7}, nil},
		"named by key identifier":    {envelope{id: keyIdentifierOf(s.cert)}, nil},
		"the second recipient":       {envelope{before: other}, nil},
		"after one of another kind":  {envelope{before: el(0xa1, null)}, nil},
		"for others":                 {envelope{id: nameOf(ecSigner().cert)}, cms.ErrDecrypt},
		"another key transport":      {envelope{transport: oid(1, 2, 840, 113549, 1, 1, 7)}, cms.ErrAlgorithm},
		"DES":                        {envelope{cipher: oidDES}, cms.ErrAlgorithm},
		"GCM":                        {envelope{cipher: oidGCM}, cms.ErrAlgorithm},
		"no recipient":               {envelope{before: el(0x30, null)}, cms.ErrSyntax},
		"no content":                 {envelope{plain: []byte{}}, cms.ErrDecrypt},
		"half a block":               {envelope{plain: make([]byte, 8)}, cms.ErrDecrypt},
		"a short vector":             {envelope{iv: make([]byte, 8)}, cms.ErrDecrypt},
		"no vector":                  {envelope{iv: []byte{}}, cms.ErrDecrypt},
		"another key's size":         {envelope{key: make([]byte, 16)}, cms.ErrDecrypt},
		"a short key encryption":     {envelope{wrapped: make([]byte, 255)}, cms.ErrDecrypt},
		"padding of 0":               {envelope{plain: block(0)}, cms.ErrDecrypt},
		"padding beyond a block":     {envelope{plain: bytes.Repeat([]byte{17}, 32)}, cms.ErrDecrypt},
		"padding beyond the content": {envelope{plain: block(0xff)}, cms.ErrDecrypt},
		"uneven padding":             {envelope{plain: block(1, 3, 3)}, cms.ErrDecrypt},
		"something after":            {envelope{after: null}, cms.ErrSyntax},
	} {
		opened, err := cms.Decrypt(tt.encode(t), s.cert, s.key, cms.Limits{})
		require.ErrorIs(t, err, tt.want, name)
		if tt.want == nil {
			assert.Equal(t, body, opened, name)
		}
	}
}

// TestDecryptTellsNothing wants one error, word for word, whatever is wrong under the encryption.
func TestDecryptTellsNothing(t *testing.T) {
	s := rsaSigner()
	long := envelope{plain: make([]byte, 64)}.encode(t) // padding of 0
	_, badPadding := cms.Decrypt(long, s.cert, s.key, cms.Limits{})
	_, badKey := cms.Decrypt(envelope{}.encode(t), s.cert, otherRSA().key, cms.Limits{})
	for badKey == nil { // a random key yields good padding once in 256 times
		_, badKey = cms.Decrypt(envelope{}.encode(t), s.cert, otherRSA().key, cms.Limits{})
	}
	_, badAnswer := cms.Decrypt(envelope{}.encode(t), s.cert, decrypter{Signer: s.key, answer: []byte("short")}, cms.Limits{})
	_, told := cms.Decrypt(envelope{}.encode(t), s.cert, decrypter{Signer: s.key, fail: errors.New("why")}, cms.Limits{})
	for _, err := range []error{badPadding, badKey, badAnswer, told} {
		assert.Equal(t, cms.ErrDecrypt, err)
	}
}

func TestDecryptTruncated(t *testing.T) {
	s := rsaSigner()
	sealed := envelope{pieces: 3}.encode(t)
	for i := range sealed {
		_, err := cms.Decrypt(sealed[:i], s.cert, s.key, cms.Limits{})
		require.ErrorIs(t, err, cms.ErrSyntax, "cut at %d", i)
	}
	_, err := cms.Decrypt(sealed, s.cert, s.key, cms.Limits{Bytes: 100})
	require.ErrorIs(t, err, cms.ErrTooLarge)
	_, err = cms.Decrypt(sign(t, s, cms.SignOptions{}), s.cert, s.key, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrSyntax, "another kind of message")
}
