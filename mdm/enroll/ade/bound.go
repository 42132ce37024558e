package ade

import (
	"context"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/scep"
)

// For says for whom the enrollment profile of a session is made, for an [enroll.Recipe]: its identity is issued for the UDID
// and the serial number that the device told, and no other device can enroll with it.
func For(s enroll.Session) enroll.For {
	return enroll.For{Tenant: s.Tenant, Device: s.Device["UDID"], DeviceSerial: s.Device["SERIAL"], User: s.User}
}

// Matches checks that a device that enrolls is the one of a session: it must say the UDID and the serial number that the session
// knows. The error is Forbidden.
func Matches(s enroll.Session, r *checkin.Request, m *checkin.Authenticate) error {
	return same(r, m, s.Tenant, s.Device["UDID"], s.Device["SERIAL"])
}

func same(r *checkin.Request, m *checkin.Authenticate, tenant, udid, serial string) error {
	why := ""
	switch {
	case r.ID.Tenant != tenant:
		why = "another tenant"
	case udid != "" && udid != r.ID.Device:
		why = "another UDID than in Setup Assistant"
	case serial != "" && serial != m.Device.SerialNumber:
		why = "another serial number than in Setup Assistant, or none"
	default:
		return nil
	}
	e := mdm.Errorf(mdm.Forbidden, "ade.Matches", "%s", why)
	e.Enrollment = r.ID
	return e
}

// Guard puts a check around a check-in service, as server.Config.Wrap: a device enrolls only with an identity that was made for
// it by [For]. The check-in service refuses an identity that was made for another one; Guard refuses one that was made for
// nobody, or for a serial number that the device does not tell, or that is not in the ledger. So it is for servers where all
// devices come this way. Renewals, and identities that are in use, are left alone.
func Guard(ledger scep.Store, next checkin.Handler) checkin.Handler {
	return checkin.HandlerFunc(func(ctx context.Context, r *checkin.Request) (*checkin.Reply, error) {
		m, ok := r.Message.(*checkin.Authenticate)
		if !ok {
			return next.Checkin(ctx, r)
		}
		record, err := ledger.Certificate(ctx, r.ID.Tenant, r.Fingerprint)
		switch {
		case err != nil && mdm.CodeOf(err) == mdm.NotFound:
			err = mdm.Errorf(mdm.Forbidden, "ade.Guard", "the certificate is not in the ledger")
		case err != nil:
			err = ours(err)
		case record.Status != mdm.CertificateIssued || record.Purpose == mdm.PurposeRenew:
		case record.Device == "" && record.DeviceSerial == "":
			err = mdm.Errorf(mdm.Forbidden, "ade.Guard", "the certificate was made for no device")
		default:
			err = same(r, m, record.Tenant, record.Device, record.DeviceSerial)
		}
		if err != nil {
			return nil, err
		}
		return next.Checkin(ctx, r)
	})
}
