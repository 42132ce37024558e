package dep

import (
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Token is what an administrator downloads from Apple for one server, good for a year.
type Token struct {
	ConsumerKey    string // names the server at Apple; a renewed token has the same
	ConsumerSecret mdm.Secret
	AccessToken    mdm.Secret
	AccessSecret   mdm.Secret
	Expires        time.Time
}

// KeyPair is what a token is encrypted to: a certificate to upload at Apple, and its key.
type KeyPair struct {
	Certificate []byte     // PEM, to upload
	Key         mdm.Secret // PEM, PKCS #8
}
