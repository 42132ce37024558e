package practice

import (
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// PasscodeCompliance tells from the answer to a SecurityInfo whether a device keeps its passcode policies: both
// PasscodePresent and PasscodeCompliantWithProfiles, and in User Enrollment, which has neither, PasscodeCompliant (Apple's
// schema of SecurityInfo; "MDM Best Practices": passcode compliance). Keys that are missing say nothing: it is Unsaid then,
// which is not compliant, unless another key says that it is not. A Mac has none of these keys.
func PasscodeCompliance(r command.SecurityInfoResponse, userEnrollment bool) mdm.Tristate {
	if userEnrollment {
		return complianceOf(r.SecurityInfo.PasscodeCompliant)
	}
	return complianceOf(r.SecurityInfo.PasscodePresent, r.SecurityInfo.PasscodeCompliantWithProfiles)
}

// GateCompliance tells whether a device reports all that a [profile.Gate] asks for; what this package does not know is
// Unsaid. The text says what is missing.
func GateCompliance(want []profile.Compliance, r command.SecurityInfoResponse, userEnrollment bool) (mdm.Tristate, string) {
	verdict, text := mdm.Yes, ""
	for _, c := range want {
		is := mdm.Unsaid
		switch c {
		case profile.CompliantPasscode:
			is = PasscodeCompliance(r, userEnrollment)
		case profile.CompliantFileVault:
			is = complianceOf(r.SecurityInfo.FDEEnabled)
		case profile.CompliantFirewall:
			if f := r.SecurityInfo.FirewallSettings; f != nil {
				is = complianceOf(f.FirewallEnabled)
			}
		}
		switch is {
		case mdm.No:
			verdict = mdm.No
			text += ", " + string(c) + ": not compliant"
		case mdm.Unsaid:
			if verdict == mdm.Yes {
				verdict = mdm.Unsaid
			}
			text += ", " + string(c) + ": not said"
		}
	}
	if text != "" {
		text = text[len(", "):]
	}
	return verdict, text
}

// complianceOf is Yes if all are true, No if one is false.
func complianceOf(keys ...*bool) mdm.Tristate {
	out := mdm.Yes
	for _, key := range keys {
		switch {
		case key == nil:
			out = min(out, mdm.Unsaid)
		case !*key:
			return mdm.No
		}
	}
	return out
}

// PasscodeWay is how profiles are tied to a compliant passcode.
type PasscodeWay string

// The ways of Apple's "MDM Best Practices" and of declarative management.
const (
	// PasscodeByPolling: the server asks by SecurityInfo, as [Passcode] does.
	PasscodeByPolling PasscodeWay = "polling"
	// PasscodeByDeclaration: the device itself watches the status passcode.is-compliant, as with [Passcode].Declared; see
	// [PasscodeDeclarations]. Such a device can be polled, too.
	PasscodeByDeclaration PasscodeWay = "declaration"
	// PasscodeInOneProfile: a Mac tells nobody, neither by SecurityInfo nor by status. The policy and what it is the price of
	// go into one profile; see [profile.Pair].
	PasscodeInOneProfile PasscodeWay = "one-profile"
)

// PasscodeWayFor returns the best way for an enrollment, by its platform and version; a device of which these are not
// known is polled, and so is Shared iPad, where the declaration of passcodes has no effect. The declaration needs iOS 16,
// visionOS 2 (which has the status since 1.1) or watchOS 10.
func PasscodeWayFor(e *mdm.Enrollment) PasscodeWay {
	since := ""
	switch schema.PlatformOf(&e.Device) {
	case schema.MacOS:
		return PasscodeInOneProfile
	case schema.IOS:
		since = "16.0"
	case schema.VisionOS:
		since = "2.0"
	case schema.WatchOS:
		since = "10.0"
	}
	switch {
	case e.Channel == mdm.UserChannel, e.Channel == mdm.UserEnrollmentUser: // only Macs have them
		return PasscodeInOneProfile
	case since == "", e.Channel == mdm.SharedIPadChannel, e.Device.SharedIPad == mdm.Yes:
		return PasscodeByPolling
	case schema.CompareVersions(e.Device.OSVersion, since) < 0: // also if it is not known
		return PasscodeByPolling
	}
	return PasscodeByDeclaration
}
