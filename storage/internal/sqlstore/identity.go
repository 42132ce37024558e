package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
)

// Resolve implements identity.Resolver.
func (db *DB) Resolve(ctx context.Context, tenant string, fp mdm.Fingerprint) (mdm.EnrollmentID, error) {
	id := mdm.EnrollmentID{Tenant: tenant}
	found, err := one(ctx, snapshot{db}, `SELECT c.device FROM mdm_certificates c JOIN mdm_enrollments e ON e.tenant = c.tenant AND e.device = c.device AND e.usr = ''
		WHERE c.tenant = ? AND c.fingerprint = ? AND c.status IN (?, ?) AND e.state <> ?
		AND NOT EXISTS (SELECT 1 FROM mdm_denials WHERE tenant = ? AND device = c.device AND fingerprint = {empty})
		AND NOT EXISTS (SELECT 1 FROM mdm_denials WHERE tenant = ? AND device = '' AND fingerprint = ?)`,
		[]any{tenant, fp[:], mdm.CertificateActive, mdm.CertificatePending, mdm.Ended, tenant, tenant, fp[:]}, &id.Device)
	if err != nil {
		return mdm.EnrollmentID{}, err
	}
	if !found {
		return mdm.EnrollmentID{}, mdm.Errorf(mdm.NotFound, db.op("Resolve"), "no device has this certificate")
	}
	return id, nil
}

// denialKey returns the columns of a denial.
func (db *DB) denialKey(d identity.Denial) (string, []byte, error) {
	if (d.Device == "") == d.Fingerprint.IsZero() {
		return "", nil, mdm.Errorf(mdm.Malformed, db.op("Deny"), "a denial names a device or a certificate")
	}
	if d.Device != "" {
		return d.Device, []byte{}, nil
	}
	return "", d.Fingerprint[:], nil
}

// Deny implements identity.DenyList.
func (db *DB) Deny(ctx context.Context, d identity.Denial) error {
	device, fp, err := db.denialKey(d)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, `INSERT INTO mdm_denials (tenant, device, fingerprint, reason) VALUES (?, ?, ?, ?)
			{upsert tenant, device, fingerprint: reason = {new reason}}`, d.Tenant, device, fp, d.Reason)
		return err
	})
}

// Allow implements identity.DenyList.
func (db *DB) Allow(ctx context.Context, d identity.Denial) error {
	device, fp, err := db.denialKey(d)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, `DELETE FROM mdm_denials WHERE tenant = ? AND device = ? AND fingerprint = ?`, d.Tenant, device, fp)
		return err
	})
}

// Denials implements identity.DenyList.
func (db *DB) Denials(ctx context.Context, tenant string) ([]identity.Denial, error) {
	var out []identity.Denial
	err := snapshot{db}.query(ctx, `SELECT device, fingerprint, reason FROM mdm_denials WHERE tenant = ? ORDER BY CASE WHEN device = '' THEN 1 ELSE 0 END, device, fingerprint`,
		[]any{tenant}, func(scan func(...any) error) error {
			d := identity.Denial{Tenant: tenant}
			var fp []byte
			err := scan(&d.Device, &fp, &d.Reason)
			copy(d.Fingerprint[:], fp)
			out = append(out, d)
			return err
		})
	return out, err
}

