package cms_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	smallstep "github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

// messages are put together by hand: what we say to them, and what a second implementation says if it differs.
func messages() map[string]struct {
	message
	want   error
	theirs string // why the second implementation says otherwise
} {
	r, e := rsaSigner(), ecSigner()
	digest := attr(oidDigest, el(4, sumOf(crypto.SHA256, body)))
	data := attr(oidContentType, oidData)
	return map[string]struct {
		message
		want   error
		theirs string
	}{
		"rsa":                              {message: message{s: r}},
		"rsa, captured":                    {message: message{s: r, hash: crypto.SHA1, digest: oidSHA1, ber: true}},
		"rsa, attributes":                  {message: message{s: r, attrs: goodAttrs(body)}},
		"rsa, sha256WithRSA":               {message: message{s: r, algorithm: oidSHA256RSA}},
		"rsa, another hash in the name":    {message: message{s: r, algorithm: oidSHA1RSA}},
		"rsa, MD5 in the name":             {message: message{s: r, algorithm: oidMD5RSA}, want: cms.ErrAlgorithm},
		"rsa, MD5":                         {message: message{s: r, hash: crypto.SHA256, digest: oidMD5}, want: cms.ErrAlgorithm},
		"rsa key, ECDSA name":              {message: message{s: r, algorithm: oidECDSASHA256}, want: cms.ErrAlgorithm},
		"rsa, wrong hash":                  {message: message{s: r, hash: crypto.SHA1}, want: cms.ErrSignature},
		"ec":                               {message: message{s: e, algorithm: oidECDSASHA256}},
		"ec, attributes":                   {message: message{s: e, algorithm: oidECDSASHA256, attrs: goodAttrs(body)}},
		"ec, ecPublicKey":                  {message: message{s: e, algorithm: oidECPublicKey}, theirs: "does not know the name"},
		"ec, another hash in the name":     {message: message{s: e, algorithm: oidECDSASHA1}, want: cms.ErrAlgorithm},
		"ec key, RSA name":                 {message: message{s: e}, want: cms.ErrAlgorithm},
		"ec, no ASN.1 in the signature":    {message: message{s: e, algorithm: oidECDSASHA256, signature: make([]byte, 64)}, want: cms.ErrSignature},
		"no signature":                     {message: message{s: r, signature: []byte{}}, want: cms.ErrSignature},
		"signature of zeros":               {message: message{s: r, signature: make([]byte, 256)}, want: cms.ErrSignature},
		"attributes in another order":      {message: message{s: r, attrs: [][]byte{digest, data}}, theirs: "sorts what was sent"},
		"an attribute more":                {message: message{s: r, attrs: [][]byte{attr(oidOther, null, null), data, digest}}},
		"unsigned attributes":              {message: message{s: r, unsigned: el(0xa1, attr(oidOther, null))}},
		"no content type":                  {message: message{s: r, attrs: [][]byte{digest}}, want: cms.ErrSignature, theirs: "does not look"},
		"another content type":             {message: message{s: r, attrs: [][]byte{attr(oidContentType, oidOther), digest}}, want: cms.ErrSignature, theirs: "does not look"},
		"content type that is none":        {message: message{s: r, attrs: [][]byte{attr(oidContentType, null), digest}}, want: cms.ErrSignature, theirs: "does not look"},
		"no digest":                        {message: message{s: r, attrs: [][]byte{data}}, want: cms.ErrSignature},
		"two digests":                      {message: message{s: r, attrs: [][]byte{data, digest, digest}}, want: cms.ErrSignature, theirs: "takes the first"},
		"a digest of two values":           {message: message{s: r, attrs: [][]byte{data, attr(oidDigest, el(4, sumOf(crypto.SHA256, body)), el(4))}}, want: cms.ErrSignature, theirs: "takes the first"},
		"digest of another body":           {message: message{s: r, attrs: goodAttrs([]byte("another"))}, want: cms.ErrSignature},
		"digest by another hash":           {message: message{s: r, attrs: [][]byte{data, attr(oidDigest, el(4, sumOf(crypto.SHA1, body)))}}, want: cms.ErrSignature},
		"an attribute that is none":        {message: message{s: r, attrs: [][]byte{data, digest, null}}, want: cms.ErrSyntax},
		"other content, plain":             {message: message{s: r, kind: oidOther}, want: cms.ErrSignature, theirs: "does not look"},
		"other content, attributes":        {message: message{s: r, kind: oidOther, attrs: [][]byte{attr(oidContentType, oidOther), digest}}},
		"other content, attribute of data": {message: message{s: r, kind: oidOther, attrs: goodAttrs(body)}, want: cms.ErrSignature, theirs: "does not look"},
		"named by key identifier":          {message: message{s: r, id: keyIdentifierOf(r.cert)}, theirs: "does not know it"},
		"named by another key identifier":  {message: message{s: r, id: el(0x80, []byte("another"))}, want: cms.ErrNoSigner},
		"named by no key identifier":       {message: message{s: r, id: el(0x80)}, want: cms.ErrNoSigner},
		"named by nothing":                 {message: message{s: r, id: null}, want: cms.ErrNoSigner},
		"another number":                   {message: message{s: r, id: el(0x30, r.cert.RawIssuer, []byte{2, 1, 77})}, want: cms.ErrNoSigner},
		"another issuer":                   {message: message{s: r, id: el(0x30, e.cert.RawIssuer, []byte{2, 1, 1})}, want: cms.ErrNoSigner},
		"its certificate twice":            {message: message{s: r, certs: raw(r.cert, e.cert, r.cert)}},
		"two certificates of one name":     {message: message{s: r, certs: raw(r.cert, otherRSA().cert)}, want: cms.ErrNoSigner, theirs: "takes the first"},
		"a foreign certificate":            {message: message{s: r, certs: otherRSA().cert.Raw}, want: cms.ErrSignature},
		"the certificate of somebody else": {message: message{s: r, certs: e.cert.Raw}, want: cms.ErrNoSigner},
		"no certificate":                   {message: message{s: r, certs: []byte{}}, want: cms.ErrNoSigner},
		"no valid certificate":             {message: message{s: r, certs: el(0x30, null)}, want: cms.ErrSyntax},
		"two signers":                      {message: message{s: r, infos: 2}, want: cms.ErrNoSigner, theirs: "verifies each"},
		"no signer's end":                  {message: message{s: r, unsigned: null}, want: cms.ErrSyntax, theirs: "does not look"},
		"empty content":                    {message: message{s: r, content: []byte{}}},
		"attributes as content": {message: message{s: r, content: el(0x31, goodAttrs(body)...)}, want: cms.ErrSignature,
			theirs: "does not look"},
		"a set as content": {message: message{s: r, content: el(0x31, attr(oidOther, null))}},
	}
}

