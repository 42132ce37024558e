package scep

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

// ErrFailure is the error of a Client whose request was refused.
var ErrFailure = errors.New("scep: the server refused")

// Client asks a SCEP server for a certificate as a device does. It is for tests, simulators and other servers' SCEP.
type Client struct {
	URL   string
	HTTP  *http.Client     // nil: http.DefaultClient
	Clock func() time.Time // nil: time.Now
}

// Enroll asks for a certificate for key, authorized by challenge.
func (c Client) Enroll(ctx context.Context, key *rsa.PrivateKey, challenge mdm.Secret) (*x509.Certificate, error) {
	self, err := c.selfSigned(key)
	if err != nil {
		return nil, err
	}
	return c.request(ctx, scep.PKCSReq, self, key, key, challenge)
}

// Renew asks for a certificate for key, authorized by a certificate that is alive.
func (c Client) Renew(ctx context.Context, old *x509.Certificate, oldKey, key *rsa.PrivateKey) (*x509.Certificate, error) {
	return c.request(ctx, scep.RenewalReq, old, oldKey, key, mdm.Secret{})
}

// request sends a message signed by signer and reads the certificate from its answer.
func (c Client) request(ctx context.Context, kind scep.MessageType, signer *x509.Certificate, signerKey, key *rsa.PrivateKey, challenge mdm.Secret) (*x509.Certificate, error) {
	ca, err := c.caCertificates(ctx)
	if err != nil {
		return nil, err
	}
	template := &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{Subject: pkix.Name{CommonName: "device"}, SignatureAlgorithm: x509.SHA256WithRSA},
		ChallengePassword:  string(challenge.Reveal()),
	}
	csr, err := x509util.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("scep: request: %w", err)
	}
	sum := sha256.Sum256(csr)
	req := reply{kind: kind, transaction: scep.TransactionID(hex.EncodeToString(sum[:])), senderNonce: newNonce(), content: csr, recipient: ca[0]}
	body, err := req.encode(signer, signerKey)
	if err != nil {
		return nil, err
	}
	data, err := c.do(ctx, http.MethodPost, "PKIOperation", body)
	if err != nil {
		return nil, err
	}
	return readCertificate(data, req, ca, signer, signerKey)
}

// readCertificate checks that an answer is to this request and from this server.
func readCertificate(data []byte, req reply, ca []*x509.Certificate, signer *x509.Certificate, key *rsa.PrivateKey) (*x509.Certificate, error) {
	m, err := parse(data)
	if err != nil {
		return nil, err
	}
	switch {
	case m.pki.CertRepMessage == nil:
		return nil, errors.New("scep: the answer is no CertRep")
	case !m.signer.Equal(ca[0]):
		return nil, errors.New("scep: the answer is signed by somebody else")
	case m.pki.TransactionID != req.transaction || !bytes.Equal(m.pki.RecipientNonce, req.senderNonce):
		return nil, errors.New("scep: the answer is to another request")
	case m.pki.PKIStatus != scep.SUCCESS:
		return nil, fmt.Errorf("%w: status %s, reason %s", ErrFailure, string(m.pki.PKIStatus), string(m.pki.FailInfo))
	}
	if err := m.open(signer, key); err != nil {
		return nil, err
	}
	return m.pki.CertRepMessage.Certificate, nil
}

// caCertificates asks for the certificates of the server, the one to encrypt to first.
func (c Client) caCertificates(ctx context.Context) ([]*x509.Certificate, error) {
	data, err := c.do(ctx, http.MethodGet, "GetCACert", nil)
	if err != nil {
		return nil, err
	}
	if cert, err := x509.ParseCertificate(data); err == nil {
		return []*x509.Certificate{cert}, nil
	}
	certs, err := cms.ParseCerts(data, limits())
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		return nil, errors.New("scep: no CA certificate")
	}
	return certs, nil
}

func (c Client) do(ctx context.Context, method, operation string, body []byte) ([]byte, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("scep: %w", err)
	}
	query := u.Query()
	query.Set("operation", operation)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("scep: %w", err)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scep: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxMessage))
	if err != nil {
		return nil, fmt.Errorf("scep: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s: %s", ErrFailure, res.Status, strings.TrimSpace(string(data)))
	}
	return data, nil
}

// selfSigned makes the certificate with which a new key signs its own request. The library notes the real time as that of the
// signature, and holds it against this certificate. So it is valid then, too, however far Clock is from it.
func (c Client) selfSigned(key *rsa.PrivateKey) (*x509.Certificate, error) {
	from := time.Now()
	until := from
	if c.Clock != nil {
		if now := c.Clock(); now.Before(from) {
			from = now
		} else {
			until = now
		}
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "device"},
		NotBefore: from.Add(-time.Hour), NotAfter: until.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("scep: %w", err)
	}
	return x509.ParseCertificate(der)
}
