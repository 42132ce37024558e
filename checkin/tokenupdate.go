package checkin

import (
	"bytes"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

var zeroTime time.Time

// tokenUpdate decides about a TokenUpdate: of the device channel, or of a user's.
func (s *Service) tokenUpdate(r *Request, m *TokenUpdate) func(*Situation) (Plan, error) {
	return func(now *Situation) (Plan, error) {
		plan, ok := s.admit(now, r)
		if !ok {
			return s.restoreEnded(now, r, m, plan), nil
		}
		if plan.Enrollments != nil { // rolled back: the decision goes on from there
			device := plan.Enrollments[0]
			now.Device = &device
		}
		if r.ID.IsUser() {
			return s.userTokenUpdate(now, r, m, plan), nil
		}
		if s.Restored != nil && restored(now, m) && !s.Restored(now.Device) {
			return s.refuseRestored(now, r), nil
		}
		return s.deviceTokenUpdate(now, r, m, plan), nil
	}
}

// restored reports whether a TokenUpdate is that of a device that was restored from a backup, as far as can be told.
func restored(now *Situation, m *TokenUpdate) bool {
	cert := now.Certificate
	if now.Device.State != mdm.Enrolled || cert == nil {
		return false
	}
	return cert.Status == mdm.CertificateRetired || cert.Status == mdm.CertificateActive && now.Device.PushMagic != m.PushMagic
}

// refuseRestored ends the enrollment and refuses the device as one whose enrollment has ended.
func (s *Service) refuseRestored(now *Situation, r *Request) Plan {
	plan := ended(now, r.At, "restored from a backup", mdm.EventEnded)
	gone := now.Standing
	gone.Device = &plan.Enrollments[0]
	v := s.Identity.Admit(&gone, r.claim())
	plan.Refusal, plan.Events = v.Err, append(plan.Events, v.Events...)
	return plan
}

// deviceTokenUpdate completes an enrollment, or refreshes one.
func (s *Service) deviceTokenUpdate(now *Situation, r *Request, m *TokenUpdate, plan Plan) Plan {
	device := *now.Device
	status := mdm.CertificateStatus(0)
	if now.Certificate != nil {
		status = now.Certificate.Status
	}
	plan.Seen = true
	plan.UnlockToken = m.UnlockToken
	if !m.UnlockToken.IsZero() {
		e := r.event(mdm.EventSecretStored)
		e.Subject, e.Generation = "UnlockToken", device.Generation
		plan.Events = append(plan.Events, e)
	}
	switch {
	case status == mdm.CertificatePending:
		plan.Certificates = append(plan.Certificates, identity.Promote(&now.Standing, *now.Certificate, r.At)...)
		plan = s.complete(&device, r, m, plan)
	case device.State == mdm.Pending: // the same certificate as before, as with PKCS#12
		plan = s.complete(&device, r, m, plan)
	case status == mdm.CertificateRetired:
		// A backup that is older than the last renewal. Apple does not say that it comes back like this; accepting it
		// loses nothing, because the certificate was this device's.
		plan.Certificates = append(plan.Certificates, identity.Promote(&now.Standing, *now.Certificate, r.At)...)
		plan.Events = append(plan.Events, r.arrived(mdm.EventRestored, &device, "came back with an earlier certificate"))
	case device.PushMagic != m.PushMagic:
		// The PushMagic is made when the profile is installed. A new one without Authenticate is a restored device, as far
		// as can be told; it is managed like before in either case.
		plan.Events = append(plan.Events, r.arrived(mdm.EventRestored, &device, "a new PushMagic without Authenticate"))
	case !bytes.Equal(device.PushToken, m.Token):
		plan.Events = append(plan.Events, r.arrived(mdm.EventTokenUpdated, &device, ""))
	}
	s.current(&device, r, m)
	plan.Enrollments = []mdm.Enrollment{device}
	return plan
}

// complete ends an enrollment or renewal with its first TokenUpdate.
func (s *Service) complete(device *mdm.Enrollment, r *Request, m *TokenUpdate, plan Plan) Plan {
	awaiting := m.AwaitingConfiguration != nil && *m.AwaitingConfiguration
	e := r.arrived(mdm.EventRenewed, device, "")
	switch {
	case device.State == mdm.Enrolled && awaiting:
		// It was taken for a renewal, but a device in Setup Assistant has been wiped: the new generation begins here.
		device.Generation++
		device.EnrolledAt = r.At
		plan.NewGeneration = true
		e = r.arrived(mdm.EventAfterWipe, device, "in Setup Assistant after what looked like a renewal")
	case device.State != mdm.Enrolled:
		device.EnrolledAt = r.At
		e = r.arrived(device.Arrival, device, "")
	}
	device.State = mdm.Enrolled
	if s.Rights != nil {
		device.Rights = s.Rights(r)
	}
	device.AwaitingConfiguration = awaiting // absent is false on the first TokenUpdate after Authenticate
	plan.Events = append(plan.Events, e)
	bound := r.arrived(mdm.EventCertificateBound, device, "")
	plan.Events = append(plan.Events, bound)
	plan.Wake = true
	for i := range plan.Certificates {
		if plan.Certificates[i].Status == mdm.CertificateActive {
			plan.Certificates[i].Generation = device.Generation
		}
	}
	return plan
}

// current takes over what every TokenUpdate says.
func (s *Service) current(e *mdm.Enrollment, r *Request, m *TokenUpdate) {
	e.PushToken, e.PushMagic, e.TokenUpdatedAt = m.Token, m.PushMagic, r.At
	if e.Topic == "" || s.Topics == nil || s.Topics(m.Topic) {
		e.Topic = m.Topic
	}
	if m.AwaitingConfiguration != nil { // absent is not false
		e.AwaitingConfiguration = *m.AwaitingConfiguration
	}
}