func verdict(ber []byte) error {
	signed, err := cms.ParseSigned(ber, cms.Limits{})
	if err != nil {
		return err
	}
	return signed.Verify()
}

func TestVerifyByHand(t *testing.T) {
	for name, tt := range messages() {
		require.ErrorIs(t, verdict(tt.encode(t)), tt.want, name)
	}
}

// TestAgreesWithASecondImplementation compares with another library, on what we write and on what is written by hand.
// Every difference is one that the table explains.
func TestAgreesWithASecondImplementation(t *testing.T) {
	for name, tt := range messages() {
		der, err := cms.ToDER(tt.encode(t), cms.Limits{})
		require.NoError(t, err, name)
		theirs, err := smallstep.Parse(der)
		if err == nil {
			err = theirs.Verify()
		}
		ours := tt.want == nil
		assert.Equal(t, ours == (tt.theirs == ""), err == nil, "%s: they say %v", name, err)
	}
	for name, o := range combinations() {
		for _, s := range []signer{rsaSigner(), ecSigner(), p384Signer()} {
			for _, content := range [][]byte{body, []byte("another body")} {
				der, err := cms.ToDER(sign(t, s, o), cms.Limits{})
				require.NoError(t, err)
				theirs, err := smallstep.Parse(der)
				require.NoError(t, err, name)
				theirs.Content = content
				ours, err := cms.ParseSigned(der, cms.Limits{})
				require.NoError(t, err)
				assert.Equal(t, theirs.Verify() == nil, ours.VerifyDetached(content) == nil, name)
			}
		}
	}
}

