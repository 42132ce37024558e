package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // real devices sign with it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// hashes are the digest algorithms of signatures, with the names of the signature algorithms that contain them. MD5 is
// not among them.
var hashes = []struct {
	hash               crypto.Hash
	digest, rsa, ecdsa asn1.ObjectIdentifier
}{
	{crypto.SHA1, pkcs7.OIDDigestAlgorithmSHA1, pkcs7.OIDEncryptionAlgorithmRSASHA1, pkcs7.OIDDigestAlgorithmECDSASHA1},
	{crypto.SHA256, pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDEncryptionAlgorithmRSASHA256, pkcs7.OIDDigestAlgorithmECDSASHA256},
	{crypto.SHA384, pkcs7.OIDDigestAlgorithmSHA384, pkcs7.OIDEncryptionAlgorithmRSASHA384, pkcs7.OIDDigestAlgorithmECDSASHA384},
	{crypto.SHA512, pkcs7.OIDDigestAlgorithmSHA512, pkcs7.OIDEncryptionAlgorithmRSASHA512, pkcs7.OIDDigestAlgorithmECDSASHA512},
}

var (
	oidRSA         = pkcs7.OIDEncryptionAlgorithmRSA
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidAES192CBC   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
)

func hashOf(digest asn1.ObjectIdentifier) (crypto.Hash, error) {
	for _, h := range hashes {
		if h.digest.Equal(digest) {
			return h.hash, nil
		}
	}
	return 0, fmt.Errorf("%w: digest %v", ErrAlgorithm, digest)
}

// fits reports whether a signature algorithm is one of key. RSA signatures name their hash themselves, and there are
// senders whose algorithm names another one; an ECDSA signature does not, so the algorithm must not contradict.
func fits(algorithm asn1.ObjectIdentifier, key crypto.PublicKey, hash crypto.Hash) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		if algorithm.Equal(oidRSA) {
			return true
		}
		for _, h := range hashes {
			if algorithm.Equal(h.rsa) {
				return true
			}
		}
	case *ecdsa.PublicKey:
		if algorithm.Equal(oidECPublicKey) {
			return true
		}
		for _, h := range hashes {
			if algorithm.Equal(h.ecdsa) {
				return h.hash == hash
			}
		}
	}
	return false
}

// signatureAlgorithm returns what Sign writes for a key and a hash: the AlgorithmIdentifiers of digest and signature.
func signatureAlgorithm(key crypto.PublicKey, hash crypto.Hash) (digest, signature []byte, err error) {
	for _, h := range hashes {
		if h.hash != hash {
			continue
		}
		switch key.(type) {
		case *rsa.PublicKey:
			return algorithm(h.digest, null()), algorithm(oidRSA, null()), nil
		case *ecdsa.PublicKey:
			return algorithm(h.digest, null()), algorithm(h.ecdsa), nil
		}
		return nil, nil, fmt.Errorf("%w: cannot sign with a %T", ErrAlgorithm, key)
	}
	return nil, nil, fmt.Errorf("%w: cannot sign with %v", ErrAlgorithm, hash)
}

// readAlgorithm reads an AlgorithmIdentifier; parameters is what follows its name.
func readAlgorithm(in *cryptobyte.String, id *asn1.ObjectIdentifier, parameters *cryptobyte.String) bool {
	return in.ReadASN1(parameters, casn1.SEQUENCE) && parameters.ReadASN1ObjectIdentifier(id)
}
