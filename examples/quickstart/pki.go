package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
)

// pki is the quick start's own trust: one CA for the identities of devices, another for the server itself. They are
// kept sealed in the database, so that they survive a restart.
type pki struct {
	devices *scep.LocalCA
	server  *scep.LocalCA
}

func loadPKI(ctx context.Context, vault storage.Vault) (*pki, error) {
	devices, err := loadCA(ctx, vault, "ca/devices", "applemdm quick start devices")
	if err != nil {
		return nil, err
	}
	server, err := loadCA(ctx, vault, "ca/server", "applemdm quick start server")
	if err != nil {
		return nil, err
	}
	return &pki{devices: devices, server: server}, nil
}

// loadCA returns the stored CA of that name, or makes one and stores it.
func loadCA(ctx context.Context, vault storage.Vault, name, commonName string) (*scep.LocalCA, error) {
	stored, err := vault.Secret(ctx, name)
	if err != nil {
		return nil, err
	}
	if stored.IsZero() {
		ca, err := scep.NewLocalCA(commonName)
		if err != nil {
			return nil, err
		}
		fresh, err := ca.PEM()
		if err != nil {
			return nil, err
		}
		if stored, err = vault.CreateSecret(ctx, name, fresh); err != nil {
			return nil, err
		}
	}
	return scep.ParseLocalCA(stored)
}

// certificate issues a certificate of the server CA: for TLS with hosts, for signing profiles without.
func (p *pki) certificate(commonName string, usage []x509.ExtKeyUsage, hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 397), // Apple accepts 398 days
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage, BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.server.Certificate, key.Public(), p.server.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, p.server.Certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// signer returns what signs profiles.
func (p *pki) signer() (profile.CMSSigner, error) {
	cert, err := p.certificate("applemdm quick start profiles", nil)
	if err != nil {
		return profile.CMSSigner{}, err
	}
	key := cert.PrivateKey.(*ecdsa.PrivateKey)
	return profile.CMSSigner{Certificate: cert.Leaf, Chain: []*x509.Certificate{p.server.Certificate}, Key: key}, nil
}

// roots returns the anchors that a device needs for this server.
func (p *pki) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.server.Certificate)
	return pool
}
