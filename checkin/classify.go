package checkin

import (
	"fmt"

	"github.com/gomdm/applemdm/mdm"
)

// Kind says what an Authenticate is.
type Kind uint8

// The kinds.
const (
	New          Kind = iota + 1 // the device was never enrolled here
	Repeat                       // a message that came already
	Renewal                      // of the MDM profile or identity of a living enrollment; the generation goes on
	Reenrollment                 // enrolled anew, as after its profile was removed without CheckOut; a new generation
	AfterWipe                    // enrolled anew after an erase; a new generation
)

var kindNames = [...]string{"none", "new", "repeat", "renewal", "re-enrollment", "after a wipe"}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Classifier decides what an Authenticate is. It runs in the store's transaction: it must be quick and have no side
// effects. The caller is admitted already, so its certificate is nobody else's. Of a device that is not known everything is
// New, whatever it says.
type Classifier func(s *Situation, r *Request, m *Authenticate) Kind

// Classify is the default Classifier. It goes by evidence, the strongest first: the certificate and for what it was
// issued, then a replacement that was sent and not answered. That a renewal is due, or was asked for, is none.
//
// Where there is no evidence at all it takes the message for a new enrollment. Commands are canceled and secrets archived
// then, not deleted, so nothing is lost if it was a renewal after all; the other way round, old commands would run on a
// device that was wiped.
func Classify(s *Situation, r *Request, _ *Authenticate) Kind {
	anew := Reenrollment
	if s.EraseSent {
		anew = AfterWipe
	}
	known := s.Certificate // nil, or bound to or issued for this device
	switch {
	case s.Device == nil:
		return New
	case s.Device.State == mdm.Ended:
		return anew
	case s.Device.State == mdm.Pending && s.Active == nil: // an earlier attempt that did not get to its TokenUpdate
		if known != nil && known.Status == mdm.CertificatePending {
			return Repeat
		}
		return New
	case known == nil && s.ReplacementSent:
		return Renewal
	case known == nil:
		return anew
	case known.Status == mdm.CertificatePending:
		return Repeat
	case known.Status == mdm.CertificateActive: // with PKCS#12 an erased device may come back with the same one
		if s.EraseSent {
			return AfterWipe
		}
		return Repeat
	case known.Purpose == mdm.PurposeRenew:
		return Renewal
	case known.Purpose == mdm.PurposeEnroll:
		return anew
	case s.ReplacementSent:
		return Renewal
	}
	return anew
}

// arrival is the event that the first TokenUpdate leaves.
func (k Kind) arrival() mdm.EventType {
	switch k {
	case Reenrollment:
		return mdm.EventReenrolled
	case AfterWipe:
		return mdm.EventAfterWipe
	}
	return mdm.EventEnrolled
}
