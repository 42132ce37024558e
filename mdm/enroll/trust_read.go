package enroll

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Limits of a list of anchors.
const (
	MaxAnchorsSize = 1 << 20 // in bytes
	MaxAnchors     = 256
)

// ParseAnchors reads a list of anchors, as dep_anchor_certs_url of a service configuration gives one: a JSON array of DER in
// base64. Line breaks within the base64 are allowed, as in Apple's example. Nothing at all is an empty list. The error is
// Malformed, or TooLarge over the limits.
func ParseAnchors(r io.Reader) ([]*x509.Certificate, error) {
	const op = "enroll.ParseAnchors"
	data, err := io.ReadAll(io.LimitReader(r, MaxAnchorsSize+1))
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	if len(data) > MaxAnchorsSize {
		return nil, mdm.Errorf(mdm.TooLarge, op, "more than %d bytes", MaxAnchorsSize)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil || data[0] != '[' {
		return nil, mdm.Errorf(mdm.Malformed, op, "no JSON array of strings")
	}
	if len(list) > MaxAnchors {
		return nil, mdm.Errorf(mdm.TooLarge, op, "more than %d certificates", MaxAnchors)
	}
	var certs []*x509.Certificate
	for n, text := range list {
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "certificate %d is no base64", n+1)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "certificate %d: %w", n+1, err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}