// AddChallenge implements scep.Store.
func (db *DB) AddChallenge(ctx context.Context, c scep.Challenge) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, `INSERT INTO mdm_challenges (hash, tenant, purpose, device, device_serial, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
			c.Hash[:], c.Tenant, c.Purpose, c.Device, c.DeviceSerial, micros(c.ExpiresAt))
		return err
	})
}

// answered is a challenge and what became of it.
type answered struct {
	scep.Challenge
	key, certificate, spent []byte
}

// challenge loads a challenge. In a transaction lock keeps others from it.
func challenge(ctx context.Context, r reader, hash [sha256.Size]byte, lock string) (*answered, error) {
	c := answered{Challenge: scep.Challenge{Hash: hash}}
	var expires, purpose int64
	found, err := one(ctx, r, `SELECT tenant, purpose, device, device_serial, expires_at, answered_key, certificate, spent FROM mdm_challenges WHERE hash = ? `+lock,
		[]any{hash[:]}, &c.Tenant, &purpose, &c.Device, &c.DeviceSerial, &expires, &c.key, &c.certificate, &c.spent)
	c.ExpiresAt, c.Purpose = fromMicros(expires), mdm.Purpose(purpose)
	if err != nil || !found {
		return nil, err
	}
	return &c, nil
}

// Redeem implements scep.Store.
func (db *DB) Redeem(ctx context.Context, hash, key [sha256.Size]byte, now time.Time) (scep.Challenge, []byte, error) {
	c, err := challenge(ctx, snapshot{db}, hash, "")
	switch {
	case err != nil:
		return scep.Challenge{}, nil, err
	case c == nil:
		err = mdm.Errorf(mdm.Forbidden, db.op("Redeem"), "no such challenge")
	case c.certificate != nil && bytes.Equal(c.key, key[:]):
		return c.Challenge, c.certificate, nil
	case c.spent != nil:
		err = mdm.Errorf(mdm.Forbidden, db.op("Redeem"), "the challenge is spent")
	case now.After(c.ExpiresAt):
		err = mdm.Errorf(mdm.Forbidden, db.op("Redeem"), "the challenge has expired")
	default:
		return c.Challenge, nil, nil
	}
	return scep.Challenge{}, nil, err
}

// Record implements scep.Store.
func (db *DB) Record(ctx context.Context, i scep.Issue) error {
	return db.update(ctx, func(t *tx) error {
		if i.Challenge != [sha256.Size]byte{} {
			if err := t.answer(ctx, i); err != nil {
				return err
			}
		}
		v := &turn{}
		t.writeCertificates(v, []mdm.Certificate{i.Certificate})
		return t.record(v, mdm.Event{Type: mdm.EventCertificateIssued, At: i.At,
			Enrollment:  mdm.EnrollmentID{Tenant: i.Certificate.Tenant, Device: i.Certificate.Device},
			Fingerprint: i.Certificate.Fingerprint.String(), Reason: i.Certificate.Purpose.String()})
	})
}

// answer notes a certificate as the answer to its challenge, and revokes an earlier one that nobody has used.
func (t *tx) answer(ctx context.Context, i scep.Issue) error {
	c, err := challenge(ctx, t, i.Challenge, "{lock}")
	if err != nil {
		return err
	}
	if c == nil || c.spent != nil && !bytes.Equal(c.spent, i.Key[:]) {
		return mdm.Errorf(mdm.Forbidden, t.db.op("Record"), "the challenge is spent")
	}
	if c.certificate != nil {
		former := sha256.Sum256(c.certificate)
		var number int64
		found, err := one(ctx, t, `SELECT status FROM mdm_certificates WHERE tenant = ? AND fingerprint = ?`, []any{c.Tenant, former[:]}, &number)
		status := mdm.CertificateStatus(number)
		if err != nil {
			return err
		}
		if found && status != mdm.CertificateIssued && !bytes.Equal(c.key, i.Key[:]) {
			return mdm.Errorf(mdm.Forbidden, t.db.op("Record"), "the challenge was used: its certificate is %s", status)
		}
		_, err = t.change(ctx, `UPDATE mdm_certificates SET status = ?, retired_at = ? WHERE tenant = ? AND fingerprint = ? AND status = ?`,
			mdm.CertificateRevoked, micros(i.At), c.Tenant, former[:], mdm.CertificateIssued)
		if err != nil {
			return err
		}
	}
	_, err = t.change(ctx, `UPDATE mdm_challenges SET answered_key = ?, certificate = ? WHERE hash = ?`, i.Key[:], i.DER, i.Challenge[:])
	return err
}

// Spend implements scep.Store.
func (db *DB) Spend(ctx context.Context, hash, key [sha256.Size]byte) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, `UPDATE mdm_challenges SET spent = ? WHERE hash = ? AND spent IS NULL`, key[:], hash[:])
		return err
	})
}

var (
	selectCertificates = strings.Replace(part(partPresented, certificateInts, certificateTexts, "fingerprint", "FROM mdm_certificates "), "{i}", "0", 1)
	selectCertificate  = selectCertificates + "WHERE tenant = ? AND fingerprint = ?"
)

// Certificates implements identity.Inventory.
func (db *DB) Certificates(ctx context.Context, id mdm.EnrollmentID) (out []mdm.Certificate, err error) {
	err = snapshot{db}.query(ctx, selectCertificates+"WHERE device = ? AND tenant = ? ORDER BY fingerprint", []any{id.Device, id.Tenant}, func(scan func(...any) error) error {
		var f fact
		err := f.scan(scan)
		out = append(out, *f.certificate())
		return err
	})
	return out, err
}

// Certificate implements scep.Store.
func (db *DB) Certificate(ctx context.Context, tenant string, fp mdm.Fingerprint) (mdm.Certificate, error) {
	var c *mdm.Certificate
	err := snapshot{db}.query(ctx, selectCertificate, []any{tenant, fp[:]}, func(scan func(...any) error) error {
		var f fact
		err := f.scan(scan)
		c = f.certificate()
		return err
	})
	if err != nil {
		return mdm.Certificate{}, err
	}
	if c == nil {
		return mdm.Certificate{}, mdm.Errorf(mdm.NotFound, db.op("Certificate"), "no such certificate")
	}
	return *c, nil
}

// PutSecret implements storage.Vault.
func (db *DB) PutSecret(ctx context.Context, name string, s mdm.Secret) error {
	return db.update(ctx, func(t *tx) error {
		if s.IsZero() {
			_, err := t.change(ctx, `DELETE FROM mdm_vault WHERE name = ?`, name)
			return err
		}
		sealed, err := db.cfg.Sealer.Seal(s.Reveal(), vaultName(name))
		if err != nil {
			return err
		}
		_, err = t.change(ctx, `INSERT INTO mdm_vault (name, sealed) VALUES (?, ?) {upsert name: sealed = {new sealed}}`, name, sealed)
		return err
	})
}

// Secret implements storage.Vault.
func (db *DB) Secret(ctx context.Context, name string) (mdm.Secret, error) {
	return db.vaulted(ctx, snapshot{db}, name)
}

func (db *DB) vaulted(ctx context.Context, r reader, name string) (mdm.Secret, error) {
	var sealed []byte
	found, err := one(ctx, r, `SELECT sealed FROM mdm_vault WHERE name = ?`, []any{name}, &sealed)
	if err != nil || !found {
		return mdm.Secret{}, err
	}
	plain, err := db.cfg.Sealer.Open(sealed, vaultName(name))
	return mdm.NewSecret(plain), err
}

// CreateSecret implements storage.Vault.
func (db *DB) CreateSecret(ctx context.Context, name string, s mdm.Secret) (stored mdm.Secret, err error) {
	err = db.update(ctx, func(t *tx) error {
		if !s.IsZero() {
			sealed, err := db.cfg.Sealer.Seal(s.Reveal(), vaultName(name))
			if err != nil {
				return err
			}
			if _, err := t.change(ctx, `INSERT INTO mdm_vault (name, sealed) VALUES (?, ?) {keep name}`, name, sealed); err != nil {
				return err
			}
		}
		stored, err = db.vaulted(ctx, t, name)
		return err
	})
	return stored, err
}
