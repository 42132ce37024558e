package schema

import (
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// inherit returns the support of a key: what it says itself, over what is said around it.
func inherit(outer, own *Support) Support {
	return Support{
		IOS: merge(outer.IOS, own.IOS), MacOS: merge(outer.MacOS, own.MacOS), TvOS: merge(outer.TvOS, own.TvOS),
		VisionOS: merge(outer.VisionOS, own.VisionOS), WatchOS: merge(outer.WatchOS, own.WatchOS),
	}
}

func merge(outer, own *OS) *OS {
	if outer == nil || own == nil {
		if own == nil {
			return outer
		}
		return own
	}
	out := *outer
	set(&out.Introduced, own.Introduced)
	set(&out.Deprecated, own.Deprecated)
	set(&out.Removed, own.Removed)
	set(&out.Rights, own.Rights)
	for to, b := range map[*Bool]Bool{
		&out.DeviceChannel: own.DeviceChannel, &out.UserChannel: own.UserChannel, &out.Supervised: own.Supervised,
		&out.RequiresDEP: own.RequiresDEP, &out.UserApproved: own.UserApproved, &out.ManualInstall: own.ManualInstall,
		&out.Multiple: own.Multiple, &out.AlwaysSkippable: own.AlwaysSkippable, &out.Beta: own.Beta,
		&out.SharedIPadDevice: own.SharedIPadDevice, &out.SharedIPadUser: own.SharedIPadUser,
	} {
		*to = b.Or(*to)
	}
	if own.UserEnrollment != UnsaidMode {
		out.UserEnrollment = own.UserEnrollment
	}
	if own.SharedIPad != UnsaidMode {
		out.SharedIPad = own.SharedIPad
	}
	if own.Enrollments != nil {
		out.Enrollments = own.Enrollments
	}
	if own.Scopes != nil {
		out.Scopes = own.Scopes
	}
	if own.SharedIPadScopes != nil {
		out.SharedIPadScopes = own.SharedIPadScopes
	}
	return &out
}

func set(to *string, own string) {
	if own != "" {
		*to = own
	}
}

// available reports whether there is a version of the system in which this works. A version in which it was removed that
// is not after the first one says the same as NotAvailable: Apple's schema writes "0".
func (o *OS) available() bool {
	return o != nil && o.Introduced != "" && o.Introduced != NotAvailable && (o.Removed == "" || CompareVersions(o.Removed, o.Introduced) > 0)
}

// completed returns t with what follows from the rest of it.
func (t Target) completed() Target {
	switch t.Channel {
	case mdm.UserChannel, mdm.UserEnrollmentUser:
		if t.Platform == "" {
			t.Platform = MacOS
		}
	case mdm.SharedIPadChannel:
		t.SharedIPad = True
	}
	if t.SharedIPad == True && t.Platform == "" {
		t.Platform = IOS
	}
	if t.Platform != "" && t.Platform != IOS {
		t.SharedIPad = False
	}
	if t.Channel.IsUserEnrollment() {
		t.Supervised, t.Automated = False, False
	}
	if t.Automated == True {
		t.UserApproved = True
	}
	return t
}

// required reports whether a required key is to be expected of what goes to t: where it is supported. Of a target whose
// platform is not known it is expected if it is supported everywhere that the enclosing value is.
func (c *condition) required(t Target, outer *Support) bool {
	if c.support == (Support{}) { // nothing is said of systems
		return true
	}
	if t.Platform != "" {
		os := c.support.On(t.Platform)
		return os.available() && (t.OSVersion == "" || CompareVersions(t.OSVersion, os.Introduced) >= 0)
	}
	for _, p := range Platforms() {
		if outer.On(p).available() && !c.support.On(p).available() {
			return false
		}
	}
	return true
}

// judge returns what speaks against a target, without paths.
func (c *condition) judge(t Target) Findings {
	if t.Platform == "" || c.support == (Support{}) { // nothing is said of a table without systems
		return nil
	}
	os := c.support.On(t.Platform)
	if !os.available() {
		return Findings{{Rule: RulePlatform, Text: "not on " + string(t.Platform)}}
	}
	j := judge{os: os, t: t}
	j.versions()
	j.device()
	j.channel()
	j.userEnrollment()
	j.declaration()
	return j.out
}

// judge holds one target against the conditions on its system.
type judge struct {
	os  *OS
	t   Target
	out Findings
}

func (j *judge) refuse(when bool, rule Rules, text string) {
	if when {
		j.out = append(j.out, Finding{Rule: rule, Text: text})
	}
}

func (j *judge) warn(when bool, rule Rules, text string) {
	if when {
		j.out = append(j.out, Finding{Rule: rule, Text: text, Warning: true})
	}
}

func (j *judge) versions() {
	v, name := j.t.OSVersion, string(j.t.Platform)
	if v == "" {
		return
	}
	since := func(version string) bool { return version != "" && CompareVersions(v, version) >= 0 }
	j.refuse(!since(j.os.Introduced), RuleVersion, "needs "+name+" "+j.os.Introduced+", the device has "+v)
	removed := since(j.os.Removed)
	j.refuse(removed, RuleRemoved, "removed in "+name+" "+j.os.Removed)
	j.warn(!removed && since(j.os.Deprecated), RuleDeprecated, "deprecated since "+name+" "+j.os.Deprecated)
}

func (j *judge) device() {
	os, t := j.os, j.t
	j.refuse(os.Supervised == True && t.Supervised == False, RuleSupervised, "needs a supervised device")
	j.refuse(os.RequiresDEP == True && t.Automated == False, RuleEnrollment, "needs Automated Device Enrollment")
	j.refuse(os.UserApproved == True && t.UserApproved == False, RuleEnrollment, "needs an enrollment that its user approved")
	want := Right(os.Rights)
	lacks := t.Rights != 0 && !t.Channel.IsUserEnrollment() && !t.Rights.Has(want) // User Enrollment has no rights
	j.refuse(lacks, RuleRights, "the MDM profile lacks the access right "+want.String())
}

func (j *judge) channel() {
	os, t := j.os, j.t
	j.refuse(os.SharedIPad == Required && t.SharedIPad == False, RuleSharedIPad, "only on a Shared iPad")
	device, user := os.DeviceChannel, os.UserChannel
	if t.SharedIPad == True {
		j.refuse(os.SharedIPad == Forbidden, RuleSharedIPad, "not on a Shared iPad")
		j.warn(os.SharedIPad == Ignored, RuleIgnored, "without effect on a Shared iPad")
		device, user = os.SharedIPadDevice, os.SharedIPadUser
	}
	if os.SharedIPad == Forbidden || os.Scopes != nil { // the channels say nothing then
		return
	}
	isUser := t.Channel.IsUser()
	j.refuse(t.Channel != 0 && !isUser && device.Or(True) == False, RuleChannel, "not on the device channel")
	j.refuse(isUser && user.Or(False) == False, RuleChannel, "not on a user channel")
}

func (j *judge) userEnrollment() {
	if j.t.Channel == 0 {
		return
	}
	is, mode := j.t.Channel.IsUserEnrollment(), j.os.UserEnrollment
	j.refuse(is && mode == Forbidden, RuleUserEnrollment, "not in User Enrollment")
	j.refuse(!is && mode == Required, RuleUserEnrollment, "only in User Enrollment")
	j.warn(is && mode == Ignored, RuleIgnored, "without effect in User Enrollment")
}

// declaration judges what declarations say instead: kinds of enrollment and scopes.
func (j *judge) declaration() {
	if j.t.Channel == 0 {
		return
	}
	if list := j.os.Enrollments; list != nil {
		ok := slices.ContainsFunc(j.kinds(), func(kind string) bool { return slices.Contains(list, kind) })
		rule := RuleUserEnrollment
		if slices.Equal(list, []string{"supervised"}) {
			rule = RuleSupervised
		}
		j.refuse(!ok, rule, "needs an enrollment that is one of "+listed(list))
	}
	scopes := j.os.Scopes
	if j.t.SharedIPad == True && j.os.SharedIPadScopes != nil {
		scopes = j.os.SharedIPadScopes
	}
	if scopes != nil {
		scope := "system"
		if j.t.Channel.IsUser() {
			scope = "user"
		}
		j.refuse(!slices.Contains(scopes, scope), RuleChannel, "not in the scope "+scope)
	}
}

// kinds are the kinds of enrollment that the target may be, in the words of the schema.
func (j *judge) kinds() []string {
	switch {
	case j.t.Channel.IsUserEnrollment():
		return []string{"user"}
	case j.t.Platform == MacOS: // the schema has no enrollment of a Mac between the two
		return []string{"supervised", "device"}
	case j.t.Supervised == True:
		return []string{"supervised"}
	case j.t.Supervised == False:
		return []string{"device"}
	}
	return []string{"supervised", "device"}
}
