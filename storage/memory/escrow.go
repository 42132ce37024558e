package memory

import (
	"context"

	"github.com/gomdm/applemdm/mdm"
)

// Subjects of secrets, as events name them.
const (
	unlockToken    = "UnlockToken"
	bootstrapToken = "BootstrapToken"
)

type (
	secretKey struct {
		enrollment mdm.EnrollmentID
		subject    string
	}

	secret struct {
		mdm.Secret
		generation mdm.Generation
	}

	// archived is a secret that was replaced, deleted, or left behind by a new generation. Nothing gives it out.
	archived struct {
		secretKey
		secret
	}
)

// replaceSecret stores a secret and archives the former one. A zero one is no secret.
func (db *DB) replaceSecret(id mdm.EnrollmentID, subject string, next mdm.Secret) {
	key := secretKey{id, subject}
	if former, found := db.secrets[key]; found && !former.Equal(next) {
		db.archive = append(db.archive, archived{key, former})
	}
	delete(db.secrets, key)
	if e := db.rows[id]; e != nil && !next.IsZero() {
		db.secrets[key] = secret{next, e.Generation}
	}
}

// UnlockToken implements [checkin.Escrow].
func (db *DB) UnlockToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, secretKey{id, unlockToken}, why)
}

// BootstrapToken implements [checkin.Escrow].
func (db *DB) BootstrapToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, secretKey{id, bootstrapToken}, why)
}

func (db *DB) readSecret(ctx context.Context, key secretKey, why string) (out mdm.Secret, err error) {
	err = db.tx(ctx, func() error {
		s, found := db.secrets[key]
		e := db.rows[key.enrollment]
		if !found || e == nil || s.generation != e.Generation {
			return nil
		}
		db.record(mdm.Event{Type: mdm.EventSecretRead, At: db.now(), Enrollment: e.ID, Generation: e.Generation, Subject: key.subject, Reason: why})
		out = s.Secret
		return nil
	})
	return out, err
}
