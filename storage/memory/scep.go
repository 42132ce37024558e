package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
)

// challenge is a challenge and what became of it.
type challenge struct {
	scep.Challenge
	answer []byte            // DER, nil until it is answered
	key    [sha256.Size]byte // of the answer
	spent  bool              // by key
}

// AddChallenge implements [scep.Store]. The error is a Malformed one if the challenge is there already.
func (db *DB) AddChallenge(ctx context.Context, c scep.Challenge) error {
	return db.tx(ctx, func() error {
		if db.challenges[c.Hash] != nil {
			return mdm.Errorf(mdm.Malformed, "memory.AddChallenge", "the challenge exists")
		}
		db.challenges[c.Hash] = &challenge{Challenge: c}
		return nil
	})
}

// Redeem implements [scep.Store].
func (db *DB) Redeem(ctx context.Context, hash, key [sha256.Size]byte, now time.Time) (out scep.Challenge, der []byte, err error) {
	err = db.tx(ctx, func() error {
		c := db.challenges[hash]
		switch {
		case c == nil:
			return mdm.Errorf(mdm.Forbidden, "memory.Redeem", "no such challenge")
		case c.answer != nil && c.key == key:
			der = bytes.Clone(c.answer)
		case c.spent || db.used(c):
			return mdm.Errorf(mdm.Forbidden, "memory.Redeem", "the challenge is spent")
		case now.After(c.ExpiresAt):
			return mdm.Errorf(mdm.Forbidden, "memory.Redeem", "the challenge has expired")
		}
		out = c.Challenge
		return nil
	})
	return out, der, err
}

// used reports whether the certificate that a challenge was answered with is more than just issued, which shows that it
// arrived.
func (db *DB) used(c *challenge) bool {
	former := db.answered(c)
	return former != nil && former.Status != mdm.CertificateIssued
}

// answered returns the record of the certificate that a challenge was answered with, nil if there is none.
func (db *DB) answered(c *challenge) *mdm.Certificate {
	if c.answer == nil {
		return nil
	}
	return db.certificates[certificateKey{c.Tenant, sha256.Sum256(c.answer)}]
}

// Record implements [scep.Store].
func (db *DB) Record(ctx context.Context, i scep.Issue) error {
	return db.tx(ctx, func() error {
		if i.Challenge != [sha256.Size]byte{} {
			if err := db.answer(i); err != nil {
				return err
			}
		}
		cert := i.Certificate
		db.writeCertificates([]mdm.Certificate{cert})
		db.record(mdm.Event{Type: mdm.EventCertificateIssued, At: i.At, Enrollment: owner(cert), Generation: cert.Generation,
			Fingerprint: cert.Fingerprint.String(), Reason: cert.Purpose.String()})
		return nil
	})
}

// answer notes i as the answer to its challenge and revokes the former one.
func (db *DB) answer(i scep.Issue) error {
	c := db.challenges[i.Challenge]
	switch {
	case c == nil:
		return mdm.Errorf(mdm.Forbidden, "memory.Record", "no such challenge")
	case c.spent && c.key != i.Key:
		return mdm.Errorf(mdm.Forbidden, "memory.Record", "the challenge is spent on another key")
	case db.used(c):
		return mdm.Errorf(mdm.Forbidden, "memory.Record", "the certificate of the challenge is in use")
	}
	if former := db.answered(c); former != nil {
		former.Status, former.RetiredAt = mdm.CertificateRevoked, i.At
	}
	c.answer, c.key = bytes.Clone(i.DER), i.Key
	return nil
}

// Spend implements [scep.Store]. The error is a Forbidden one if the challenge was not answered for this key, or is
// answered for another by now.
func (db *DB) Spend(ctx context.Context, hash, key [sha256.Size]byte) error {
	return db.tx(ctx, func() error {
		c := db.challenges[hash]
		if c == nil || c.answer == nil || c.key != key {
			return mdm.Errorf(mdm.Forbidden, "memory.Spend", "the challenge was not answered for this key")
		}
		c.spent = true
		return nil
	})
}

// Certificate implements [scep.Store].
func (db *DB) Certificate(ctx context.Context, tenant string, fp mdm.Fingerprint) (out mdm.Certificate, err error) {
	err = db.tx(ctx, func() error {
		c := db.certificates[certificateKey{tenant, fp}]
		if c == nil {
			return mdm.Errorf(mdm.NotFound, "memory.Certificate", "no such certificate")
		}
		out = *c
		return nil
	})
	return out, err
}
