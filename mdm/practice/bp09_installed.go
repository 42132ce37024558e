package practice

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// renewalForm is what a replacement of an enrollment profile must keep (see [profile.ValidateUpdate]), of the profile on a device.
// Nothing of it changes by a replacement that the device takes, but for rights that are given up. What may be a secret in a URL is
// there as a digest only.
type renewalForm struct {
	Identifier string           `json:"identifier,omitempty"`
	Topic      string           `json:"topic,omitempty"`
	ServerURL  string           `json:"serverURL,omitempty"`
	CheckInURL string           `json:"checkInURL,omitempty"`
	Account    string           `json:"account,omitempty"` // AssignedManagedAppleID
	Mode       string           `json:"mode,omitempty"`    // EnrollmentMode
	App        int64            `json:"app,omitempty"`     // RequiredAppIDForMDM
	Rights     mdm.AccessRights `json:"rights,omitempty"`
	Users      bool             `json:"users,omitempty"` // it asks for user channels
}

// renewalFormOf returns the form of a profile, nil if it has no MDM payload.
func renewalFormOf(p *profile.Profile) *renewalForm {
	m := replaceMDM(p)
	if m == nil {
		return nil
	}
	f := &renewalForm{Identifier: p.Identifier, Topic: m.Topic, ServerURL: renewalURL(m.ServerURL), CheckInURL: renewalURL(m.ServerURL),
		Users: slices.Contains(m.ServerCapabilities, profile.MDMServerCapabilityPerUserConnections)}
	if m.CheckInURL != nil && *m.CheckInURL != "" {
		f.CheckInURL = renewalURL(*m.CheckInURL)
	}
	if m.AssignedManagedAppleID != nil {
		f.Account = *m.AssignedManagedAppleID
	}
	if m.EnrollmentMode != nil {
		f.Mode = string(*m.EnrollmentMode)
	}
	if m.RequiredAppIDForMDM != nil {
		f.App = *m.RequiredAppIDForMDM
	}
	if m.AccessRights != nil {
		f.Rights = mdm.AccessRights(*m.AccessRights)
	}
	return f
}

// renewalURL returns the host and the path of a URL, and a digest of it all.
func renewalURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		u = &url.URL{}
	}
	sum := sha256.Sum256([]byte(s))
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath, Fragment: hex.EncodeToString(sum[:8])}).String()
}

// profile returns a profile of the form, to be held against another one.
func (f *renewalForm) profile() *profile.Profile {
	mode := profile.MDMEnrollmentMode(f.Mode)
	m := &profile.MDM{Topic: f.Topic, ServerURL: f.ServerURL, CheckInURL: &f.CheckInURL, AssignedManagedAppleID: &f.Account, EnrollmentMode: &mode,
		RequiredAppIDForMDM: &f.App, AccessRights: new(int64(f.Rights))}
	if f.Users {
		m.ServerCapabilities = []profile.MDMServerCapability{profile.MDMServerCapabilityPerUserConnections}
	}
	return &profile.Profile{Identifier: f.Identifier, Payloads: []profile.Payload{m}}
}

// renewalHeld is the form as the argument of a recipe, for the cook to hold the profile against that it makes; empty: not known.
func renewalHeld(f *renewalForm) string {
	if f == nil {
		return ""
	}
	data, _ := json.Marshal(f) // texts and numbers
	return string(data)
}

// renewalHeldBy reads what renewalHeld has written, nil if there is none.
func renewalHeldBy(args map[string]string) *renewalForm {
	f := &renewalForm{}
	if json.Unmarshal([]byte(args["held"]), f) != nil {
		return nil
	}
	return f
}

// renewalList is the name of the command in a run by which a device is asked what it has.
const renewalList = "list"

// begin fills in what a run knows of the profile on its device when it begins: what Installed says, or that it is of the recipe as
// it is now, until the device itself has said more.
func (r *Renewal) begin(ctx context.Context, e *mdm.Enrollment, s *renewalState, brings []enroll.End) error {
	if !s.Known {
		old, err := r.installed(ctx, e)
		if err != nil {
			return err
		}
		s.Held, s.Known = brings, true
		if old != nil {
			ends, _ := enroll.Ends(old) // as much as can be read
			s.Held = slices.DeleteFunc(ends, func(e enroll.End) bool { return e.Kind == enroll.EndIdentity || e.Kind == enroll.EndIssuer })
			s.Form, s.Listed = renewalFormOf(old), true
		}
	}
	if s.Form == nil {
		if next, err := r.sample(ctx, e); err == nil { // else it is filled in later: nothing is sent without it
			s.Form = renewalFormOf(next)
		}
	}
	return nil
}

