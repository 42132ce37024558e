package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrSealed is the error of Open for what no known key opens: it was sealed with another key, moved, or changed.
var ErrSealed = errors.New("storage: cannot open what is sealed")

// KeySize is the size of the keys of [NewAESGCM], in bytes.
const KeySize = 32

// keyID is the length of the prefix that says which key sealed a value.
const keyID = 4

// NewAESGCM returns a [Sealer] that seals with AES-256-GCM under the first key and opens with any of them, so that keys
// can be rotated: put the new one first, seal anew what there is, then drop the old one.
func NewAESGCM(keys ...[]byte) (Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("storage: no key to seal with")
	}
	s := &aesGCM{}
	for _, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("storage: a key of %d bytes, not %d", len(key), KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("storage: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("storage: %w", err)
		}
		id := sha256.Sum256(append([]byte("applemdm key id\x00"), key...))
		s.keys = append(s.keys, sealKey{id: string(id[:keyID]), aead: aead})
	}
	return s, nil
}

// GenerateKey returns a new random key for NewAESGCM.
func GenerateKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

type sealKey struct {
	id   string
	aead cipher.AEAD
}

type aesGCM struct{ keys []sealKey }

func (s *aesGCM) Seal(plain, associated []byte) ([]byte, error) {
	k := s.keys[0]
	out := append(make([]byte, 0, keyID+len(plain)+k.aead.Overhead()), k.id...)
	return k.aead.Seal(out, nil, plain, associated), nil
}

func (s *aesGCM) Open(sealed, associated []byte) ([]byte, error) {
	if len(sealed) < keyID {
		return nil, ErrSealed
	}
	for _, k := range s.keys {
		if k.id != string(sealed[:keyID]) {
			continue
		}
		if plain, err := k.aead.Open(nil, nil, sealed[keyID:], associated); err == nil {
			return plain, nil
		}
	}
	return nil, ErrSealed
}
