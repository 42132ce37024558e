package memory

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
)

// Resolve implements [identity.Resolver].
func (db *DB) Resolve(ctx context.Context, tenant string, fp mdm.Fingerprint) (id mdm.EnrollmentID, err error) {
	err = db.tx(ctx, func() error {
		c := db.certificates[certKey{tenant, fp}]
		if c == nil || c.Status != mdm.CertificateActive && c.Status != mdm.CertificatePending {
			return mdm.Errorf(mdm.NotFound, "memory.Resolve", "no device has this certificate")
		}
		id = mdm.EnrollmentID{Tenant: tenant, Device: c.Device}
		return nil
	})
	return id, err
}

func checkDenial(d identity.Denial) (denialKey, error) {
	if (d.Device == "") == d.Fingerprint.IsZero() {
		return denialKey{}, mdm.Errorf(mdm.Malformed, "memory.Deny", "a denial names a device or a certificate")
	}
	return denialKey{d.Tenant, d.Device, d.Fingerprint}, nil
}

// Deny implements [identity.DenyList].
func (db *DB) Deny(ctx context.Context, d identity.Denial) error {
	key, err := checkDenial(d)
	if err != nil {
		return err
	}
	return db.tx(ctx, func() error { db.denied[key] = d.Reason; return nil })
}

// Allow implements [identity.DenyList].
func (db *DB) Allow(ctx context.Context, d identity.Denial) error {
	key, err := checkDenial(d)
	if err != nil {
		return err
	}
	return db.tx(ctx, func() error { delete(db.denied, key); return nil })
}

// Denials implements [identity.DenyList].
func (db *DB) Denials(ctx context.Context, tenant string) (out []identity.Denial, err error) {
	err = db.tx(ctx, func() error {
		for key, reason := range db.denied {
			if key.tenant == tenant {
				out = append(out, identity.Denial{Tenant: tenant, Device: key.device, Fingerprint: key.fp, Reason: reason})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b identity.Denial) int {
		if (a.Device == "") != (b.Device == "") { // devices first
			if a.Device != "" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Device+a.Fingerprint.String(), b.Device+b.Fingerprint.String())
	})
	return out, err
}

// AddChallenge implements [scep.Store].
func (db *DB) AddChallenge(ctx context.Context, c scep.Challenge) error {
	return db.tx(ctx, func() error { db.challenges[c.Hash] = &challenge{Challenge: c}; return nil })
}

// Redeem implements [scep.Store].
func (db *DB) Redeem(ctx context.Context, hash, key [sha256.Size]byte, at time.Time) (out scep.Challenge, der []byte, err error) {
	err = db.tx(ctx, func() error {
		c := db.challenges[hash]
		switch {
		case c == nil:
			return mdm.Errorf(mdm.Forbidden, "memory.Redeem", "no such challenge")
		case c.der != nil && c.key == key:
			out, der = c.Challenge, c.der
			return nil
		case c.spent != [sha256.Size]byte{}:
			return mdm.Errorf(mdm.Forbidden, "memory.Redeem", "the challenge is spent")
		case at.After(c.ExpiresAt):
			return mdm.Errorf(mdm.Forbidden, "memory.Redeem", "the challenge has expired")
		}
		out = c.Challenge
		return nil
	})
	return out, der, err
}

// Record implements [scep.Store].
func (db *DB) Record(ctx context.Context, i scep.Issue) error {
	return db.tx(ctx, func() error {
		if c := db.challenges[i.Challenge]; c != nil {
			if c.spent != [sha256.Size]byte{} && c.spent != i.Key {
				return mdm.Errorf(mdm.Forbidden, "memory.Record", "the challenge is spent")
			}
			if c.der != nil {
				former := db.certificates[certKey{c.Tenant, sha256.Sum256(c.der)}]
				if former != nil && former.Status == mdm.CertificateIssued {
					former.Status = mdm.CertificateRevoked
				}
			}
			c.key, c.der = i.Key, i.DER
		}
		cert := i.Certificate
		db.certificates[certKey{cert.Tenant, cert.Fingerprint}] = &cert
		db.record(mdm.Event{Type: mdm.EventCertificateIssued, At: i.At, Enrollment: mdm.EnrollmentID{Tenant: cert.Tenant, Device: cert.Device},
			Fingerprint: cert.Fingerprint.String(), Reason: cert.Purpose.String()})
		return nil
	})
}

// Spend implements [scep.Store].
func (db *DB) Spend(ctx context.Context, hash, key [sha256.Size]byte) error {
	return db.tx(ctx, func() error {
		if c := db.challenges[hash]; c != nil && c.spent == [sha256.Size]byte{} {
			c.spent = key
		}
		return nil
	})
}

// Certificate implements [scep.Store].
func (db *DB) Certificate(ctx context.Context, tenant string, fp mdm.Fingerprint) (out mdm.Certificate, err error) {
	err = db.tx(ctx, func() error {
		c := db.certificates[certKey{tenant, fp}]
		if c == nil {
			return mdm.Errorf(mdm.NotFound, "memory.Certificate", "no such certificate")
		}
		out = *c
		return nil
	})
	return out, err
}
