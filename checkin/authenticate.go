package checkin

import (
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// authenticate decides about an Authenticate.
func (s *Service) authenticate(r *Request, m *Authenticate) func(*Situation) (Plan, error) {
	return func(now *Situation) (Plan, error) {
		if plan, refused := s.refuseAuthenticate(now, r, m); refused {
			return plan, nil
		}
		classify := s.Classify
		if classify == nil {
			classify = Classify
		}
		kind := classify(now, r, m)
		if now.Device == nil { // whatever a Classifier says, there is nothing to repeat or to renew
			kind = New
		}
		switch kind {
		case Repeat:
			return s.repeat(now, r, m), nil
		case Renewal:
			return s.renew(now, r, m), nil
		}
		return s.begin(now, r, m, kind), nil
	}
}

// refuseAuthenticate turns away who may not enroll. None of it ends the management of anybody: a device whose
// Authenticate is refused rolls its installation back.
func (s *Service) refuseAuthenticate(now *Situation, r *Request, m *Authenticate) (Plan, bool) {
	cert := now.Certificate
	conflict := ""
	switch {
	case r.ID.IsUser():
		return refusal(r, mdm.Malformed, "Authenticate is for device channels"), true
	case now.Denied != "":
		return refusal(r, mdm.Forbidden, "denied: "+now.Denied), true
	case s.Topics != nil && !s.Topics(m.Topic):
		return refusal(r, mdm.Forbidden, "the topic is not ours"), true
	case cert == nil:
		return Plan{}, false
	case cert.Status == mdm.CertificateRevoked:
		return refusal(r, mdm.Forbidden, "the certificate is revoked"), true
	case cert.Purpose == mdm.PurposeProfile: // whatever it calls itself
		return refusal(r, mdm.Forbidden, "the certificate is for the delivery of profiles"), true
	case cert.Device != "" && cert.Device != r.ID.Device:
		conflict = "the certificate is another device's"
	case cert.DeviceSerial != "" && m.Device.SerialNumber != "" && cert.DeviceSerial != m.Device.SerialNumber:
		conflict = "the certificate was issued for another serial number"
	default:
		return Plan{}, false
	}
	if ask := s.Identity.OnConflict; ask != nil && ask(identity.Conflict{Claim: r.claim(), Standing: &now.Standing}) {
		return Plan{}, false
	}
	plan := refusal(r, mdm.Forbidden, conflict)
	e := r.event(mdm.EventConflict)
	e.Claimed, e.Reason, e.Fingerprint = r.ID.Device, conflict, r.Fingerprint.String()
	if cert.Device != "" {
		e.Enrollment.Device = cert.Device
	}
	plan.Events = append(plan.Events, e)
	return plan, true
}

// repeat is idempotent: what the device says of itself is refreshed, and that is all.
func (s *Service) repeat(now *Situation, r *Request, m *Authenticate) Plan {
	device := *now.Device
	device.Device = refreshed(device.Device, m.Device)
	return Plan{Enrollments: []mdm.Enrollment{device}, Seen: true}
}

// renew binds the new certificate as pending. The old one, the push token and everything else stay as they are until
// the TokenUpdate, because a replacement that fails is rolled back on the device.
func (s *Service) renew(now *Situation, r *Request, m *Authenticate) Plan {
	device := *now.Device
	device.AuthenticatedAt = r.At
	device.Device = refreshed(device.Device, m.Device)
	return Plan{
		Enrollments:  []mdm.Enrollment{device},
		Certificates: s.pending(now, r, device.Generation),
		Events:       []mdm.Event{r.authenticated(device.Generation, Renewal)},
		Seen:         true,
	}
}

// begin starts an enrollment, or the next generation of one. A generation that never got to its first TokenUpdate is not
// counted: another attempt goes on in it.
func (s *Service) begin(now *Situation, r *Request, m *Authenticate, kind Kind) Plan {
	device := mdm.Enrollment{Generation: 1}
	anew := now.Device != nil && now.Device.State != mdm.Pending
	if now.Device != nil {
		device = *now.Device // the old push token stays until the first TokenUpdate of the new generation
	}
	if anew {
		device.Generation++
	}
	if anew || now.Device == nil {
		device.Arrival = kind.arrival()
	}
	device.ID, device.Channel, device.State = r.ID, r.Channel, mdm.Pending
	device.Topic, device.Device, device.Rights = m.Topic, m.Device, 0
	device.AuthenticatedAt = r.At
	device.AwaitingConfiguration, device.EnrolledAt, device.EndReason = false, zeroTime, ""
	device.EndedAt = zeroTime
	return Plan{
		Enrollments:   []mdm.Enrollment{device},
		Certificates:  s.pending(now, r, device.Generation),
		NewGeneration: anew,
		Events:        []mdm.Event{r.authenticated(device.Generation, kind)},
		Seen:          true,
	}
}

// pending binds the presented certificate as the pending one. Another pending one never came into use and is retired.
func (s *Service) pending(now *Situation, r *Request, generation mdm.Generation) []mdm.Certificate {
	var out []mdm.Certificate
	if old := now.Pending; old != nil && old.Fingerprint != r.Fingerprint {
		retired := *old
		retired.Status, retired.RetiredAt = mdm.CertificateRetired, r.At
		out = append(out, retired)
	}
	cert := mdm.NewCertificate(r.ID.Tenant, r.Certificate)
	if now.Certificate != nil {
		cert = *now.Certificate
	}
	if cert.Status == mdm.CertificateActive && cert.Device == r.ID.Device { // the same PKCS#12 again
		return out
	}
	cert.Status, cert.Device, cert.Generation, cert.BoundAt = mdm.CertificatePending, r.ID.Device, generation, r.At
	return append(out, cert)
}
