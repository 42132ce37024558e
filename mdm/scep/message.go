package scep

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"

	"github.com/gomdm/applemdm/internal/cms"
)

// limits bound a SCEP message before any parser sees it. A real one is under 8 kB.
func limits() cms.Limits { return cms.Limits{Bytes: maxMessage, Depth: 24, Elements: 2000} }

const maxMessage = 64 << 10

// Attributes of a SCEP message (RFC 8894, section 3.2.1).
func oid(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, last}
}

var (
	oidMessageType    = oid(2)
	oidPKIStatus      = oid(3)
	oidFailInfo       = oid(4)
	oidSenderNonce    = oid(5)
	oidRecipientNonce = oid(6)
	oidTransactionID  = oid(7)
)

const nonceSize = 16

// message is a SCEP message whose outer signature is verified. Who signed it is for the caller to judge.
type message struct {
	pki    *scep.PKIMessage
	signer *x509.Certificate
}

var errParser = errors.New("scep: the message breaks the parser")

// parse reads a message. The parsers that follow the guard panic on some input that they should refuse; that is
// refused here, too.
func parse(data []byte) (m *message, err error) {
	defer contain(&err)
	signed, err := cms.ParseSigned(data, limits())
	if err != nil {
		return nil, err
	}
	// A refusal has attributes and no content (RFC 8894, section 3.3.2); its signature is over them.
	if err := signed.VerifyDetached(signed.Content); err != nil {
		return nil, err
	}
	der, err := cms.ToDER(data, limits())
	if err != nil {
		return nil, err
	}
	pki, err := scep.ParsePKIMessage(der)
	if err != nil {
		return nil, err
	}
	if len(signed.Content) > 0 {
		if err := cms.Check(signed.Content, limits()); err != nil {
			return nil, fmt.Errorf("scep: envelope: %w", err)
		}
	}
	return &message{pki: pki, signer: signed.Signer}, nil
}

// open decrypts the envelope: of a request its CSR, of an answer its certificate.
func (m *message) open(cert *x509.Certificate, key crypto.Decrypter) (err error) {
	defer contain(&err)
	return m.pki.DecryptPKIEnvelope(cert, key)
}

func contain(err *error) {
	if r := recover(); r != nil {
		*err = errParser
	}
}

// reply is an answer, or a request of the client: attributes, and content in an envelope.
type reply struct {
	kind           scep.MessageType
	transaction    scep.TransactionID
	status         scep.PKIStatus // answers only
	fail           scep.FailInfo  // failures only
	senderNonce    []byte
	recipientNonce []byte // answers only
	content        []byte // put into an envelope to recipient; nil: none
	recipient      *x509.Certificate
}

// encode signs the message. The envelope is made here, with AES, and not by the SCEP library, whose choice of cipher is
// one variable for the whole process.
func (r reply) encode(cert *x509.Certificate, key crypto.Signer) ([]byte, error) {
	var envelope []byte
	if r.content != nil {
		var err error
		if envelope, err = cms.Encrypt(r.content, []*x509.Certificate{r.recipient}); err != nil {
			return nil, fmt.Errorf("scep: envelope: %w", err)
		}
	}
	signed, err := pkcs7.NewSignedData(envelope)
	if err != nil {
		return nil, fmt.Errorf("scep: reply: %w", err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(cert, key, pkcs7.SignerInfoConfig{ExtraSignedAttributes: r.attributes()}); err != nil {
		return nil, fmt.Errorf("scep: reply: %w", err)
	}
	return signed.Finish()
}

func (r reply) attributes() []pkcs7.Attribute {
	list := []pkcs7.Attribute{
		{Type: oidTransactionID, Value: r.transaction},
		{Type: oidMessageType, Value: r.kind},
		{Type: oidSenderNonce, Value: r.senderNonce},
	}
	if r.status != "" {
		list = append(list, pkcs7.Attribute{Type: oidPKIStatus, Value: r.status},
			pkcs7.Attribute{Type: oidRecipientNonce, Value: r.recipientNonce})
	}
	if r.fail != "" {
		list = append(list, pkcs7.Attribute{Type: oidFailInfo, Value: r.fail})
	}
	return list
}

func newNonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}
