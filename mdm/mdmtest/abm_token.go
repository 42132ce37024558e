package mdmtest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// ABMToken is what is in a server token, as Apple writes it.
type ABMToken struct {
	ConsumerKey    string    `json:"consumer_key"` // the same for all tokens of a server
	ConsumerSecret string    `json:"consumer_secret"`
	AccessToken    string    `json:"access_token"`
	AccessSecret   string    `json:"access_secret"`
	Expires        time.Time `json:"access_token_expiry"`
}

// Token returns what is in the token as package dep has it.
func (t ABMToken) Token() dep.Token {
	return dep.Token{ConsumerKey: t.ConsumerKey, ConsumerSecret: mdm.NewSecret([]byte(t.ConsumerSecret)), AccessToken: mdm.NewSecret([]byte(t.AccessToken)),
		AccessSecret: mdm.NewSecret([]byte(t.AccessSecret)), Expires: t.Expires}
}

// Token is a download of the server's token: a new one, good for a year, encrypted to a certificate that is uploaded, in PEM, with
// an RSA key. A token that was downloaded before is good no more, nor are its sessions. It panics if that is no such certificate.
//
// The file is as Apple's .p7m: S/MIME around S/MIME, and JSON between marks, its lines broken anywhere.
func (a *ABM) Token(s *ABMServer, certificatePEM []byte) []byte {
	block, _ := pem.Decode(certificatePEM)
	if block == nil || block.Type != "CERTIFICATE" {
		panic("mdmtest: no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	token, err := json.Marshal(a.Renew(s))
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	return ABMTokenFile(token, cert)
}

// ABMTokenFile makes a file as Apple's .p7m of any content, also of one that Apple would never write. It panics if the key of the
// certificate is not RSA.
func ABMTokenFile(content []byte, cert *x509.Certificate) []byte {
	var inner bytes.Buffer
	inner.WriteString("Content-Type: text/plain;charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n-----BEGIN MESSAGE-----\r\n")
	abmLines(&inner, content, 72, "\r\n")
	inner.WriteString("-----END MESSAGE-----\r\n")
	sealed, err := cms.Encrypt(inner.Bytes(), []*x509.Certificate{cert})
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	var file bytes.Buffer
	file.WriteString("Content-Type: application/pkcs7-mime; name=\"smime.p7m\"; smime-type=enveloped-data\r\n" +
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7m\"\r\n" +
		"Content-Description: S/MIME Encrypted Message\r\n\r\n")
	abmLines(&file, []byte(base64.StdEncoding.EncodeToString(sealed)), 64, "\r\n")
	return file.Bytes()
}

// abmLines breaks text into lines of at most width bytes, wherever that is.
func abmLines(out *bytes.Buffer, text []byte, width int, end string) {
	for len(text) > 0 {
		n := min(width, len(text))
		out.Write(text[:n])
		out.WriteString(end)
		text = text[n:]
	}
}

// Renew makes a new token for the server, as [ABM.Token] does, and returns what is in it.
func (a *ABM) Renew(s *ABMServer) ABMToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renew(s)
}

func (a *ABM) renew(s *ABMServer) ABMToken {
	t := ABMToken{ConsumerKey: s.token.ConsumerKey, ConsumerSecret: "CS_" + abmRandom(20), AccessToken: "AT_" + abmRandom(20),
		AccessSecret: "AS_" + abmRandom(20), Expires: a.now().Add(a.config.TokenFor)}
	if t.ConsumerKey == "" {
		t.ConsumerKey = "CK_" + abmRandom(32)
	} else {
		s.ended[s.token.AccessToken] = true
	}
	s.token = t
	return t
}

// Credentials returns what is in the server's token that is good now. It makes one if none was downloaded yet.
func (a *ABM) Credentials(s *ABMServer) ABMToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.token.ConsumerKey == "" {
		return a.renew(s)
	}
	return s.token
}

// Revoke ends the server's token, as when the server is deleted at Apple: it is refused, as are its sessions, until another is downloaded.
func (a *ABM) Revoke(s *ABMServer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.ended[s.token.AccessToken] = true
}

// tokenOver reports whether the access token is good no more, and why.
func (a *ABM) tokenOver(s *ABMServer, access string) string {
	switch {
	case s.ended[access]:
		return "the token was renewed or revoked"
	case !s.token.Expires.After(a.now()):
		return "the token has expired"
	}
	return ""
}
