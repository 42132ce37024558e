package mdm

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// ErrSecret is the error of every attempt to marshal a [Secret].
var ErrSecret = errors.New("mdm: a secret is not marshaled; reveal it where it is needed")

const redacted = "[secret]"

// Secret holds bytes that must not be seen: an UnlockToken, a bootstrap token, a private key, a password. No fmt verb
// and no logger shows them, marshaling fails, and == does not compile, so that it cannot leak by accident; Reveal
// gives the bytes where they are needed. The zero Secret is empty.
type Secret struct {
	reveal func() []byte // a func: fmt follows pointers and unexported fields, but never calls
}

// NewSecret returns a Secret that holds a copy of b. An empty b gives the zero Secret.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	held := append([]byte(nil), b...)
	return Secret{reveal: func() []byte { return held }}
}

// SecretString is NewSecret for a string.
func SecretString(s string) Secret { return NewSecret([]byte(s)) }

// Reveal returns a copy of the bytes, nil if there are none.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return append([]byte(nil), s.reveal()...)
}

// IsZero reports whether s is empty.
func (s Secret) IsZero() bool { return s.reveal == nil }

// Equal compares in constant time for secrets of the same length.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare(s.Reveal(), other.Reveal()) == 1
}

// String returns a fixed text, whatever s holds.
func (s Secret) String() string { return redacted }

// GoString is String.
func (s Secret) GoString() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches the bytes.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails with [ErrSecret].
func (s Secret) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalJSON fails with [ErrSecret].
func (s Secret) MarshalJSON() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary fails with [ErrSecret].
func (s Secret) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// MarshalPlist fails with [ErrSecret]. It keeps github.com/groob/plist from writing an empty dictionary.
func (s Secret) MarshalPlist() (any, error) { return nil, ErrSecret }
