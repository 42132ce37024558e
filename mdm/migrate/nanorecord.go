package migrate

import (
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

var (
	errStopped = errors.New("stopped")
	errHex     = errors.New("the push token is not hexadecimal")
)

// nanoDevice is a row of devices with what belongs to it. NULL columns are empty.
type nanoDevice struct {
	id                              string
	identity                        []byte // PEM; of the last Authenticate
	unlockToken, bootstrapToken     []byte // as it came; base64
	authenticate, tokenUpdate       []byte // the last messages, property lists
	authenticatedAt, tokenUpdatedAt sql.NullInt64
	push                            nanoPush
	associations                    []association // newest first
}

// record reads the row. It fails for none; what is wrong is in the record.
func (d *nanoDevice) record() Record {
	r := Record{Position: d.id}
	pending := !d.push.enabled.Bool
	switch {
	case len(d.tokenUpdate) == 0 || !d.push.enabled.Valid:
		r.NotEnrolled = "no TokenUpdate ever came"
	case pending && d.authenticatedAt.Int64 < d.tokenUpdatedAt.Int64:
		r.NotEnrolled = "checked out"
	default:
		r.Err = d.fill(&r)
	}
	if r.Err != nil || r.NotEnrolled != "" {
		return r
	}
	r.Enrollment.State = mdm.Enrolled
	if pending {
		r.Enrollment.State, r.Enrollment.EnrolledAt = mdm.Pending, time.Time{}
	}
	d.secrets(&r)
	d.certificates(&r, pending)
	return r
}

func (d *nanoDevice) fill(r *Record) error {
	first, err := decode[*checkin.Authenticate](d.authenticate)
	if err != nil {
		return err
	}
	update, err := decode[*checkin.TokenUpdate](d.tokenUpdate)
	if err != nil {
		return err
	}
	id, channel, err := first.Identifiers.Resolve("")
	if err != nil {
		return err
	}
	other, _, err := update.Identifiers.Resolve("")
	switch {
	case err != nil:
		return err
	case id != other || channel.IsUser():
		return errors.New("the stored messages are not of one device channel")
	}
	r.Enrollment = mdm.Enrollment{
		ID: id, Channel: channel, Device: first.Device,
		AwaitingConfiguration: update.AwaitingConfiguration != nil && *update.AwaitingConfiguration,
		AuthenticatedAt:       fromMicros(d.authenticatedAt), EnrolledAt: fromMicros(d.authenticatedAt), // the first TokenUpdate is not on record
		TokenUpdatedAt: fromMicros(d.tokenUpdatedAt),
	}
	return d.push.fill(&r.Enrollment)
}

func (d *nanoDevice) secrets(r *Record) {
	if len(d.unlockToken) > maxSecret {
		r.Problems = append(r.Problems, errors.New("the UnlockToken is too long"))
	} else {
		r.UnlockToken = mdm.NewSecret(d.unlockToken)
	}
	token := make([]byte, base64.StdEncoding.DecodedLen(len(d.bootstrapToken)))
	switch n, err := base64.StdEncoding.Decode(token, d.bootstrapToken); {
	case err != nil:
		r.Problems = append(r.Problems, errors.New("the bootstrap token is not base64"))
	case n > maxSecret:
		r.Problems = append(r.Problems, errors.New("the bootstrap token is too long"))
	default:
		r.BootstrapToken = mdm.NewSecret(token[:n])
	}
}

// certificates adds those of the device, the one in use first. While a new enrollment is under way, that is the second, and
// the newest is the pending one.
func (d *nanoDevice) certificates(r *Record, pending bool) {
	last, known := d.lastIdentity()
	certs := d.associated(r)
	if known {
		certs = foremost(certs, last)
	}
	if pending && len(certs) > 1 {
		certs[0], certs[1] = certs[1], certs[0]
	}
	for i := range certs {
		c := &certs[i]
		switch {
		case i == 0:
			c.Status = mdm.CertificateActive
		case i == 1 && pending:
			c.Status = mdm.CertificatePending
		default:
			c.Status, c.RetiredAt = mdm.CertificateRetired, certs[0].BoundAt
		}
	}
	r.Certificates = certs
}

// associated returns a record for each association that can be read.
func (d *nanoDevice) associated(r *Record) (certs []mdm.Certificate) {
	for _, a := range d.associations {
		fp, err := mdm.ParseFingerprint(a.sha256)
		if err != nil {
			r.Problems = append(r.Problems, fmt.Errorf("an associated certificate: %w", err))
			continue
		}
		certs = append(certs, mdm.Certificate{Fingerprint: fp, BoundAt: fromMicros(a.at)})
	}
	return certs
}

// lastIdentity returns the certificate of the last Authenticate. What cannot be read is as good as none: an association has
// the fingerprint, too.
func (d *nanoDevice) lastIdentity() (mdm.Certificate, bool) {
	block, _ := pem.Decode(d.identity)
	if block == nil {
		return mdm.Certificate{}, false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return mdm.Certificate{}, false
	}
	c := mdm.NewCertificate("", cert)
	c.BoundAt = fromMicros(d.authenticatedAt)
	return c, true
}

// foremost puts first at the beginning of certs, where it is one of them. Where there are none, nobody checked associations,
// and the certificate of the last Authenticate is the best that is known.
func foremost(certs []mdm.Certificate, first mdm.Certificate) []mdm.Certificate {
	if len(certs) == 0 {
		return []mdm.Certificate{first}
	}
	for i, c := range certs {
		if c.Fingerprint == first.Fingerprint {
			first.BoundAt = c.BoundAt
			copy(certs[1:i+1], certs[:i])
			certs[0] = first
			break
		}
	}
	return certs
}

// nanoUser is a row of users with its enrollment.
type nanoUser struct {
	id, device          string
	shortName, longName sql.NullString
	tokenUpdate         []byte
	tokenUpdatedAt      sql.NullInt64
	push                nanoPush
}

// record reads the row. A disabled one is not enrolled: it was disabled with its device, and a user sends a TokenUpdate at
// the next login, which enrolls him again.
func (u *nanoUser) record() Record {
	r := Record{Position: u.id}
	r.Enrollment.ID = mdm.EnrollmentID{Device: u.device, User: u.id} // of what cannot be read, too: it is a user's
	if len(u.tokenUpdate) == 0 || !u.push.enabled.Bool {
		r.NotEnrolled = "the user is not enrolled"
		return r
	}
	r.Err = u.fill(&r)
	return r
}

func (u *nanoUser) fill(r *Record) error {
	update, err := decode[*checkin.TokenUpdate](u.tokenUpdate)
	if err != nil {
		return err
	}
	id, channel, err := update.Identifiers.Resolve("")
	switch {
	case err != nil:
		return err
	case !channel.IsUser():
		return errors.New("the TokenUpdate of the user is of a device channel")
	}
	at := fromMicros(u.tokenUpdatedAt)
	r.Enrollment = mdm.Enrollment{
		ID: id, Channel: channel, State: mdm.Enrolled, UserShortName: update.UserShortName, UserLongName: update.UserLongName,
		AwaitingConfiguration: update.AwaitingConfiguration != nil && *update.AwaitingConfiguration,
		EnrolledAt:            at, TokenUpdatedAt: at,
	}
	return u.push.fill(&r.Enrollment)
}

// decode reads a stored message of one type.
func decode[M checkin.Message](body []byte) (m M, err error) {
	if len(body) > maxMessage {
		return m, errors.New("a stored message is too long")
	}
	message, err := checkin.Decode(body)
	if err != nil {
		return m, err
	}
	m, ok := message.(M)
	if !ok {
		return m, fmt.Errorf("a stored message is not one of the type %s", m.MessageType())
	}
	return m, nil
}

// fromHex is hex.DecodeString without the text in its error.
func fromHex(s string) ([]byte, error) {
	if len(s) > 2*maxSecret {
		return nil, errHex
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, errHex
	}
	return b, nil
}

func fromMicros(n sql.NullInt64) time.Time {
	if !n.Valid || n.Int64 == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}

// loadPushCertificate reads a push certificate. One that has expired is taken over all the same: its topic and its serial
// number are what a renewal needs.
func loadPushCertificate(cert, key []byte) (push.Certificate, error) {
	c, err := push.LoadCertificate(cert, key)
	if errors.Is(err, push.ErrExpired) {
		return c, nil
	}
	return c, err
}
