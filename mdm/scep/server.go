package scep

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/smallstep/scep"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

// capabilities is the answer to GetCACaps: what this server does, and no more.
const capabilities = "AES\nPOSTPKIOperation\nRenewal\nSHA-256\nSCEPStandard\n"

// Server answers SCEP requests. Set CA and Store; it is an http.Handler and safe for concurrent use.
type Server struct {
	CA    CA
	Store Store

	// RACertificate and RAKey speak for the CA: they decrypt requests and sign answers. Nil: the certificate and key of
	// a *LocalCA with an RSA key. The key must be RSA, because requests are encrypted to it.
	RACertificate *x509.Certificate
	RAKey         RAKey

	Tenant func(*http.Request) string // nil: one tenant, ""
	Clock  func() time.Time           // nil: time.Now
	Logger *slog.Logger               // nil: nothing is logged
}

// RAKey is an RSA private key, at hand or in an HSM.
type RAKey interface {
	crypto.Signer
	crypto.Decrypter
}

// ServeHTTP answers the operations GetCACaps, GetCACert and PKIOperation.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch operation := r.URL.Query().Get("operation"); {
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case operation == "GetCACaps" && r.Method == http.MethodGet:
		_ = send(w, "text/plain", []byte(capabilities))
	case operation == "GetCACert" && r.Method == http.MethodGet:
		s.sendCACert(w, r)
	case operation == "PKIOperation":
		s.pkiOperation(w, r)
	default:
		http.Error(w, "unknown operation", http.StatusBadRequest)
	}
}

func send(w http.ResponseWriter, contentType string, body []byte) error {
	w.Header().Set("Content-Type", contentType)
	n, err := w.Write(body)
	if err == nil && n < len(body) {
		err = io.ErrShortWrite
	}
	if err == nil {
		// Only what has left the buffers can have been delivered.
		if err = http.NewResponseController(w).Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	return err
}

func (s *Server) sendCACert(w http.ResponseWriter, r *http.Request) {
	ra, _, err := s.ra()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	chain := s.CA.Chain()
	if !ra.Equal(chain[0]) {
		chain = append([]*x509.Certificate{ra}, chain...)
	}
	if len(chain) == 1 {
		_ = send(w, "application/x-x509-ca-cert", chain[0].Raw)
		return
	}
	body, err := cms.CertsOnly(chain)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	_ = send(w, "application/x-x509-ca-ra-cert", body)
}

// ra returns who decrypts and signs.
func (s *Server) ra() (*x509.Certificate, RAKey, error) {
	if s.RACertificate != nil && s.RAKey != nil {
		return s.RACertificate, s.RAKey, nil
	}
	if ca, ok := s.CA.(*LocalCA); ok {
		if key, ok := ca.Key.(RAKey); ok {
			if _, isRSA := key.Public().(*rsa.PublicKey); isRSA {
				return ca.Certificate, key, nil
			}
		}
	}
	return nil, nil, mdm.Errorf(mdm.Internal, "scep.Server", "RACertificate and RAKey are required: the CA has no RSA key at hand")
}

func (s *Server) pkiOperation(w http.ResponseWriter, r *http.Request) {
	data, err := readMessage(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ra, key, err := s.ra()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	m, err := parse(data)
	if err != nil {
		s.fail(w, r, mdm.Errorf(mdm.Malformed, "scep.Server", "message: %w", err))
		return
	}
	answer, spend, err := s.answer(r, m, ra, key)
	if err != nil {
		if mdm.CodeOf(err) == mdm.Internal || mdm.CodeOf(err) == mdm.Unavailable {
			s.fail(w, r, err) // our own fault: 500, nothing is spent, the device tries again
			return
		}
		s.log(r, slog.LevelWarn, "scep refused", err)
		answer = reply{status: scep.FAILURE, fail: scep.BadRequest}
	}
	answer.kind, answer.transaction = scep.CertRep, m.pki.TransactionID
	answer.senderNonce, answer.recipientNonce = newNonce(), m.pki.SenderNonce
	body, err := answer.encode(ra, key)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if err := send(w, "application/x-pki-message", body); err != nil {
		s.log(r, slog.LevelWarn, "scep answer not delivered; the challenge stays good", err)
		return
	}
	if spend != nil {
		if err := spend(context.WithoutCancel(r.Context())); err != nil {
			s.log(r, slog.LevelError, "scep challenge not marked as spent; it expires", err)
		}
	}
}

// readMessage takes a PKIOperation from the body of a POST or the query of a GET.
func readMessage(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Method == http.MethodPost {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, "scep.Server", "body: %w", err)
		}
		return data, nil
	}
	text := r.URL.Query().Get("message")
	if len(text) > maxMessage*4/3 {
		return nil, mdm.Errorf(mdm.Malformed, "scep.Server", "message too long")
	}
	// Some clients do not escape the + of base64, which then arrives as a space.
	data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, "scep.Server", "message is not base64")
	}
	return data, nil
}

