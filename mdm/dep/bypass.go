package dep

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// BypassCode unlocks a device whose Activation Lock the organization has turned on: it is typed in as the password, without a
// user name, or sent to Apple: see [Unlocker]. Whoever makes it keeps it until the device is given away; the device makes
// another one of its own, which the command ActivationLockBypassCode asks for. It is a secret: no fmt verb shows it, and it
// is not marshaled; Text is what to keep. The zero value is none. (Apple: Creating and Using Bypass Codes.)
type BypassCode struct {
	raw mdm.Secret // 16 bytes
}

const (
	bypassBytes   = 16
	bypassLength  = 26 // symbols of 5 bits; the last one has the 3 bits that are left
	bypassSymbols = "0123456789ACDEFGHJKLMNPQRTUVWXYZ"
)

// NewBypassCode makes a code of 128 random bits.
func NewBypassCode() BypassCode {
	raw := make([]byte, bypassBytes)
	_, _ = rand.Read(raw) // it never fails
	return BypassCode{mdm.NewSecret(raw)}
}

// ParseBypassCode reads a code: 26 symbols, with or without dashes and spaces, in letters of any size. The error is
// Malformed, and does not repeat it.
func ParseBypassCode(text string) (BypassCode, error) {
	const op = "dep.ParseBypassCode"
	if len(text) > 100 {
		return BypassCode{}, mdm.Errorf(mdm.Malformed, op, "a bypass code has %d symbols", bypassLength)
	}
	text = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(text)))
	if len(text) != bypassLength {
		return BypassCode{}, mdm.Errorf(mdm.Malformed, op, "a bypass code has %d symbols", bypassLength)
	}
	var raw []byte
	var bits, n uint
	for i, c := range []byte(text) {
		v := strings.IndexByte(bypassSymbols, c)
		if v < 0 {
			return BypassCode{}, mdm.Errorf(mdm.Malformed, op, "symbol %d is not one of bypass codes", i+1)
		}
		width := uint(5)
		if i == bypassLength-1 {
			if width = 3; v > 7 {
				return BypassCode{}, mdm.Errorf(mdm.Malformed, op, "the last symbol is not one that a bypass code ends with")
			}
		}
		bits, n = bits<<width|uint(v), n+width
		for n >= 8 {
			n -= 8
			raw = append(raw, byte(bits>>n))
			bits &= 1<<n - 1
		}
	}
	return BypassCode{mdm.NewSecret(raw)}, nil
}

// Text returns the code as people read it, with dashes; the zero Secret if there is none.
func (b BypassCode) Text() mdm.Secret {
	if b.raw.IsZero() {
		return mdm.Secret{}
	}
	var out strings.Builder
	var bits, n uint
	symbols := 0
	write := func(v uint) {
		switch symbols {
		case 5, 10, 14, 18, 22:
			out.WriteByte('-')
		}
		out.WriteByte(bypassSymbols[v])
		symbols++
	}
	for _, c := range b.raw.Reveal() {
		bits, n = bits<<8|uint(c), n+8
		for n >= 5 {
			n -= 5
			write(bits >> n)
			bits &= 1<<n - 1
		}
	}
	write(bits) // 3 bits
	return mdm.SecretString(out.String())
}

// EscrowKey returns the hash of the code that a device is locked with, in [Client.LockActivation]: 64 hexadecimal digits,
// which do not tell the code. The error is Malformed if there is no code; another one says that this computer allows no such
// hash (its FIPS mode does not).
func (b BypassCode) EscrowKey() (string, error) {
	const op = "dep.BypassCode"
	if b.raw.IsZero() {
		return "", mdm.Errorf(mdm.Malformed, op, "there is no code")
	}
	key, err := pbkdf2.Key(sha256.New, string(b.raw.Reveal()), make([]byte, 4), 50_000, 32)
	if err != nil {
		return "", mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	return fmt.Sprintf("%X", key), nil
}

// IsZero reports whether there is no code.
func (b BypassCode) IsZero() bool { return b.raw.IsZero() }

// Equal compares in constant time.
func (b BypassCode) Equal(other BypassCode) bool { return b.raw.Equal(other.raw) }

// String returns a fixed text, as that of every secret.
func (b BypassCode) String() string { return b.raw.String() }

// GoString is String.
func (b BypassCode) GoString() string { return b.raw.String() }

// Format implements [fmt.Formatter], so that no verb reaches the code.
func (b BypassCode) Format(f fmt.State, verb rune) { b.raw.Format(f, verb) }

// LogValue implements [slog.LogValuer].
func (b BypassCode) LogValue() slog.Value { return b.raw.LogValue() }

// MarshalText fails with [mdm.ErrSecret].
func (b BypassCode) MarshalText() ([]byte, error) { return nil, mdm.ErrSecret }
