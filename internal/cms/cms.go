// Package cms is the one guarded door to CMS (PKCS#7) messages, RFC 5652.
//
// It wraps go.mozilla.org/pkcs7, whose BER reader recurses without bound, is quadratic, and breaks on a few bytes, and
// which ignores some errors: every message is first checked and rewritten to DER here ([ToDER]), in one pass without
// recursion and within [Limits], and the parts that a signature depends on are read here as well, strictly.
// Verification is done here, too, because the library's compares the sender's clock with the certificate, and devices
// with a wrong clock must be able to enroll.
//
//	ParseSigned, Verify, VerifyDetached   read SignedData
//	Sign                                  write SignedData
//	ParseCerts, CertsOnly                 certificates without a signature
//	Encrypt, Decrypt                      EnvelopedData to RSA keys
//
// What signs is proven; who that is, is not: chains are for the caller to check.
package cms

import (
	"errors"
	"fmt"
)

// Limits bounds a message. A field that is zero or negative takes its default.
type Limits struct {
	Bytes    int // 1 MiB
	Depth    int // 24; real messages stay under 12
	Elements int // 20,000
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 1 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 24
	}
	if l.Elements <= 0 {
		l.Elements = 20_000
	}
	return l
}

// The errors of this package; compare with errors.Is. What they are wrapped in may say more, never content or keys.
var (
	ErrTooLarge  = errors.New("cms: message too large")
	ErrTooDeep   = errors.New("cms: nested too deeply")
	ErrTooMany   = errors.New("cms: too many elements")
	ErrSyntax    = errors.New("cms: not a well-formed message")
	ErrAlgorithm = errors.New("cms: algorithm not supported")
	ErrNoSigner  = errors.New("cms: not exactly one signer with its certificate")
	ErrSignature = errors.New("cms: the signature does not verify")
	ErrDecrypt   = errors.New("cms: cannot decrypt")
)

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}
