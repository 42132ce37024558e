package checkin

import (
	"errors"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// claim is what the request says of itself.
func (r *Request) claim() identity.Claim {
	c := identity.Claim{ID: r.ID, Channel: r.Channel, Message: r.Message.MessageType(), AuthToken: r.AuthToken, At: r.At,
		Certificate: r.Certificate, Fingerprint: r.Fingerprint}
	if m, ok := r.Message.(*Authenticate); ok {
		c.SerialNumber = m.Device.SerialNumber
	}
	return c
}

// refused is an error that answers this request.
func (r *Request) refused(code mdm.Code, why string) error {
	return &mdm.Error{Code: code, Op: "checkin." + r.Message.MessageType(), Enrollment: r.ID, Err: errors.New(why)}
}

func refusal(r *Request, code mdm.Code, why string) Plan { return Plan{Refusal: r.refused(code, why)} }

func (r *Request) event(t mdm.EventType) mdm.Event {
	return mdm.Event{Type: t, At: r.At, Enrollment: r.ID}
}

func (r *Request) authenticated(g mdm.Generation, kind Kind) mdm.Event {
	e := r.event(mdm.EventAuthenticated)
	e.Generation, e.Reason, e.Fingerprint = g, kind.String(), r.Fingerprint.String()
	return e
}

func (r *Request) arrived(t mdm.EventType, enrollment *mdm.Enrollment, why string) mdm.Event {
	e := r.event(t)
	e.Generation, e.Reason, e.Fingerprint = enrollment.Generation, why, r.Fingerprint.String()
	return e
}

// refreshed returns old with what the device said now; what it did not say is kept.
func refreshed(old, said mdm.Device) mdm.Device {
	for _, f := range []struct{ to, from *string }{
		{&old.Name, &said.Name}, {&old.Model, &said.Model}, {&old.ModelName, &said.ModelName}, {&old.ProductName, &said.ProductName},
		{&old.SerialNumber, &said.SerialNumber}, {&old.OSVersion, &said.OSVersion}, {&old.BuildVersion, &said.BuildVersion},
		{&old.IMEI, &said.IMEI}, {&old.MEID, &said.MEID},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	return old
}
