package enroll

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/profile"
)

// Certificates returns the certificates that a profile brings, roots and intermediates, in its order, without those of
// identities. What cannot be read is left out.
func Certificates(p *profile.Profile) []*x509.Certificate {
	var all []*x509.Certificate
	for _, payload := range p.Payloads {
		certs, _ := certificatesOf(payload)
		all = append(all, certs...)
	}
	return all
}

// certificatesOf returns the certificates of a payload that holds some, or nil.
func certificatesOf(payload profile.Payload) ([]*x509.Certificate, error) {
	switch p := typed(payload).(type) {
	case *profile.RootCertificate:
		return one(x509.ParseCertificate(p.PayloadContent))
	case *profile.Certificate:
		return one(x509.ParseCertificate(p.PayloadContent))
	case *profile.PEMCertificate:
		return readPEM(p.PayloadContent)
	}
	return nil, nil
}

func one(cert *x509.Certificate, err error) ([]*x509.Certificate, error) {
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{cert}, nil
}

// readPEM returns the certificates of a PEM file. A payload with DER in it is read, too.
func readPEM(data []byte) ([]*x509.Certificate, error) {
	if bytes.HasPrefix(data, []byte{0x30}) {
		return one(x509.ParseCertificate(data))
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in the PEM file")
	}
	return all, nil
}

// Pins returns the certificates of a profile that its com.apple.mdm payload pins for the server's URLs, in its order.
func Pins(p *profile.Profile) []*x509.Certificate {
	pins := pinned(p)
	var all []*x509.Certificate
	for i, payload := range p.Payloads {
		if pins[i] {
			certs, _ := certificatesOf(payload)
			all = append(all, certs...)
		}
	}
	return all
}

// pinned returns the places of the payloads that are pinned.
func pinned(p *profile.Profile) map[int]bool {
	pins := map[string]bool{}
	for _, payload := range p.Payloads {
		if m, ok := typed(payload).(*profile.MDM); ok {
			for _, id := range slices.Concat(m.ServerURLPinningCertificateUUIDs, m.CheckInURLPinningCertificateUUIDs) {
				pins[strings.ToUpper(id)] = true
			}
		}
	}
	if len(pins) == 0 {
		return nil
	}
	places := map[int]bool{}
	for i, id := range p.PayloadIDs() {
		places[i] = pins[strings.ToUpper(id.UUID)]
	}
	return places
}

// typed returns a payload as a pointer to its type, whatever it was given as; nil if it is missing or cannot be encoded.
func typed(payload profile.Payload) profile.Payload {
	if _, err := profile.Keys(payload); err != nil {
		return nil
	}
	return profile.Typed(payload)
}