// TestReadsASecondImplementation verifies what another library signs.
func TestReadsASecondImplementation(t *testing.T) {
	for _, s := range []signer{rsaSigner(), ecSigner()} {
		for _, detached := range []bool{false, true} {
			theirs, err := smallstep.NewSignedData(body)
			require.NoError(t, err)
			theirs.SetDigestAlgorithm(smallstep.OIDDigestAlgorithmSHA256)
			require.NoError(t, theirs.AddSigner(s.cert, s.key, smallstep.SignerInfoConfig{}))
			if detached {
				theirs.Detach()
			}
			message, err := theirs.Finish()
			require.NoError(t, err)
			signed, err := cms.ParseSigned(message, cms.Limits{})
			require.NoError(t, err)
			require.NoError(t, signed.VerifyDetached(body))
			assert.WithinDuration(t, time.Now(), signed.SigningTime, time.Hour)
		}
	}
}

// TestCapturedForm puts together the form captured from devices without Sign, and expects Sign to write the same.
func TestCapturedForm(t *testing.T) {
	s := rsaSigner() // PKCS #1 v1.5 signatures are deterministic
	byHand := message{s: s, hash: crypto.SHA1, digest: oidSHA1, detached: true, ber: true}.encode(t)
	assert.Equal(t, byHand, sign(t, s, captured))
	assert.Equal(t, make([]byte, 6), byHand[len(byHand)-6:], "three ends of contents")
	signed, err := cms.ParseSigned(byHand, cms.Limits{Bytes: 16 << 10, Depth: 12})
	require.NoError(t, err)
	require.NoError(t, signed.VerifyDetached(body))
	require.ErrorIs(t, signed.VerifyDetached(append([]byte(" "), body...)), cms.ErrSignature)
	require.ErrorIs(t, signed.VerifyDetached(nil), cms.ErrSignature)
	assert.Equal(t, crypto.SHA1, signed.Digest)
	assert.True(t, signed.SigningTime.IsZero())
}

func TestSigningTimeIsInformation(t *testing.T) {
	for _, at := range []time.Time{ // a device whose clock is wrong
		time.Date(1999, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2077, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)),
	} {
		message := sign(t, rsaSigner(), cms.SignOptions{SigningTime: at})
		signed, err := cms.ParseSigned(message, cms.Limits{})
		require.NoError(t, err)
		require.NoError(t, signed.Verify())
		assert.True(t, at.Equal(signed.SigningTime))
		theirs, err := smallstep.Parse(message)
		require.NoError(t, err)
		require.Error(t, theirs.Verify(), "the second implementation does judge it")
	}
	nonsense := message{s: rsaSigner(), attrs: append(goodAttrs(body), attr(oid(1, 2, 840, 113549, 1, 9, 5), el(0x17, []byte("tomorrow"))))}
	signed, err := cms.ParseSigned(nonsense.encode(t), cms.Limits{})
	require.NoError(t, err)
	require.NoError(t, signed.Verify())
	assert.True(t, signed.SigningTime.IsZero())
}

