package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Names of the headers of a request.
const (
	SignatureHeader = "Webhook-Signature" // t=<Unix seconds>,v1=<hex>[,v1=<hex>…]
	IDHeader        = "Webhook-Id"        // the same each time an event is sent; also in the body, which is signed
)

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 16

// Limits of a signature header.
const (
	maxHeader     = 4096 // bytes
	maxSignatures = 16
)

// DefaultTolerance is how far the clocks of sender and receiver may be apart if nothing else is said.
const DefaultTolerance = 5 * time.Minute

// Sign returns the value of [SignatureHeader] for a body that is sent at a time: with one signature, HMAC-SHA256 over
// "<Unix seconds>.<body>", for each secret.
func Sign(body []byte, at time.Time, secrets ...mdm.Secret) string {
	t := strconv.FormatInt(at.Unix(), 10)
	header := "t=" + t
	for _, s := range secrets {
		header += ",v1=" + hex.EncodeToString(sum(t, body, s))
	}
	return header
}

// sum signs the timestamp as it is written.
func sum(t string, body []byte, s mdm.Secret) []byte {
	mac := hmac.New(sha256.New, s.Reveal())
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// Verify is for receivers: it returns nil if one of the signatures in a header is by one of the secrets, and its time is not
// further from now than the tolerance (0: [DefaultTolerance]). Give it the body as it came, not one that was decoded and encoded
// again, and bound it before. Two secrets let a new one take the place of an old one. Empty secrets are passed over. Signatures
// are compared in constant time. The error is a Malformed or a Forbidden one.
func Verify(header string, body []byte, secrets []mdm.Secret, now time.Time, tolerance time.Duration) error {
	const op = "webhook.Verify"
	t, signatures, err := parse(header)
	if err != nil {
		return err
	}
	found := 0
	for _, s := range secrets {
		if s.IsZero() {
			continue
		}
		want := sum(t, body, s)
		for _, have := range signatures {
			found |= subtle.ConstantTimeCompare(want, have)
		}
	}
	if found == 0 {
		return mdm.Errorf(mdm.Forbidden, op, "no signature is by a secret that is known")
	}
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	seconds, _ := strconv.ParseInt(t, 10, 64) // parse saw to it
	if apart := now.Sub(time.Unix(seconds, 0)).Abs(); apart > tolerance {
		return mdm.Errorf(mdm.Forbidden, op, "it was signed %v from now", apart.Round(time.Second))
	}
	return nil
}

// parse reads a header. Schemes other than v1 are passed over, so that there can be newer ones beside it.
func parse(header string) (t string, signatures [][]byte, err error) {
	malformed := func(text string) (string, [][]byte, error) {
		return "", nil, mdm.Errorf(mdm.Malformed, "webhook.Verify", "the signature header %s", text)
	}
	if len(header) > maxHeader {
		return malformed("is too long")
	}
	for part := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "t":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil || seconds < 0 || t != "" {
				return malformed("has no time, or two")
			}
			t = value
		case "v1":
			signature, err := hex.DecodeString(value)
			if err != nil || len(signature) != sha256.Size || len(signatures) == maxSignatures {
				return malformed("has a v1 that is none, or too many")
			}
			signatures = append(signatures, signature)
		}
	}
	if t == "" || len(signatures) == 0 {
		return malformed("has no time or no v1")
	}
	return t, signatures, nil
}
