package push

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// What may be wrong with a push certificate. [LoadCertificate] and [NewCertificate] wrap them in Malformed errors.
var (
	ErrKeyMismatch  = errors.New("the private key does not belong to the certificate")
	ErrEncryptedKey = errors.New("the private key is encrypted; decrypt it first")
	ErrNoTopic      = errors.New("not an MDM push certificate: no UID with the prefix " + topicPrefix + " in its subject")
	ErrNotForClient = errors.New("the certificate may not be used by a TLS client")
	ErrExpired      = errors.New("the push certificate is expired; renew it with the Apple Account that made it")
)

const topicPrefix = "com.apple.mgmt."

// Certificate is a push certificate with its private key: what APNs knows an MDM server by. No fmt verb and no logger
// shows the key.
type Certificate struct {
	Topic    string // the subject's UID, as "com.apple.mgmt.External.…"; the Topic of MDM payloads
	NotAfter time.Time
	TLS      tls.Certificate // with Leaf set
}

// NewCertificate examines pair: the key belongs to the leaf, the leaf is for TLS clients, and its subject has the UID
// attribute (0.9.2342.19200300.100.1.1) that is the topic (Apple: the key Topic of the MDM payload). The errors are
// Malformed ones. If the only fault is that the certificate has expired, the error is [ErrExpired] and the Certificate
// is complete nonetheless: it still tells the topic, and a store can load what it keeps.
func NewCertificate(pair tls.Certificate) (Certificate, error) {
	c, err := examine(pair)
	if err != nil {
		return c, &mdm.Error{Code: mdm.Malformed, Op: "push.NewCertificate", Err: err}
	}
	return c, nil
}

func examine(pair tls.Certificate) (Certificate, error) {
	if len(pair.Certificate) == 0 {
		return Certificate{}, errors.New("there is no certificate")
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return Certificate{}, fmt.Errorf("unreadable certificate: %w", err)
	}
	if !belongs(pair.PrivateKey, leaf) {
		return Certificate{}, ErrKeyMismatch
	}
	if !forClient(leaf) {
		return Certificate{}, ErrNotForClient
	}
	topic := topicOf(leaf)
	if topic == "" {
		return Certificate{}, ErrNoTopic
	}
	pair.Leaf = leaf
	c := Certificate{Topic: topic, NotAfter: leaf.NotAfter, TLS: pair}
	return c, c.Check(time.Now())
}

// Check returns an error that wraps [ErrExpired] if c is expired at the time given.
func (c Certificate) Check(at time.Time) error {
	if at.After(c.NotAfter) {
		return fmt.Errorf("%w (since %s)", ErrExpired, c.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// belongs reports whether key is the private half of leaf's public key.
func belongs(key crypto.PrivateKey, leaf *x509.Certificate) bool {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(leaf.PublicKey)
}

// forClient reports whether leaf's extended key usage, where it has one, allows TLS clients.
func forClient(leaf *x509.Certificate) bool {
	usages := leaf.ExtKeyUsage
	if len(usages)+len(leaf.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(usages, x509.ExtKeyUsageClientAuth) || slices.Contains(usages, x509.ExtKeyUsageAny)
}

// topicOf returns the UID of the subject, "" if there is none that can be a topic.
func topicOf(leaf *x509.Certificate) string {
	uid := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	for _, name := range leaf.Subject.Names {
		if s, ok := name.Value.(string); ok && name.Type.Equal(uid) && isTopic(s) {
			return s
		}
	}
	return ""
}

// isTopic reports whether s can be sent as a header: printable and not too long.
func isTopic(s string) bool {
	const maxTopic = 255
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	return strings.HasPrefix(s, topicPrefix) && len(s) > len(topicPrefix) && len(s) <= maxTopic &&
		!strings.ContainsFunc(s, unprintable)
}

// PEM returns the certificate chain and the private key (PKCS#8) in the form that [LoadCertificate] reads. The error
// is that of a key which cannot leave its device.
func (c Certificate) PEM() (cert []byte, key mdm.Secret, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		return nil, mdm.Secret{}, mdm.Errorf(mdm.Internal, "push.Certificate.PEM", "the key of type %T: %w", c.TLS.PrivateKey, err)
	}
	var chain bytes.Buffer
	for _, raw := range c.TLS.Certificate {
		_ = pem.Encode(&chain, &pem.Block{Type: pemCertificate, Bytes: raw}) // a Buffer does not fail
	}
	return chain.Bytes(), mdm.NewSecret(pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: der})), nil
}

// String tells the topic and the end of validity.
func (c Certificate) String() string {
	return fmt.Sprintf("push certificate %s until %s", c.Topic, c.NotAfter.UTC().Format(time.DateOnly))
}

// Format implements [fmt.Formatter], so that no verb reaches the key.
func (c Certificate) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue implements [slog.LogValuer].
func (c Certificate) LogValue() slog.Value {
	return slog.GroupValue(slog.String("topic", c.Topic), slog.Time("notAfter", c.NotAfter))
}

// MarshalJSON fails with [mdm.ErrSecret]: use PEM.
func (c Certificate) MarshalJSON() ([]byte, error) { return nil, mdm.ErrSecret }

// Fixed returns Certificates that are known from the start, for servers without a [CertificateStore]. Of two with the
// same topic, the later argument is taken.
func Fixed(certs ...Certificate) Certificates {
	known := make(fixed, len(certs))
	for _, c := range certs {
		known[c.Topic] = c.TLS
	}
	return known
}

type fixed map[string]tls.Certificate

func (f fixed) PushCertificate(_ context.Context, topic string) (*tls.Certificate, error) {
	pair, ok := f[topic]
	if !ok {
		return nil, mdm.Errorf(mdm.NotFound, "push.Fixed", "there is no push certificate for topic %q", topic)
	}
	return &pair, nil
}
