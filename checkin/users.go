package checkin

import (
	"bytes"

	"github.com/gomdm/applemdm/mdm"
)

// userTokenUpdate enrolls a user channel, or refreshes it. The device must be managed already.
func (s *Service) userTokenUpdate(now *Situation, r *Request, m *TokenUpdate, plan Plan) Plan {
	if now.Device.State != mdm.Enrolled { // its own first TokenUpdate is still to come; the message is repeated
		plan.Refusal = r.refused(mdm.Unavailable, "the device is not enrolled yet")
		return plan
	}
	if s.Users != nil && !s.Users(r.ID, r.Identifiers) {
		plan.Refusal = r.refused(mdm.UserDeclined, "this user is not managed")
		return plan
	}
	user := mdm.Enrollment{ID: r.ID, Channel: r.Channel}
	if now.Enrollment != nil {
		user = *now.Enrollment
	}
	first := user.State != mdm.Enrolled
	if first {
		user.State, user.EnrolledAt, user.EndedAt, user.EndReason = mdm.Enrolled, r.At, zeroTime, ""
		user.Generation, user.Arrival, user.AwaitingConfiguration = now.Device.Generation, mdm.EventEnrolled, false
		plan.Events = append(plan.Events, r.arrived(mdm.EventEnrolled, &user, ""))
		plan.Wake = true
	} else if waits := m.AwaitingConfiguration != nil && *m.AwaitingConfiguration; waits || !bytes.Equal(user.PushToken, m.Token) || user.PushMagic != m.PushMagic {
		// A user of Shared iPad waits anew at each login, perhaps with the same token: somebody has to let it go on.
		plan.Events = append(plan.Events, r.arrived(mdm.EventTokenUpdated, &user, ""))
	}
	user.UserShortName, user.UserLongName = r.Identifiers.UserShortName, r.Identifiers.UserLongName
	s.current(&user, r, m)
	plan.Enrollments = append(plan.Enrollments, user)
	plan.Seen = true
	return plan
}
