package ota

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/identity"
)

// rules say how long a session is open and how often.
type rules struct {
	lifetime, updateFor time.Duration
	maxRuns             int
}

// open opens a session from now on, for some runs.
func (r rules) open(s *enroll.Session, now time.Time) {
	s.OpenUntil, s.Runs = now.Add(r.lifetime), 0
	keep(s, s.OpenUntil.Add(r.lifetime)) // so that who comes too late is not a stranger at once
}

// visit is a request of step 2 or 3: who signed it, and what it says. Its methods change nothing but the session that they are
// given, so they can be asked before and within a change.
type visit struct {
	rules
	builtIn    bool            // step 2; else step 3
	signer     mdm.Fingerprint // of the built-in certificate or of the identity
	expired    bool            // step 3: the identity is ours, but its time is over
	secret     [sha256.Size]byte
	attributes map[string]string
	at         time.Time
}

func refuse(format string, args ...any) error {
	return mdm.Errorf(mdm.Forbidden, "ota.Continue", format, args...)
}

// belongs refuses whoever is not the device of the session. On an open one that is who knows its challenge.
func (v *visit) belongs(s *enroll.Session) error {
	switch {
	case v.builtIn && subtle.ConstantTimeCompare(v.secret[:], s.Secret[:]) != 1:
		return refuse("wrong challenge")
	case v.builtIn && s.State != enroll.SessionOpen && s.BuiltIn != v.signer:
		return refuse("the challenge was used by another device")
	case !v.builtIn && s.State < enroll.SessionIdentified:
		return refuse("step 3 before step 2")
	case !v.builtIn && s.State == enroll.SessionDelivered && s.Identity != v.signer:
		return refuse("the profile was delivered to another identity")
	}
	for _, name := range []string{"UDID", "SERIAL"} {
		was, is := s.Device[name], v.attributes[name]
		if was != "" && is != "" && was != is {
			return refuse("another %s than before", name)
		}
	}
	return nil
}

// enter notes that the session's device goes through step 2, or begins step 3. The error is Forbidden if it may not now. For
// a device that had its profile, the session opens again when that can be updated.
func (v *visit) enter(s *enroll.Session) error {
	if err := v.belongs(s); err != nil {
		return err
	}
	takenUp := v.builtIn && s.State == enroll.SessionOpen
	switch {
	case v.expired:
		return refuse("the identity has expired")
	case v.at.After(s.KeepUntil):
		return refuse("the session is over")
	case !v.at.After(s.OpenUntil):
		if takenUp { // what the user needed of the time does not count
			v.open(s, v.at)
		}
	case !s.UpdateFrom.IsZero() && !v.at.Before(s.UpdateFrom.Add(-identity.DefaultSkew)):
		v.open(s, v.at)
	default:
		return refuse("the session is not open now")
	}
	if v.builtIn || s.State == enroll.SessionDelivered { // else it is the second half of a run
		if s.Runs++; s.Runs > v.maxRuns {
			return refuse("more than %d runs", v.maxRuns)
		}
	}
	if v.builtIn {
		s.State, s.BuiltIn = enroll.SessionIdentified, v.signer
	}
	device := maps.Clone(s.Device) // the former map may be somebody else's, too
	if device == nil {
		device = map[string]string{}
	}
	maps.Copy(device, v.attributes)
	s.Device = device
	return nil
}

// deliver notes the delivery of a profile that expires then, if at all.
func (v *visit) deliver(s *enroll.Session, expires time.Time) {
	s.State, s.Identity, s.DeliveredAt, s.UpdateFrom = enroll.SessionDelivered, v.signer, v.at, expires
	if !expires.IsZero() {
		keep(s, expires.Add(v.updateFor))
	}
}

// keep keeps the record until a time at least.
func keep(s *enroll.Session, until time.Time) {
	if until.After(s.KeepUntil) {
		s.KeepUntil = until
	}
}
