// Package cms is the one guarded door to CMS (PKCS#7) messages. It wraps go.mozilla.org/pkcs7, whose BER reader recurses
// without bound, is quadratic, and breaks on a few bytes: every message is first checked and rewritten to DER here, in
// one pass without recursion and within limits, and only then parsed. Verification is done here, too, because the
// library's compares the sender's clock with the certificate, and devices with a wrong clock must be able to enroll.
package cms

import (
	"errors"
	"fmt"
)

// Limits bounds a message. A zero field takes its default.
type Limits struct {
	Bytes    int // 1 MiB
	Depth    int // 24; real messages stay under 12
	Elements int // 20,000
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		v   *int
		def int
	}{{&l.Bytes, 1 << 20}, {&l.Depth, 24}, {&l.Elements, 20_000}} {
		if *f.v <= 0 {
			*f.v = f.def
		}
	}
	return l
}

// The errors of this package; compare with errors.Is.
var (
	ErrTooLarge  = errors.New("cms: message too large")
	ErrTooDeep   = errors.New("cms: nested too deeply")
	ErrTooMany   = errors.New("cms: too many elements")
	ErrSyntax    = errors.New("cms: not a well-formed message")
	ErrSignature = errors.New("cms: the signature does not verify")
	ErrNoSigner  = errors.New("cms: not exactly one signer with its certificate")
)

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

// contain turns a panic of the wrapped library into an error: the last line behind the guard.
func contain(err *error) {
	if r := recover(); r != nil {
		*err = syntax("the parser broke")
	}
}
