package dep

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Why a token is not taken. The errors of this package that say so are Malformed, and wrap one of these.
var (
	ErrNotToken    = errors.New("this is not a server token of Apple's")
	ErrOtherKey    = errors.New("the token is encrypted to another certificate, or damaged: the certificate of this server has to be uploaded at Apple, and the token downloaded after that")
	ErrOtherServer = errors.New("the token is of another server at Apple")
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

const (
	pairLifetime = 3 * 365 * 24 * time.Hour // renewed tokens are for the same certificate
	maxTokenPart = 1024
)

// NewKeyPair makes a key pair for a new server: RSA with 2048 bits, which Apple wants, and a certificate for three years that
// is signed by itself and has the name, of which at most 64 characters are used.
func NewKeyPair(name string, now time.Time) (KeyPair, error) {
	const op = "dep.NewKeyPair"
	if !plain(name, maxName) || name == "" {
		return KeyPair{}, mdm.Errorf(mdm.Malformed, op, "a name is printable text of 1 to %d bytes", maxName)
	}
	if runes := []rune(name); len(runes) > 64 { // of a common name: RFC 5280, appendix A.1
		name = string(runes[:64])
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return KeyPair{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return KeyPair{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour), // for clocks behind ours
		NotAfter:     now.Add(pairLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return KeyPair{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	return KeyPair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         mdm.NewSecret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	}, nil
}

// parse returns the certificate and its key, which other programs also write as PKCS #1.
func (k KeyPair) parse(op string) (*x509.Certificate, *rsa.PrivateKey, error) {
	block, _ := pem.Decode(k.Certificate)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "the key pair has no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "the certificate of the key pair: %w", err)
	}
	block, _ = pem.Decode(k.Key.Reveal())
	if block == nil {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "the key pair has no key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if block.Type == "RSA PRIVATE KEY" {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "the key of the key pair is not an RSA key that can be read") // the cause could tell of it
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "the key of the key pair is not that of its certificate")
	}
	return cert, key, nil
}

// tokenJSON is the form of a token in Apple's file.
type tokenJSON struct {
	ConsumerKey    string `json:"consumer_key"`
	ConsumerSecret string `json:"consumer_secret"`
	AccessToken    string `json:"access_token"`
	AccessSecret   string `json:"access_secret"`
	Expires        string `json:"access_token_expiry"`
}

// ParseToken reads the JSON in a token file. Whether it has expired is not looked at: see [Token.Check]. The error is
// Malformed, and wraps [ErrNotToken].
func ParseToken(data []byte) (Token, error) {
	const op = "dep.ParseToken"
	if len(data) > maxTokenFile {
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: it is too large", ErrNotToken)
	}
	var v tokenJSON
	if json.Unmarshal(data, &v) != nil { // the cause could tell of the content
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: it has not the form of one", ErrNotToken)
	}
	for _, part := range []struct{ key, value string }{
		{"consumer_key", v.ConsumerKey}, {"consumer_secret", v.ConsumerSecret}, {"access_token", v.AccessToken}, {"access_secret", v.AccessSecret},
	} {
		if !isTokenPart(part.value) {
			return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: its %s is missing or odd", ErrNotToken, part.key)
		}
	}
	expires, ok := moment(v.Expires)
	if !ok || expires.IsZero() {
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: its access_token_expiry is missing or odd", ErrNotToken)
	}
	return Token{v.ConsumerKey, mdm.SecretString(v.ConsumerSecret), mdm.SecretString(v.AccessToken), mdm.SecretString(v.AccessSecret), expires}, nil
}

// isTokenPart reports whether s can be a part of a token: printable ASCII without spaces.
func isTokenPart(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxTokenPart
}

// Check reports that there is no token ([ErrNoToken]), or that its time is over ([ErrTokenExpired]), as a Forbidden error.
func (t Token) Check(now time.Time) error {
	const op = "dep.Token"
	if t.ConsumerKey == "" {
		return mdm.Errorf(mdm.Forbidden, op, "%w", ErrNoToken)
	}
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return mdm.Errorf(mdm.Forbidden, op, "%w", ErrTokenExpired)
	}
	return nil
}

// Replaces reports as a Malformed error, which wraps [ErrOtherServer], that t is not of the same server at Apple as old: all
// devices would belong to another one from then on. Where that is wanted the error is to be passed over. Without an old token
// any is good.
func (t Token) Replaces(old Token) error {
	if old.ConsumerKey != "" && t.ConsumerKey != old.ConsumerKey {
		return mdm.Errorf(mdm.Malformed, "dep.Token", "%w", ErrOtherServer)
	}
	return nil
}

// same reports whether both are one token.
func (t Token) same(other Token) bool {
	return t.ConsumerKey == other.ConsumerKey && t.ConsumerSecret.Equal(other.ConsumerSecret) && t.AccessToken.Equal(other.AccessToken) &&
		t.AccessSecret.Equal(other.AccessSecret)
}

// secrets returns what must not be seen of it.
func (t Token) secrets() []string {
	return []string{string(t.ConsumerSecret.Reveal()), string(t.AccessToken.Reveal()), string(t.AccessSecret.Reveal()), t.ConsumerKey}
}

// StaticToken is a Token of a Client that never changes.
func StaticToken(t Token) func(context.Context) (Token, error) {
	return func(context.Context) (Token, error) { return t, nil }
}

// StoredToken is a Token of a Client that is read from a [Store] at every call, so that a renewed one is used at once,
// whichever process imported it.
func StoredToken(servers interface {
	Server(ctx context.Context, key Key) (Server, error)
}, key Key,
) func(context.Context) (Token, error) {
	return func(ctx context.Context) (Token, error) {
		s, err := servers.Server(ctx, key)
		return s.Token, err
	}
}
