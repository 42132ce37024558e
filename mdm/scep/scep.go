// Package scep issues client identities: to devices that make their own key, by SCEP (RFC 8894), and as PKCS#12 files
// for those that cannot.
//
// A [Server] is an http.Handler. What a certificate says is decided here and not by the request: of a certificate
// signing request only the public key is used. A request is authorized by a challenge, one for each enrollment
// ([NewChallenge]), which expires, is bound to what is known of the device, and is spent when the answer has been
// delivered; a device that lost the answer and repeats its request with the same key is answered again. A renewal is
// authorized by the certificate that it renews, if that is alive and bound to a device.
//
// Every certificate is recorded in the ledger of the [Store], from which package checkin knows for what it was issued.
package scep

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// DefaultChallengeLifetime is how long a challenge from NewChallenge is good if it names no end.
const DefaultChallengeLifetime = time.Hour

// NewChallenge makes a random challenge, stores its hash with what c says, and returns its text for the profile.
// c.Hash is ignored; a zero c.ExpiresAt is [DefaultChallengeLifetime] from now, a zero c.Purpose is PurposeEnroll.
func NewChallenge(ctx context.Context, store Store, c Challenge) (mdm.Secret, error) {
	text := randomText()
	c.Hash = HashChallenge(text)
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = time.Now().Add(DefaultChallengeLifetime)
	}
	if c.Purpose == 0 {
		c.Purpose = mdm.PurposeEnroll
	}
	if c.Purpose == mdm.PurposeRenew && c.Device == "" {
		return mdm.Secret{}, mdm.Errorf(mdm.Malformed, "scep.NewChallenge", "a renewal must name its device")
	}
	if err := store.AddChallenge(ctx, c); err != nil {
		return mdm.Secret{}, fmt.Errorf("scep: new challenge: %w", err)
	}
	return mdm.SecretString(text), nil
}

// randomText returns 192 random bits in letters, digits, - and _.
func randomText() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
