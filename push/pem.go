package push

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
)

const (
	pemCertificate = "CERTIFICATE"
	pemPKCS8       = "PRIVATE KEY"
	maxPEM         = 256 << 10
)

// LoadCertificate reads a push certificate as identity.apple.com hands it out and its private key, both PEM. The key
// is PKCS#8, PKCS#1 ("RSA PRIVATE KEY") or SEC 1 ("EC PRIVATE KEY") and not encrypted; both arguments may hold other
// blocks as well, so that one file with both can be given twice. The first certificate is the leaf. See
// [NewCertificate] for what is checked and for the errors.
func LoadCertificate(certPEM, keyPEM []byte) (Certificate, error) {
	c, err := load(certPEM, keyPEM)
	if err != nil {
		return c, &mdm.Error{Code: mdm.Malformed, Op: "push.LoadCertificate", Err: err}
	}
	return c, nil
}

func load(certPEM, keyPEM []byte) (Certificate, error) {
	if len(certPEM) > maxPEM || len(keyPEM) > maxPEM {
		return Certificate{}, fmt.Errorf("more than %d bytes of PEM", maxPEM)
	}
	chain := readChain(certPEM)
	if len(chain) == 0 {
		return Certificate{}, errors.New("the certificate's PEM has no block of type CERTIFICATE")
	}
	key, err := readKey(keyPEM)
	if err != nil {
		return Certificate{}, err
	}
	return examine(tls.Certificate{Certificate: chain, PrivateKey: key})
}

func readChain(data []byte) [][]byte {
	var chain [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == pemCertificate {
			chain = append(chain, block.Bytes)
		}
	}
	return chain
}

// readKey returns the first private key. Its errors never quote the input.
func readKey(data []byte) (crypto.PrivateKey, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, ErrEncryptedKey
		}
		parse := keyParser(block.Type)
		if parse == nil {
			continue
		}
		key, err := parse(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("unreadable private key in the block %q", block.Type)
		}
		return key, nil
	}
	return nil, errors.New("the key's PEM has no private key")
}

func keyParser(blockType string) func([]byte) (crypto.PrivateKey, error) {
	switch blockType {
	case pemPKCS8:
		return func(der []byte) (crypto.PrivateKey, error) { return x509.ParsePKCS8PrivateKey(der) }
	case "RSA PRIVATE KEY":
		return func(der []byte) (crypto.PrivateKey, error) { return x509.ParsePKCS1PrivateKey(der) }
	case "EC PRIVATE KEY":
		return func(der []byte) (crypto.PrivateKey, error) { return x509.ParseECPrivateKey(der) }
	}
	return nil
}
