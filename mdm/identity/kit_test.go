package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// holder is a certificate with its key.
type holder struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// create signs a certificate for key with parent, with itself if parent is empty.
func create(template *x509.Certificate, key crypto.Signer, parent holder) holder {
	if parent.cert == nil {
		parent = holder{template, key}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key))
	return holder{must(x509.ParseCertificate(der)), key}
}

func newKey() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func caTemplate(name string, from, until time.Duration) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(from),
		NotAfter: now.Add(until), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
}

func leafTemplate(from, until time.Duration) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "device"}, NotBefore: now.Add(from),
		NotAfter: now.Add(until), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// authority is a CA with an intermediate.
type authority struct{ root, intermediate holder }

const year = 365 * 24 * time.Hour

// newAuthority is valid for two years, back and forth; every one has the same names.
func newAuthority() authority {
	root := create(caTemplate("root", -2*year, 2*year), newKey(), holder{})
	return authority{root, create(caTemplate("intermediate", -2*year, 2*year), newKey(), root)}
}

// leaf issues a client certificate that is valid from and until so long from now.
func (a authority) leaf(from, until time.Duration) holder {
	return create(leafTemplate(from, until), newKey(), a.intermediate)
}

func (a authority) roots() []*x509.Certificate { return []*x509.Certificate{a.root.cert} }

func (a authority) chain() []*x509.Certificate { return []*x509.Certificate{a.intermediate.cert} }

var (
	now  = time.Now().Truncate(time.Second)
	ours = sync.OnceValue(newAuthority)

	device    = sync.OnceValue(func() holder { return ours().leaf(-time.Hour, time.Hour) })
	rsaDevice = sync.OnceValue(func() holder { // as SCEP issues them
		return create(leafTemplate(-time.Hour, time.Hour), must(rsa.GenerateKey(rand.Reader, 2048)), ours().intermediate)
	})
)

func put() *http.Request {
	return httptest.NewRequest(http.MethodPut, "https://mdm.example.com/mdm", nil)
}

func pemOf(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}