// answer decides about a request. What is to be spent after the answer was delivered comes with it.
func (s *Server) answer(r *http.Request, m *message, ra *x509.Certificate, key RAKey) (reply, func(context.Context) error, error) {
	const op = "scep.Server"
	kind := m.pki.MessageType
	if kind != scep.PKCSReq && kind != scep.RenewalReq { // an allow-list: other types must never slip past authorization
		return reply{}, nil, mdm.Errorf(mdm.Malformed, op, "message type %q is not served", string(kind))
	}
	if err := m.open(ra, key); err != nil {
		return reply{}, nil, mdm.Errorf(mdm.Malformed, op, "envelope: %w", err)
	}
	csr := m.pki.CSR
	if err := csr.CheckSignature(); err != nil {
		return reply{}, nil, mdm.Errorf(mdm.Malformed, op, "the request's signature: %w", err)
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return reply{}, nil, mdm.Errorf(mdm.Malformed, op, "the request has %w", err)
	}
	if _, isRSA := m.signer.PublicKey.(*rsa.PublicKey); !isRSA {
		return reply{}, nil, mdm.Errorf(mdm.Malformed, op, "the signer has no RSA key to encrypt the answer to")
	}
	tenant := ""
	if s.Tenant != nil {
		tenant = s.Tenant(r)
	}
	if kind == scep.RenewalReq {
		cert, err := s.renew(r.Context(), tenant, m.signer, csr)
		return success(cert, m), nil, err
	}
	return s.enroll(r.Context(), tenant, m)
}

// enroll answers a PKCSReq: authorized by its challenge, signed by the key that it asks a certificate for.
func (s *Server) enroll(ctx context.Context, tenant string, m *message) (reply, func(context.Context) error, error) {
	const op = "scep.Server"
	csr := m.pki.CSR
	if key, ok := csr.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(m.signer.PublicKey) {
		return reply{}, nil, mdm.Errorf(mdm.Forbidden, op, "the message is signed by another key than the request")
	}
	if m.pki.ChallengePassword == "" {
		return reply{}, nil, mdm.Errorf(mdm.Forbidden, op, "no challenge")
	}
	hash, key := HashChallenge(m.pki.ChallengePassword), keyHash(csr)
	challenge, der, err := s.Store.Redeem(ctx, hash, key, s.now())
	if err != nil {
		return reply{}, nil, err
	}
	if challenge.Tenant != tenant {
		return reply{}, nil, mdm.Errorf(mdm.Forbidden, op, "the challenge is another tenant's")
	}
	var cert *x509.Certificate
	if der != nil {
		cert, err = x509.ParseCertificate(der)
	} else {
		cert, err = s.issue(ctx, Request{Key: csr.PublicKey, Tenant: tenant, Purpose: challenge.Purpose, Device: challenge.Device,
			DeviceSerial: challenge.DeviceSerial, CSR: csr}, hash)
	}
	if err != nil {
		return reply{}, nil, err
	}
	return success(cert, m), func(ctx context.Context) error { return s.Store.Spend(ctx, hash, key) }, nil
}

