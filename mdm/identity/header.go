package identity

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// maxChain is the most certificates that are read from one header, and the most intermediates that are looked at.
const maxChain = 8

var errLongChain = errors.New("the chain is too long")

// parseBase64 reads one certificate. What it accepts, it accepts in one spelling only.
func parseBase64(text string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("not a certificate")
	}
	return cert, nil
}

// readRFC9440 reads Client-Cert, a byte sequence of RFC 8941, and the lists of them in Client-Cert-Chain, which may be
// given in parts and may be empty.
func readRFC9440(leaf string, chain []string) ([]*x509.Certificate, error) {
	items := []string{leaf}
	for _, value := range chain {
		if len(value) > maxProxyHeader || strings.Count(value, ",") >= maxChain {
			return nil, errLongChain
		}
		if strings.TrimSpace(value) != "" {
			items = append(items, strings.Split(value, ",")...)
		}
		if len(items) > maxChain {
			return nil, errLongChain
		}
	}
	var certs []*x509.Certificate
	for _, item := range items {
		text, opened := strings.CutPrefix(strings.TrimSpace(item), ":")
		text, closed := strings.CutSuffix(text, ":")
		if !opened || !closed {
			return nil, errors.New("not a byte sequence of RFC 8941")
		}
		cert, err := parseBase64(text)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// readEscaped reads URL-escaped PEM. It is no query: load balancers leave the + of base64 as it is.
func readEscaped(value string) ([]*x509.Certificate, error) {
	text, err := url.PathUnescape(value)
	if err != nil {
		return nil, errors.New("not URL-escaped")
	}
	return readPEM(text)
}

// readPEM reads certificates in PEM, whatever white space their lines end with, and nothing else. Package encoding/pem
// passes over what it cannot read, and would make the second certificate the leaf if the first is damaged.
func readPEM(text string) ([]*x509.Certificate, error) {
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	var certs []*x509.Certificate
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		block, opened := strings.CutPrefix(text, begin)
		body, rest, closed := strings.Cut(block, end)
		if !opened || !closed {
			return nil, errors.New("not PEM of certificates only")
		}
		if len(certs) == maxChain {
			return nil, errLongChain
		}
		cert, err := parseBase64(strings.Join(strings.Fields(body), ""))
		if err != nil {
			return nil, err
		}
		certs, text = append(certs, cert), rest
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	return certs, nil
}

// readXFCC reads an x-forwarded-client-cert header of one element. Several elements mean that a proxy before ours added
// one, which is worth as much as a header from anybody.
//
// Envoy writes the names in a certificate without quotes, so whoever has a certificate of his own can forge pairs after
// the true ones. He cannot forge the Hash, which Envoy always writes, and before them: if it is there, it must be the
// leaf's, and no pair that counts may come twice.
func readXFCC(value string) ([]*x509.Certificate, error) {
	pairs, err := xfccPairs(value)
	if err != nil {
		return nil, err
	}
	certs, err := readEscaped(pairs["cert"])
	if err != nil {
		return nil, fmt.Errorf("the Cert: %w", err)
	}
	if len(certs) != 1 {
		return nil, errors.New("the Cert: not one certificate")
	}
	if hash, ok := pairs["hash"]; ok && !strings.EqualFold(hash, mdm.FingerprintOf(certs[0]).String()) {
		return nil, errors.New("the Hash is not the one of Cert")
	}
	if _, ok := pairs["chain"]; !ok {
		return certs, nil
	}
	chain, err := readEscaped(pairs["chain"])
	if err != nil {
		return nil, fmt.Errorf("the Chain: %w", err)
	}
	if chain[0].Equal(certs[0]) { // Envoy repeats the leaf
		chain = chain[1:]
	}
	return append(certs, chain...), nil
}

// xfccPairs returns the pairs that count, by key in lower case.
func xfccPairs(value string) (map[string]string, error) {
	elements, err := splitQuoted(value, ',')
	if err != nil {
		return nil, err
	}
	if len(elements) != 1 {
		return nil, fmt.Errorf("%d elements, not one", len(elements))
	}
	parts, err := splitQuoted(value, ';')
	if err != nil {
		return nil, err
	}
	pairs := map[string]string{}
	for _, part := range parts {
		key, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key = strings.ToLower(strings.TrimSpace(key)); key {
		case "hash", "cert", "chain":
			if _, twice := pairs[key]; twice {
				return nil, fmt.Errorf("%s is there twice", key)
			}
			pairs[key] = unquote(v)
		}
	}
	return pairs, nil
}

// splitQuoted splits at sep outside of double quotes, in which a backslash escapes.
func splitQuoted(s string, sep byte) ([]string, error) {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return append(parts, s[start:]), nil
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
