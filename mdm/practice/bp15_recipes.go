package practice

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// cookRotation makes the commands of a rotation when the device asks for them, out of what is kept.
func (g *Guard) cookRotation(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	_, s, err := guardRunOf[guardRotation](ctx, g, id, GuardRotateSecret, args["run"])
	if err != nil {
		return nil, err
	}
	shelf, err := g.shelf(ctx, id, s.Secret)
	if err != nil {
		return nil, err
	}
	before, err := shelf.value(ctx, s.Before)
	if err != nil {
		return nil, err
	}
	if s.Secret == GuardFileVaultKey {
		return g.cookFileVault(ctx, id, before)
	}
	candidate, err := shelf.value(ctx, s.Slot)
	if err == nil && candidate.IsZero() {
		err = errors.New("practice: the new secret is not in the vault")
	}
	if err != nil {
		return nil, err
	}
	switch {
	case args["do"] == "verify":
		return command.VerifyRecoveryLock{Password: candidate}, nil
	case s.Secret == GuardRecoveryLock:
		return command.SetRecoveryLock{CurrentPassword: before, NewPassword: candidate}, nil
	case s.Secret == GuardFirmwarePassword:
		return command.SetFirmwarePassword{CurrentPassword: before, NewPassword: candidate}, nil
	}
	hash, err := command.HashPassword(candidate)
	return command.SetAutoAdminPassword{GUID: s.GUID, PasswordHash: hash}, err
}

func (g *Guard) cookFileVault(ctx context.Context, id mdm.EnrollmentID, unlock mdm.Secret) (command.Command, error) {
	if unlock.IsZero() && g.FileVaultPassword != nil {
		var err error
		if unlock, err = g.FileVaultPassword(ctx, id); err != nil {
			return nil, err
		}
	}
	switch {
	case unlock.IsZero():
		return nil, errors.New("practice: there is nothing to unlock the disk with")
	case len(g.FileVault) == 0 || len(g.FileVault[0].Certificate) == 0:
		return nil, errors.New("practice: Guard.FileVault has no certificate")
	}
	return command.RotateFileVaultKey{KeyType: command.RotateFileVaultKeyKeyTypePersonal,
		FileVaultUnlock:            command.RotateFileVaultKeyFileVaultUnlock{Password: unlock},
		ReplyEncryptionCertificate: g.FileVault[0].Certificate[0]}, nil
}

// rotateFileVault takes the recovery key that a Mac made, if it can be read. If not, what came is kept for whoever can, and the
// former key stays.
func (g *Guard) rotateFileVault(ctx context.Context, t *workflow.Turn, s *guardRotation, raw []byte) (workflow.Next, error) {
	var answer command.RotateFileVaultKeyResponse
	_ = command.DecodeResult(raw, &answer) // what does not fit is no key
	if answer.RotateResult == nil || len(answer.RotateResult.EncryptedNewRecoveryKey) == 0 {
		return g.rotateEnd(ctx, t, s, workflow.GiveUp, "no key came back; the former one is kept")
	}
	sealed := answer.RotateResult.EncryptedNewRecoveryKey
	shelf, err := g.shelf(ctx, t.Run.Enrollment, s.Secret)
	if err != nil {
		return workflow.Next{}, err
	}
	key, err := g.openFileVault(sealed)
	if err != nil {
		if len(sealed) <= guardMaxValue {
			if _, err := shelf.add(ctx, guardRecord{Kind: guardReply, Run: t.Run.ID, Value: sealed}); err != nil {
				return workflow.Next{}, err
			}
		}
		return g.rotateEnd(ctx, t, s, workflow.GiveUp, "the key that came back cannot be read; the former one is kept")
	}
	if s.Slot, err = shelf.add(ctx, guardRecord{Kind: guardCandidate, Run: t.Run.ID, Value: key.Reveal()}); err != nil {
		return workflow.Next{}, err
	}
	if err := g.accept(ctx, t, s); err != nil {
		return workflow.Next{}, err
	}
	return g.rotateEnd(ctx, t, s, workflow.Finish, "the Mac has a new recovery key, and it is kept")
}

// KeepFileVaultKey is Keep for a recovery key as Macs send it: the CMS of SecurityInfo (FDE_PersonalRecoveryKeyCMS) or of the
// profile that escrows it, encrypted to one of Guard.FileVault. What does not decrypt to a recovery key is Malformed, and nothing
// is changed.
func (g *Guard) KeepFileVaultKey(ctx context.Context, id mdm.EnrollmentID, sealed []byte, actor, reason string) error {
	key, err := g.openFileVault(sealed)
	if err != nil {
		return mdm.Errorf(mdm.Malformed, "practice.KeepFileVaultKey", "%w", err)
	}
	return g.Keep(ctx, KeepRequest{Secret: GuardFileVaultKey, Enrollment: id, Value: key, Actor: actor, Reason: reason})
}

var errNoRecoveryKey = errors.New("practice: it is no recovery key")

// openFileVault decrypts a recovery key.
func (g *Guard) openFileVault(sealed []byte) (mdm.Secret, error) {
	err := errNoRecoveryKey
	for _, c := range g.FileVault {
		leaf := c.Leaf
		if leaf == nil && len(c.Certificate) > 0 {
			leaf, _ = x509.ParseCertificate(c.Certificate[0])
		}
		if leaf == nil {
			continue
		}
		plain, failed := cms.Decrypt(sealed, leaf, c.PrivateKey, cms.Limits{Bytes: guardMaxValue})
		if failed != nil {
			err = fmt.Errorf("practice: the recovery key does not decrypt: %w", failed)
			continue
		}
		if plain = bytes.Trim(plain, "\x00\r\n "); guardIsRecoveryKey(plain) { // nothing else tells that it was the right key
			return mdm.NewSecret(plain), nil
		}
	}
	return mdm.Secret{}, err
}

// guardIsRecoveryKey reports whether b has the form of a personal recovery key: six groups of four letters and digits.
func guardIsRecoveryKey(b []byte) bool {
	if len(b) != 6*4+5 {
		return false
	}
	for i, c := range b {
		if i%5 == 4 {
			if c != '-' {
				return false
			}
		} else if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