// renew answers a RenewalReq: authorized by the living certificate that signed it.
func (s *Server) renew(ctx context.Context, tenant string, signer *x509.Certificate, csr *x509.CertificateRequest) (*x509.Certificate, error) {
	const op = "scep.Server"
	if err := signer.CheckSignatureFrom(s.CA.Chain()[0]); err != nil {
		return nil, mdm.Errorf(mdm.Forbidden, op, "a renewal signed by a certificate that is not ours")
	}
	if now := s.now(); now.Before(signer.NotBefore.Add(-skew)) || now.After(signer.NotAfter.Add(skew)) {
		return nil, mdm.Errorf(mdm.Forbidden, op, "a renewal signed by an expired certificate")
	}
	record, err := s.Store.Certificate(ctx, tenant, mdm.FingerprintOf(signer))
	switch {
	case mdm.CodeOf(err) == mdm.NotFound && err != nil:
		return nil, mdm.Errorf(mdm.Forbidden, op, "a renewal signed by an unknown certificate")
	case err != nil:
		return nil, err
	case record.Status != mdm.CertificateActive && record.Status != mdm.CertificatePending:
		return nil, mdm.Errorf(mdm.Forbidden, op, "a renewal signed by a certificate that is %s", record.Status)
	}
	return s.issue(ctx, Request{Key: csr.PublicKey, Tenant: tenant, Purpose: mdm.PurposeRenew, Device: record.Device,
		DeviceSerial: record.DeviceSerial, CSR: csr}, [sha256.Size]byte{})
}

const skew = 5 * time.Minute

// issue has the CA make a certificate and records it.
func (s *Server) issue(ctx context.Context, r Request, challenge [sha256.Size]byte) (*x509.Certificate, error) {
	return issue(ctx, s.CA, s.Store, r, challenge, s.now())
}

func issue(ctx context.Context, ca CA, store Store, r Request, challenge [sha256.Size]byte, now time.Time) (*x509.Certificate, error) {
	cert, err := ca.Issue(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("scep: CA: %w", err)
	}
	record := mdm.NewCertificate(r.Tenant, cert)
	record.Status, record.Purpose, record.IssuedAt = mdm.CertificateIssued, r.Purpose, now
	record.Device, record.DeviceSerial = r.Device, r.DeviceSerial
	err = store.Record(ctx, Issue{Certificate: record, DER: cert.Raw, Challenge: challenge,
		Key: sha256.Sum256(cert.RawSubjectPublicKeyInfo), At: now})
	if err != nil {
		return nil, err
	}
	return cert, nil
}

func keyHash(csr *x509.CertificateRequest) [sha256.Size]byte {
	return sha256.Sum256(csr.RawSubjectPublicKeyInfo)
}

// success is the answer with a certificate, readable by the signer of the request only.
func success(cert *x509.Certificate, m *message) reply {
	if cert == nil {
		return reply{}
	}
	content, err := cms.CertsOnly([]*x509.Certificate{cert})
	if err != nil { // of one parsed certificate: cannot happen
		return reply{status: scep.FAILURE, fail: scep.BadRequest}
	}
	return reply{status: scep.SUCCESS, content: content, recipient: m.signer}
}

func (s *Server) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

// fail answers what is not a SCEP message, or our own fault. The text of the error stays here.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if mdm.CodeOf(err) == mdm.Malformed {
		status = http.StatusBadRequest
	}
	s.log(r, slog.LevelError, "scep failed", err)
	http.Error(w, http.StatusText(status), status)
}

func (s *Server) log(r *http.Request, level slog.Level, msg string, err error) {
	if s.Logger != nil {
		s.Logger.LogAttrs(r.Context(), level, msg, slog.Any("error", err))
	}
}