// installed asks the hook.
func (r *Renewal) installed(ctx context.Context, e *mdm.Enrollment) (*profile.Profile, error) {
	if r.Installed == nil {
		return nil, nil
	}
	return r.Installed(ctx, e)
}

// ask has a device that waits list its profiles, once.
func (s *renewalState) ask(t *workflow.Turn, next workflow.Next) workflow.Next {
	rights := t.Enrollment.Rights
	switch {
	case t.Now.Before(s.Older):
		return next.At(s.Older)
	case s.Listed || s.Form == nil || rights != 0 && !rights.Has(mdm.InspectProfiles):
		return next
	case s.Asked:
		return next.Answered(renewalList)
	case t.Now.Before(s.AskAt):
		return next.At(s.AskAt)
	}
	s.Asked = true
	return next.Send(renewalList, command.Order{Command: command.ProfileList{}, Priority: command.Profiles}).Answered(renewalList)
}

// listed takes in what the device has listed. A device that did not is asked again after Look.
func (r *Renewal) listed(ctx context.Context, t *workflow.Turn, s *renewalState, brings []enroll.End) {
	if !s.Asked || s.Listed {
		return
	}
	entry, answered := t.Answer(renewalList)
	if _, open := t.Waiting[renewalList]; open {
		return
	}
	s.Asked, s.AskAt = false, t.Now.Add(r.every())
	var said command.ProfileListResponse
	if !answered || entry.State != command.Acknowledged || command.DecodeResult(entry.Result, &said) != nil && len(said.ProfileList) == 0 {
		return
	}
	next, err := r.sample(ctx, t.Enrollment)
	if err != nil {
		return
	}
	s.Listed = true
	for _, item := range said.ProfileList {
		if slices.ContainsFunc(item.PayloadContent, func(p command.ProfileListPayloadContentItem) bool { return p.PayloadType == profile.TypeMDM }) {
			known, _ := enroll.Ends(next)
			if strange := s.learn(item, append(known, brings...)); strange {
				s.Older = t.Now.Add(renewalShare(t.Enrollment.ID, r.every()))
			}
			return
		}
	}
}

// learn goes by what the device lists of its enrollment profile. [profile.Enrollment] names the payload of a certificate by the
// certificate, so it is known which ones are there. It reports one that neither the recipe nor this run knows: the profile is of
// another recipe, and when it ends is not known.
func (s *renewalState) learn(item command.ProfileListItem, known []enroll.End) (strange bool) {
	s.Form.Identifier = item.PayloadIdentifier
	there := map[string]bool{}
	for _, p := range item.PayloadContent {
		switch p.PayloadType {
		case profile.TypeRootCertificate, profile.TypeCertificate, profile.TypePEMCertificate:
			digest := strings.TrimPrefix(p.PayloadIdentifier, item.PayloadIdentifier+".certificate.")
			there[digest] = true
			strange = strange || !slices.ContainsFunc(slices.Concat(known, s.Held), func(e enroll.End) bool { return renewalDigest(e) == digest })
		}
	}
	signers := renewalSigners(item.SignerCertificates)
	s.Held = append(slices.DeleteFunc(slices.Clone(s.Held), func(e enroll.End) bool {
		switch e.Kind {
		case enroll.EndAnchor, enroll.EndIntermediate, enroll.EndPin:
			return !there[renewalDigest(e)]
		case enroll.EndSigner:
			return len(signers) > 0
		}
		return false
	}), signers...)
	return strange
}

// older reports whether it is time to replace a profile of which it is not known when it ends.
func (s *renewalState) older(now time.Time) bool { return !s.Older.IsZero() && !now.Before(s.Older) }

// renewalShare spreads devices over a time, each at its own place.
func renewalShare(id mdm.EnrollmentID, over time.Duration) time.Duration {
	sum := sha256.Sum256([]byte(id.Tenant + "/" + id.String()))
	return time.Duration(float64(over) * float64(binary.BigEndian.Uint32(sum[:4])) / (1 << 32))
}

// renewalDigest is the end of the PayloadIdentifier of a certificate.
func renewalDigest(e enroll.End) string { return hex.EncodeToString(e.Fingerprint[:8]) }

// renewalSigners returns the ends of the certificates by which a profile is signed. One that cannot be read is left out.
func renewalSigners(ders [][]byte) (ends []enroll.End) {
	for _, der := range ders {
		if cert, err := x509.ParseCertificate(der); err == nil {
			ends = append(ends, enroll.CertificateEnd(enroll.EndSigner, cert))
		}
	}
	return ends
}
