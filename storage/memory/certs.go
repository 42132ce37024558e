package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

type (
	certificateKey struct {
		tenant      string
		fingerprint mdm.Fingerprint
	}

	// identities are the certificates that speak for a device, zero where there is none.
	identities struct{ active, pending mdm.Fingerprint }

	denialKey struct {
		tenant, device string
		fingerprint    mdm.Fingerprint
	}
)

// certificate returns a copy of a record, nil if there is none.
func (db *DB) certificate(key certificateKey) *mdm.Certificate {
	c := db.certificates[key]
	if c == nil {
		return nil
	}
	out := *c
	return &out
}

func (db *DB) writeCertificates(certs []mdm.Certificate) {
	for _, c := range certs {
		key := certificateKey{c.Tenant, c.Fingerprint}
		if former := db.certificates[key]; former != nil {
			db.unbind(*former)
		}
		db.certificates[key] = &c
		db.bind(c)
	}
}

func owner(c mdm.Certificate) mdm.EnrollmentID {
	return mdm.EnrollmentID{Tenant: c.Tenant, Device: c.Device}
}

func (db *DB) bind(c mdm.Certificate) {
	bound := db.identities[owner(c)]
	switch c.Status {
	case mdm.CertificateActive:
		bound.active = c.Fingerprint
	case mdm.CertificatePending:
		bound.pending = c.Fingerprint
	}
	db.identities[owner(c)] = bound
}

func (db *DB) unbind(c mdm.Certificate) {
	bound := db.identities[owner(c)]
	if bound.active == c.Fingerprint {
		bound.active = mdm.Fingerprint{}
	}
	if bound.pending == c.Fingerprint {
		bound.pending = mdm.Fingerprint{}
	}
	db.identities[owner(c)] = bound
}

// Resolve implements [identity.Resolver]. Of a device whose enrollment ended it returns a NotFound error, of one that is
// denied a Forbidden one.
func (db *DB) Resolve(ctx context.Context, tenant string, fp mdm.Fingerprint) (id mdm.EnrollmentID, err error) {
	err = db.tx(ctx, func() error {
		c := db.certificates[certificateKey{tenant, fp}]
		if c == nil || c.Status != mdm.CertificateActive && c.Status != mdm.CertificatePending {
			return mdm.Errorf(mdm.NotFound, "memory.Resolve", "no device has this certificate")
		}
		device := db.rows[owner(*c)]
		if device == nil || device.State == mdm.Ended {
			return mdm.Errorf(mdm.NotFound, "memory.Resolve", "the device of this certificate is not managed")
		}
		if why := db.denial(device.ID, fp); why != "" {
			return mdm.Errorf(mdm.Forbidden, "memory.Resolve", "denied: %s", why)
		}
		id = device.ID
		return nil
	})
	return id, err
}

// Certificates implements [identity.Inventory].
func (db *DB) Certificates(ctx context.Context, id mdm.EnrollmentID) (out []mdm.Certificate, err error) {
	err = db.tx(ctx, func() error {
		for _, c := range db.certificates {
			if owner(*c) == id.DeviceID() {
				out = append(out, *c)
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b mdm.Certificate) int { return bytes.Compare(a.Fingerprint[:], b.Fingerprint[:]) })
	return out, err
}

// denial returns why a device or a certificate is denied, "" if neither is.
func (db *DB) denial(device mdm.EnrollmentID, fp mdm.Fingerprint) string {
	for _, key := range []denialKey{{device.Tenant, device.Device, mdm.Fingerprint{}}, {device.Tenant, "", fp}} {
		if why, denied := db.denied[key]; denied {
			return cmp.Or(why, "on the deny list")
		}
	}
	return ""
}

func keyOf(d identity.Denial) (denialKey, error) {
	if (d.Device == "") == d.Fingerprint.IsZero() {
		return denialKey{}, mdm.Errorf(mdm.Malformed, "memory.Deny", "a denial names a device or a certificate")
	}
	return denialKey{d.Tenant, d.Device, d.Fingerprint}, nil
}

// Deny implements [identity.DenyList].
func (db *DB) Deny(ctx context.Context, d identity.Denial) error {
	key, err := keyOf(d)
	if err != nil {
		return err
	}
	return db.tx(ctx, func() error { db.denied[key] = d.Reason; return nil })
}

// Allow implements [identity.DenyList].
func (db *DB) Allow(ctx context.Context, d identity.Denial) error {
	key, err := keyOf(d)
	if err != nil {
		return err
	}
	return db.tx(ctx, func() error { delete(db.denied, key); return nil })
}

// Denials implements [identity.DenyList].
func (db *DB) Denials(ctx context.Context, tenant string) (out []identity.Denial, err error) {
	err = db.tx(ctx, func() error {
		for key, why := range db.denied {
			if key.tenant == tenant {
				out = append(out, identity.Denial{Tenant: tenant, Device: key.device, Fingerprint: key.fingerprint, Reason: why})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b identity.Denial) int { // devices first: they have no fingerprint
		return cmp.Or(bytes.Compare(a.Fingerprint[:], b.Fingerprint[:]), cmp.Compare(a.Device, b.Device))
	})
	return out, err
}
