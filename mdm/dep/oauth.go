package dep

import (
	"context"
	"net/http"

	"github.com/dghubble/oauth1"
)

// signing returns a copy of h that signs its requests for the token: OAuth 1.0a with HMAC-SHA1 (RFC 5849), realm ADM. Only
// /session is asked so. The signature has a fresh nonce of 32 random bytes, and the time of this computer, not that of a
// Clock: the library that makes it takes none.
func (t Token) signing(h *http.Client) *http.Client {
	config := &oauth1.Config{
		ConsumerKey:    t.ConsumerKey,
		ConsumerSecret: string(t.ConsumerSecret.Reveal()),
		Realm:          "ADM",
		Noncer:         oauth1.HexNoncer{},
	}
	base := context.WithValue(context.Background(), oauth1.HTTPClient, h)
	signed := *h
	signed.Transport = config.Client(base, oauth1.NewToken(string(t.AccessToken.Reveal()), string(t.AccessSecret.Reveal()))).Transport
	return &signed
}
