package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// device is one simulated device. Its requests are bytes that only have to be sent.
type device struct {
	id                                     string
	authenticate, tokenUpdate, idle        []byte
	acknowledgedBefore, acknowledgedBehind []byte // the UUID goes between
}

// fleet is the devices and the CA that issued their certificates.
type fleet struct {
	ca      []byte // PEM
	devices []*device
}

// newFleet makes n devices. They share a key, which nobody uses: what ended TLS is taken to have checked it.
func newFleet(n int) (*fleet, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := certificate(0, "bench devices")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, err
	}
	f := &fleet{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	for i := range n {
		id := fmt.Sprintf("00008030-%016X", i+1)
		leaf := certificate(i+1, id)
		leaf.ExtKeyUsage, leaf.KeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, x509.KeyUsageDigitalSignature
		if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key); err != nil {
			return nil, err
		}
		f.devices = append(f.devices, newDevice(i, id, der))
	}
	return f, nil
}

func certificate(n int, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(int64(n) + 1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

func newDevice(n int, id string, der []byte) *device {
	cert := base64.StdEncoding.EncodeToString(der)
	const topic = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000000"
	push := fmt.Sprintf("%032d", n)
	serial := fmt.Sprintf("C02%09d", n)
	before, behind := acknowledged(id, serial)
	head := header(cert, typeCommand, len(before)+uuidLength+len(behind))
	return &device{
		id: id,
		authenticate: request(cert, typeCheckin, message("MessageType", "Authenticate", "Topic", topic, "UDID", id,
			"SerialNumber", serial, "ProductName", "iPhone15,2", "Model", "MQ0E3", "DeviceName", "Phone",
			"OSVersion", "18.1", "BuildVersion", "22B83")),
		tokenUpdate: request(cert, typeCheckin, message("MessageType", "TokenUpdate", "Topic", topic, "UDID", id,
			"PushMagic", fmt.Sprintf("%08X-0000-4000-8000-000000000000", n),
			"Token", "<data>"+base64.StdEncoding.EncodeToString([]byte(push))+"</data>", "AwaitingConfiguration", "<false/>")),
		idle:               request(cert, typeCommand, message("Status", "Idle", "UDID", id)),
		acknowledgedBefore: append(head, before...),
		acknowledgedBehind: []byte(behind),
	}
}
