package mdmtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// NewPushCertificate returns a self-signed push certificate for topic, as "com.apple.mgmt.External.test", valid for a
// year. Apple does not know it; an [APNs] takes it.
func NewPushCertificate(topic string) (push.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return push.Certificate{}, fmt.Errorf("mdmtest: %w", err)
	}
	now := time.Now()
	pair, err := apnsSelfSigned(key, &x509.Certificate{
		Subject: pkix.Name{CommonName: "APSP:test", ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: apnsUID(), Value: topic},
		}},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return push.Certificate{}, err
	}
	return push.NewCertificate(pair)
}

func apnsUID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
}

func apnsSelfSigned(key crypto.Signer, template *x509.Certificate) (tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mdmtest: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mdmtest: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// apnsServerCertificate returns a certificate for the loopback address and a pool that trusts it.
func apnsServerCertificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	pair, err := apnsSelfSigned(key, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "mdmtest APNs"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	})
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return pair, roots, nil
}

// apnsListen opens a loopback port for a server with a certificate of its own. It panics if there is none to be had.
func apnsListen() (tls.Certificate, *x509.CertPool, *net.TCPListener) {
	pair, roots, err := apnsServerCertificate()
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	return pair, roots, listener
}

// Revoke makes the APNs refuse the certificate in the TLS handshake of new connections, as Apple does with one that is
// revoked.
func (a *APNs) Revoke(c push.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked[mdm.FingerprintOf(c.TLS.Leaf)] = true
}

// verify lets in who has a certificate with a topic that is neither expired nor revoked.
func (a *APNs) verify(state tls.ConnectionState) error {
	if apnsPeerTopic(&state) == "" {
		return errors.New("mdmtest: not a push certificate")
	}
	leaf := state.PeerCertificates[0]
	a.mu.Lock()
	revoked := a.revoked[mdm.FingerprintOf(leaf)]
	a.mu.Unlock()
	switch {
	case revoked:
		return errors.New("mdmtest: revoked certificate")
	case a.config.Clock().After(leaf.NotAfter):
		return errors.New("mdmtest: expired certificate")
	}
	return nil
}

// apnsPeerTopic returns the UID of the client certificate.
func apnsPeerTopic(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	for _, name := range state.PeerCertificates[0].Subject.Names {
		if uid, ok := name.Value.(string); ok && name.Type.Equal(apnsUID()) {
			return uid
		}
	}
	return ""
}
