package vendor_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"howett.net/plist"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/vendor"
)

// chain returns a vendor's key and a chain like Apple's: vendor, intermediate, root.
func chain(t testing.TB, change func(vendor *x509.Certificate)) (*rsa.PrivateKey, []*x509.Certificate) {
	var certs []*x509.Certificate
	var above *x509.Certificate
	var aboveKey, key *rsa.PrivateKey
	for n, name := range []string{"root", "intermediate", "vendor"} {
		var err error
		key, err = rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(n + 1)), Subject: pkix.Name{CommonName: name}, IsCA: name != "vendor", BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		if above == nil {
			above, aboveKey = template, key
		}
		if change != nil && name == "vendor" {
			change(template)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), aboveKey)
		require.NoError(t, err)
		above, err = x509.ParseCertificate(der)
		require.NoError(t, err)
		aboveKey = key
		certs = append([]*x509.Certificate{above}, certs...)
	}
	return key, certs
}

func request(t testing.TB) push.Request {
	r, err := push.NewRequest(pkix.Name{CommonName: "mdm.example.com"})
	require.NoError(t, err)
	return r
}

// TestSign looks at the file with other tools than those that made it.
func TestSign(t *testing.T) {
	key, certs := chain(t, nil)
	signer, err := vendor.New(key, certs)
	require.NoError(t, err)
	r := request(t)
	for name, csr := range map[string][]byte{"DER": r.CSR, "PEM": r.PEM()} {
		file, err := signer.Sign(csr)
		require.NoError(t, err, name)
		text, err := base64.StdEncoding.DecodeString(string(file))
		require.NoError(t, err, name)
		assert.True(t, strings.HasPrefix(string(text), "<?xml"), name)
		var fields map[string]any
		_, err = plist.Unmarshal(text, &fields)
		require.NoError(t, err, name)
		require.Len(t, fields, 3, name)
		der, err := base64.StdEncoding.DecodeString(fields["PushCertRequestCSR"].(string))
		require.NoError(t, err, name)
		assert.Equal(t, r.CSR, der, name)
		signature, err := base64.StdEncoding.DecodeString(fields["PushCertSignature"].(string))
		require.NoError(t, err, name)
		sum := sha256.Sum256(der)
		require.NoError(t, rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature), name)
		var names []string
		rest := []byte(fields["PushCertCertificateChain"].(string))
		for _, line := range strings.Split(strings.TrimSpace(string(rest)), "\n") {
			assert.LessOrEqual(t, len(line), 64, name)
		}
		for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
			cert, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err, name)
			names = append(names, cert.Subject.CommonName)
		}
		assert.Equal(t, []string{"vendor", "intermediate", "root"}, names, name)

		read, err := vendor.Read(file)
		require.NoError(t, err, name)
		assert.Equal(t, r.CSR, read.CSR.Raw, name)
		assert.Len(t, read.Chain, 3, name)
	}
}

func TestNewRefuses(t *testing.T) {
	key, certs := chain(t, nil)
	otherKey, other := chain(t, nil)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		key   crypto.Signer
		chain []*x509.Certificate
	}{
		"no key":             {nil, certs},
		"no chain":           {key, certs[:1]},
		"another key":        {otherKey, certs},
		"not RSA":            {ec, certs},
		"another's chain":    {key, []*x509.Certificate{certs[0], other[1], other[2]}},
		"in the wrong order": {key, []*x509.Certificate{certs[0], certs[2], certs[1]}},
	} {
		_, err := vendor.New(c.key, c.chain)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

func TestSignRefuses(t *testing.T) {
	key, certs := chain(t, nil)
	signer, err := vendor.New(key, certs)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ofEC, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec)
	require.NoError(t, err)
	forged := append([]byte(nil), request(t).CSR...)
	forged[len(forged)-1] ^= 1
	for name, csr := range map[string][]byte{"nothing": nil, "noise": []byte("noise"), "too long": make([]byte, 20<<10), "not RSA": ofEC, "forged": forged} {
		_, err := signer.Sign(csr)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}

	key, certs = chain(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	signer, err = vendor.New(key, certs)
	require.NoError(t, err)
	assert.True(t, signer.NotAfter().Before(time.Now()))
	_, err = signer.Sign(request(t).CSR)
	require.ErrorIs(t, err, vendor.ErrExpired)
}

func TestReadRefuses(t *testing.T) {
	key, certs := chain(t, nil)
	signer, err := vendor.New(key, certs)
	require.NoError(t, err)
	file, err := signer.Sign(request(t).CSR)
	require.NoError(t, err)
	otherFile, err := signer.Sign(request(t).CSR)
	require.NoError(t, err)
	open := func(file []byte) map[string]string {
		text, err := base64.StdEncoding.DecodeString(string(file))
		require.NoError(t, err)
		var fields map[string]string
		_, err = plist.Unmarshal(text, &fields)
		require.NoError(t, err)
		return fields
	}
	with := func(key, value string) []byte {
		fields := open(file)
		fields[key] = value
		text, err := plist.Marshal(fields, plist.XMLFormat)
		require.NoError(t, err)
		return []byte(base64.StdEncoding.EncodeToString(text))
	}
	fields := open(file)
	leaf, _, _ := strings.Cut(fields["PushCertCertificateChain"], "-----END CERTIFICATE-----\n")
	_, err = vendor.Read(with("Comment", "more keys do no harm"))
	require.NoError(t, err)
	for name, file := range map[string][]byte{
		"nothing":                  nil,
		"no base64":                []byte("<?xml?>"),
		"no property list":         []byte(base64.StdEncoding.EncodeToString([]byte("text"))),
		"too long":                 make([]byte, 300<<10),
		"another's signature":      with("PushCertSignature", open(otherFile)["PushCertSignature"]),
		"signature without base64": with("PushCertSignature", "!"),
		"another's request":        with("PushCertRequestCSR", open(otherFile)["PushCertRequestCSR"]),
		"request without base64":   with("PushCertRequestCSR", "!"),
		"half a chain":             with("PushCertCertificateChain", leaf+"-----END CERTIFICATE-----\n"),
		"endless chain":            with("PushCertCertificateChain", strings.Repeat(fields["PushCertCertificateChain"], 4)),
		"damaged chain":            with("PushCertCertificateChain", strings.Replace(fields["PushCertCertificateChain"], "MII", "AAA", 1)),
	} {
		_, err := vendor.Read(file)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

func FuzzRead(f *testing.F) {
	key, certs := chain(f, nil)
	signer, err := vendor.New(key, certs)
	require.NoError(f, err)
	file, err := signer.Sign(request(f).CSR)
	require.NoError(f, err)
	f.Add(file)
	f.Add([]byte("PHBsaXN0Lz4="))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := vendor.Read(file)
		if err == nil && (s.CSR == nil || len(s.Chain) < 2) {
			t.Error("half a result")
		}
	})
}

// The server makes a request and keeps its key; the vendor signs it, and never sees that key.
func Example() {
	server, err := push.NewRequest(pkix.Name{CommonName: "mdm.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, certs := chain(&testing.T{}, nil) // what Apple gave the vendor
	signer, err := vendor.New(key, certs)
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := signer.Sign(server.CSR)
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := vendor.Read(file)
	fmt.Println(signed.CSR.Subject.CommonName, err)
	// Output: mdm.example.com <nil>
}
