package cms

import (
	"crypto/x509"
	"errors"
	"fmt"

	"go.mozilla.org/pkcs7"
)

// ParseCerts reads the certificates of a SignedData, BER or DER, in the order sent. Such a message has no signers as a
// rule; if it has, they are not looked at. The error is one of ToDER.
func ParseCerts(ber []byte, l Limits) ([]*x509.Certificate, error) {
	data, err := readSignedData(ber, l)
	if err != nil {
		return nil, err
	}
	return data.certs, nil
}

// CertsOnly writes certificates into a SignedData without signers and content, in the order given (RFC 8894, section
// 3.4: what SCEP calls a degenerate one).
func CertsOnly(certs []*x509.Certificate) ([]byte, error) {
	if len(certs) == 0 {
		return nil, errors.New("cms: no certificates")
	}
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.Raw...)
	}
	out, err := pkcs7.DegenerateCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("cms: certificates: %w", err)
	}
	return out, nil
}
