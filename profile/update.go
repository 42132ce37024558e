package profile

import (
	"fmt"
	"net/url"
	"slices"
)

// ValidateUpdate checks whether next may replace old, a profile that is installed. It returns every reason why a device
// would refuse; none means that it would not, as far as both profiles tell. It does not check next for itself.
//
// The rules are Apple's for updating a profile with a com.apple.mdm payload: the identifier of the profile stays, and so
// do topic, server, check-in server, the managed Apple Account, the mode and the app of the enrollment, and whether the
// server has per-user connections. The access rights may become fewer. The identity may change, which makes the device
// enroll anew. Of other profiles only the identifier has to stay.
func ValidateUpdate(old, next *Profile) []Problem {
	u := update{next: -1}
	u.same("PayloadIdentifier", "update-identifier", old.Identifier, next.Identifier)
	if len(old.EncryptedContent) > 0 || len(next.EncryptedContent) > 0 {
		u.add("EncryptedPayloadContent", "update-encrypted", "an encrypted profile cannot be compared; decrypt it first")
		return u.problems
	}
	before, _ := mdmIn(old)
	if len(before) == 0 {
		return u.problems
	}
	after, at := mdmIn(next)
	if len(after) == 0 {
		u.add("PayloadContent", "update-mdm", "the com.apple.mdm payload is missing")
		return u.problems
	}
	for _, i := range at[1:] {
		u.add(joined(i, ""), "update-one-mdm", "a second com.apple.mdm payload")
	}
	u.next = at[0]
	u.mdm(before[0], after[0])
	return u.problems
}

// mdmIn returns the MDM payloads of a profile and their places.
func mdmIn(p *Profile) (payloads []*MDM, at []int) {
	for i, payload := range p.Payloads {
		if _, err := dictionary(payload); err != nil {
			continue
		}
		if m, ok := Typed(payload).(*MDM); ok {
			payloads, at = append(payloads, m), append(at, i)
		}
	}
	return payloads, at
}

type update struct {
	next     int // the place of the MDM payload; -1: none
	problems []Problem
}

func (u *update) add(path, rule, format string, args ...any) {
	if u.next >= 0 {
		path = joined(u.next, path)
	}
	u.problems = append(u.problems, Problem{Path: path, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (u *update) same(path, rule, before, after string) {
	if before != after {
		u.add(path, rule, "was %q and must stay so; it is %q", before, after)
	}
}

// sameURL is same without what may be a secret: user, password and query.
func (u *update) sameURL(path, rule, before, after string) {
	if before != after {
		u.add(path, rule, "was at %s and must stay as it was; it is at %s", hostOf(before), hostOf(after))
	}
}

// hostOf returns the host and the path of a URL.
func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "no host"
	}
	return u.Host + u.EscapedPath()
}

func (u *update) mdm(before, after *MDM) {
	u.same("Topic", "update-topic", before.Topic, after.Topic)
	u.sameURL("ServerURL", "update-server-url", before.ServerURL, after.ServerURL)
	u.sameURL("CheckInURL", "update-check-in-url", checkIn(before), checkIn(after))
	u.same("AssignedManagedAppleID", "update-apple-account", or0(before.AssignedManagedAppleID), or0(after.AssignedManagedAppleID))
	u.same("EnrollmentMode", "update-enrollment-mode", string(or0(before.EnrollmentMode)), string(or0(after.EnrollmentMode)))
	if was, is := or0(before.RequiredAppIDForMDM), or0(after.RequiredAppIDForMDM); was != is {
		u.add("RequiredAppIDForMDM", "update-app", "was %d and must stay so; it is %d", was, is)
	}
	if more := or0(after.AccessRights) &^ or0(before.AccessRights); more != 0 {
		u.add("AccessRights", "update-rights", "%d would be added; rights may only be given up", more)
	}
	had := slices.Contains(before.ServerCapabilities, MDMServerCapabilityPerUserConnections)
	has := slices.Contains(after.ServerCapabilities, MDMServerCapabilityPerUserConnections)
	if had != has {
		verb := map[bool]string{true: "added", false: "removed"}[has]
		u.add("ServerCapabilities", "update-user-channels", "%s cannot be %s", MDMServerCapabilityPerUserConnections, verb)
	}
}

// checkIn returns where a device checks in. An absent CheckInURL is ServerURL.
func checkIn(m *MDM) string {
	if m.CheckInURL == nil || *m.CheckInURL == "" {
		return m.ServerURL
	}
	return *m.CheckInURL
}

// or0 returns the value of an optional key, the zero value if it is absent.
func or0[T any](v *T) T {
	var zero T
	if v == nil {
		return zero
	}
	return *v
}