func TestAttributesAreNotContent(t *testing.T) {
	s := rsaSigner()
	set := el(0x31, goodAttrs(body)...) // the signature of a message with attributes is over them ...
	stripped := message{s: s, content: set, detached: true}.encode(t)
	signed, err := cms.ParseSigned(stripped, cms.Limits{})
	require.NoError(t, err)
	require.ErrorIs(t, signed.VerifyDetached(set), cms.ErrSignature, "... and must not pass as one of content")
}

func TestContentOfItsOwn(t *testing.T) {
	signed, err := cms.ParseSigned(sign(t, rsaSigner(), cms.SignOptions{}), cms.Limits{})
	require.NoError(t, err)
	require.NoError(t, signed.VerifyDetached(bytes.Clone(body)))
	require.ErrorIs(t, signed.VerifyDetached([]byte("another")), cms.ErrSignature)
	require.ErrorIs(t, signed.VerifyDetached(nil), cms.ErrSignature)

	empty, err := cms.ParseSigned(message{s: rsaSigner(), content: []byte{}}.encode(t), cms.Limits{})
	require.NoError(t, err)
	assert.NotNil(t, empty.Content, "empty is not detached")
	require.NoError(t, empty.Verify())
	require.NoError(t, empty.VerifyDetached(nil))
}

// TestCertificatesInOrder wants the signer first wherever it stood.
func TestCertificatesInOrder(t *testing.T) {
	r, e, p := rsaSigner().cert, ecSigner().cert, p384Signer().cert
	signed, err := cms.ParseSigned(message{s: rsaSigner(), certs: raw(e, r, p, r)}.encode(t), cms.Limits{})
	require.NoError(t, err)
	require.NoError(t, signed.Verify())
	require.Len(t, signed.Certificates, 3)
	for i, want := range []*x509.Certificate{r, e, p} {
		assert.True(t, signed.Certificates[i].Equal(want))
	}
	assert.Same(t, signed.Signer, signed.Certificates[0])
}

func TestTruncatedAndDamaged(t *testing.T) {
	for _, s := range []signer{rsaSigner(), ecSigner()} {
		for _, o := range []cms.SignOptions{{}, {Indefinite: true}, captured} {
			message := sign(t, s, o)
			for i := range message {
				_, err := cms.ParseSigned(message[:i], cms.Limits{})
				require.ErrorIs(t, err, cms.ErrSyntax, "cut at %d", i)
			}
			_, err := cms.ParseSigned(append(bytes.Clone(message), 0), cms.Limits{})
			require.ErrorIs(t, err, cms.ErrSyntax, "a byte too many")
			for i := range message {
				damaged := bytes.Clone(message)
				damaged[i] ^= 0x41
				signed, err := cms.ParseSigned(damaged, cms.Limits{})
				if err == nil && signed.VerifyDetached(body) == nil {
					require.True(t, signed.Signer.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(s.cert.PublicKey),
						"byte %d: another signer", i) // the certificate's own signature is not ours to check
				}
			}
		}
	}
}

// TestLargeKeys signs with keys whose modulus is a Mersenne prime: quick to make, and the signature is a good one.
func TestLargeKeys(t *testing.T) {
	for bits, want := range map[uint]error{4423: nil, 9689: cms.ErrSignature} {
		n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(1))
		d := new(big.Int).ModInverse(big.NewInt(65537), new(big.Int).Sub(n, big.NewInt(1)))
		template := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "large"}}
		ca := rsaSigner()
		certDER, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &rsa.PublicKey{N: n, E: 65537}, ca.key)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(certDER)
		require.NoError(t, err)

		info := el(0x30, el(0x30, oidSHA256, null), el(4, sumOf(crypto.SHA256, body)))
		size := (n.BitLen() + 7) / 8
		padded := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(info))...)
		padded = append(append(padded, 0), info...)
		signature := new(big.Int).Exp(new(big.Int).SetBytes(padded), d, n).FillBytes(make([]byte, size))
		require.ErrorIs(t, verdict(message{s: signer{cert: cert}, signature: signature}.encode(t)), want, "%d bits", bits)
	}
}
