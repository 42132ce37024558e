package push

import (
	"context"
	"errors"
	"iter"

	"github.com/gomdm/applemdm/mdm"
)

// ErrOtherTopic is why [Renew] refuses a certificate.
var ErrOtherTopic = errors.New("no enrolled device has the topic of this certificate: it was made anew, not renewed")

// Devices is where Renew looks for the topics of devices. A checkin.Roster is one.
type Devices interface {
	Enrollments(ctx context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error]
}

// Renew saves a push certificate for the devices of a tenant, unless none of them could be pushed with it: their topic is in
// their MDM profile and cannot be changed there, so a certificate that was made anew, or with another Apple Account, would
// reach nobody, and every device would have to enroll again. Then the error is Malformed and wraps [ErrOtherTopic], and
// nothing is saved. Who means it, because devices are to move to the new topic, calls SavePushCertificate. A tenant without
// enrolled devices may have any certificate.
func Renew(ctx context.Context, store CertificateStore, devices Devices, tenant string, c Certificate) error {
	enrolled := mdm.Filter{Tenant: tenant, States: []mdm.State{mdm.Enrolled}}
	same := enrolled
	same.Topic = c.Topic
	reached, err := firstOf(ctx, devices, same)
	if err != nil {
		return err
	}
	if reached == nil {
		other, err := firstOf(ctx, devices, enrolled)
		if err != nil {
			return err
		}
		if other != nil {
			return mdm.Errorf(mdm.Malformed, "push.Renew", "%w; %s has %s, the certificate %s", ErrOtherTopic, other.ID, other.Topic, c.Topic)
		}
	}
	return store.SavePushCertificate(ctx, c)
}

// firstOf returns the first enrollment that f selects, nil if there is none.
func firstOf(ctx context.Context, devices Devices, f mdm.Filter) (*mdm.Enrollment, error) {
	f.Limit = 1
	for e, err := range devices.Enrollments(ctx, f) {
		return e, err
	}
	return nil, nil
}
