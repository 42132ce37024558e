package command

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// The form of a password hash of macOS (Apple's schema: passwordHash). Apple leaves the iterations to the caller, with 100
// milliseconds of work as the least; this is about that on a Mac of today.
const (
	passwordSalt       = 32  // bytes
	passwordEntropy    = 128 // bytes
	passwordIterations = 100_000
)

// HashPassword returns what the keys passwordHash of [AccountConfiguration] and [SetAutoAdminPassword] hold: a property list
// with a new salt and the PBKDF2 of the password with HMAC-SHA-512. It takes about a tenth of a second. An empty password is
// Malformed: it would make an account that anybody can use.
func HashPassword(password mdm.Secret) (mdm.Secret, error) {
	const op = "command.HashPassword"
	if password.IsZero() {
		return mdm.Secret{}, mdm.Errorf(mdm.Malformed, op, "the password is empty")
	}
	salt := make([]byte, passwordSalt)
	_, _ = rand.Read(salt) // never fails
	entropy, err := pbkdf2.Key(sha512.New, string(password.Reveal()), salt, passwordIterations, passwordEntropy)
	if err != nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	plist, err := schema.EncodePlist(PasswordHash{SALTEDSHA512PBKDF2: PasswordHashSALTEDSHA512PBKDF2{
		Entropy: entropy, Iterations: passwordIterations, Salt: salt,
	}})
	if err != nil {
		return mdm.Secret{}, err
	}
	return mdm.NewSecret(plist), nil
}
