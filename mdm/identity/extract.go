package identity

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

// TLS returns an Extractor for a server that ends TLS itself: the client certificate of the connection. The tls.Config
// must ask for one (tls.RequestClientCert); a [Validator] checks it.
func TLS() Extractor { return tlsExtractor{} }

type tlsExtractor struct{}

func (tlsExtractor) Extract(r *http.Request, _ []byte) (Presented, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return Presented{}, mdm.Errorf(mdm.Malformed, "identity.TLS", "no client certificate on the connection")
	}
	return Presented{Leaf: r.TLS.PeerCertificates[0], Intermediates: r.TLS.PeerCertificates[1:], Via: "tls"}, nil
}

// maxSignature is the longest Mdm-Signature header; real ones have about 2 kB.
const maxSignature = 16 << 10

// MDMSignature returns an Extractor for servers behind a proxy that ends TLS, where the MDM payload has SignMessage: the
// header Mdm-Signature holds a detached CMS signature over the body, with its certificate (Apple: MDM Protocol
// Reference). BER and DER, with and without signed attributes, SHA-1 to SHA-512, RSA and ECDSA are accepted; a signing
// time is not compared with anything, because the clocks of devices are wrong.
func MDMSignature() Extractor { return signatureExtractor{} }

type signatureExtractor struct{}

func (signatureExtractor) Extract(r *http.Request, body []byte) (Presented, error) {
	const op = "identity.MDMSignature"
	values := r.Header.Values("Mdm-Signature")
	if len(values) != 1 {
		return Presented{}, mdm.Errorf(mdm.Malformed, op, "%d Mdm-Signature headers, not one", len(values))
	}
	if len(values[0]) > maxSignature {
		return Presented{}, mdm.Errorf(mdm.Malformed, op, "the header is longer than %d bytes", maxSignature)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(values[0]), ""))
	if err != nil {
		return Presented{}, mdm.Errorf(mdm.Malformed, op, "the header is not base64")
	}
	signed, err := cms.ParseSigned(signature, cms.Limits{Bytes: maxSignature, Elements: 2000})
	if err != nil {
		return Presented{}, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	if err := signed.VerifyDetached(body); err != nil {
		return Presented{}, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return Presented{Leaf: signed.Signer, Intermediates: signed.Certificates[1:], Via: "mdm-signature"}, nil
}
