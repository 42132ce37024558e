package enroll

import (
	"crypto/x509"
	"errors"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

// MaxMessage is the largest signed message, in bytes, that is read. A device's attributes and its chain have about 5 kB.
const MaxMessage = 64 << 10

// Message is what a device says under its signature before it is enrolled: the CMS SignedData of over-the-air enrollment
// and of MachineInfo. That Signer signed Content is verified; who Signer is, is for [DeviceCA.Verify] to say.
type Message struct {
	Content       []byte
	Signer        *x509.Certificate
	Intermediates []*x509.Certificate // what else came with it; may be incomplete
}

// ParseMessage reads a message, DER or BER, with exactly one signer, and verifies its signature, with SHA-1 or better. The
// error is TooLarge, Malformed for what is no such message, and Forbidden if the signature does not fit the content.
func ParseMessage(body []byte) (*Message, error) {
	const op = "enroll.ParseMessage"
	signed, err := cms.ParseSigned(body, cms.Limits{Bytes: MaxMessage, Depth: 24, Elements: 2000})
	switch {
	case errors.Is(err, cms.ErrTooLarge):
		return nil, mdm.Errorf(mdm.TooLarge, op, "%w", err)
	case err != nil:
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	case signed.Content == nil:
		return nil, mdm.Errorf(mdm.Malformed, op, "the message has no content")
	}
	if err := signed.Verify(); err != nil {
		return nil, mdm.Errorf(mdm.Forbidden, op, "%w", err)
	}
	return &Message{Content: signed.Content, Signer: signed.Signer, Intermediates: signed.Certificates[1:]}, nil
}
