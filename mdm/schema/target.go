package schema

import (
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Platform is one of Apple's systems, in the words of the schema.
type Platform string

// The platforms. iPadOS is IOS.
const (
	IOS      Platform = "iOS"
	MacOS    Platform = "macOS"
	TvOS     Platform = "tvOS"
	VisionOS Platform = "visionOS"
	WatchOS  Platform = "watchOS"
)

// Platforms lists them all.
func Platforms() []Platform { return []Platform{IOS, MacOS, TvOS, VisionOS, WatchOS} }

// Target says for whom something is checked. A zero field is not known, and what is not known refuses nothing.
type Target struct {
	Platform  Platform
	OSVersion string // as "18.1.1"
	Channel   mdm.Channel
	Rights    mdm.AccessRights // of the installed MDM profile

	Supervised   Bool
	SharedIPad   Bool // a device with Shared iPad switched on
	Automated    Bool // came by Automated Device Enrollment
	UserApproved Bool // macOS: the enrollment was approved by its user, which Automated implies
}

// TargetOf returns what is known of an enrollment. device is its device channel, which says what the device is; for a
// device channel it may be e itself, and it may be nil.
func TargetOf(e, device *mdm.Enrollment) Target {
	t := Target{Channel: e.Channel, Rights: e.Rights}
	if e.Channel == mdm.SharedIPadChannel {
		t.SharedIPad = True
	}
	if device == nil {
		device = e
	}
	if t.Rights == 0 {
		t.Rights = device.Rights
	}
	d := &device.Device
	t.Platform, t.OSVersion = PlatformOf(d), d.OSVersion
	t.Supervised, t.Automated, t.UserApproved = Bool(d.Supervised), Bool(d.Automated), Bool(d.UserApproved)
	t.SharedIPad = t.SharedIPad.Or(Bool(d.SharedIPad))
	return t
}

// PlatformOf tells the platform by the model, as "MacBookPro18,3", "iPad13,4" or "RealityDevice14,1"; empty if the device
// does not say enough.
func PlatformOf(d *mdm.Device) Platform {
	for _, name := range []string{d.ProductName, d.Model} {
		switch {
		case name == "":
		case strings.HasPrefix(name, "iPhone"), strings.HasPrefix(name, "iPad"), strings.HasPrefix(name, "iPod"):
			return IOS
		case strings.HasPrefix(name, "AppleTV"):
			return TvOS
		case strings.HasPrefix(name, "Watch"):
			return WatchOS
		case strings.HasPrefix(name, "RealityDevice"):
			return VisionOS
		case strings.Contains(name, "Mac"):
			return MacOS
		}
	}
	return ""
}

// CompareVersions compares versions like "10.13.4" number by number: negative if a is older. Missing numbers are zero;
// what follows a number, as in "18.1 (a)" or "27.0b1", does not count.
func CompareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y int
		x, a = component(a)
		y, b = component(b)
		if x != y {
			return x - y
		}
	}
	return 0
}

// component splits off the first number.
func component(s string) (int, string) {
	head, rest, _ := strings.Cut(s, ".")
	end := 0
	for end < len(head) && head[end] >= '0' && head[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(head[:end])
	if err != nil {
		n = 0
	}
	if end < len(head) { // not a number to its end: what follows is no version
		rest = ""
	}
	return n, rest
}

// rights are the words of the schema for the bits of AccessRights. Two spellings occur for some.
var rights = map[string]mdm.AccessRights{
	"AllowInspection":                      mdm.InspectProfiles,
	"AllowInstallationRemoval":             mdm.InstallProfiles,
	"AllowPasscodeRemovalAndLock":          mdm.LockAndPasscode,
	"DeviceLockAndRemovePasscode":          mdm.LockAndPasscode,
	"AllowDeviceErase":                     mdm.Erase,
	"AllowQueryDeviceInformation":          mdm.QueryDevice,
	"AllowQueryNetworkInformation":         mdm.QueryNetwork,
	"AllowProvisioningInspection":          mdm.InspectProvisioning,
	"AllowProvisioningInstallationRemoval": mdm.InstallProvisioning,
	"AllowQueryApplications":               mdm.InspectApplications,
	"QueryInstalledApps":                   mdm.InspectApplications,
	"AllowQueryRestrictions":               mdm.QueryRestrictions,
	"AllowQuerySecurity":                   mdm.QuerySecurity,
	"AllowSettings":                        mdm.ChangeSettings,
	"AllowAppInstallation":                 mdm.ManageApplications,
}

// Right returns the bit that the schema means by a word, as "AllowDeviceErase"; 0 for "None" and words that say nothing.
func Right(word string) mdm.AccessRights { return rights[word] }

// Digest is a number that is the same for equal targets, and another one for others, most probably. Stores keep it with
// a command, and check it again when what they know of the device has changed.
func (t Target) Digest() int64 {
	b := make([]byte, 0, 64)
	b = append(b, t.Platform...)
	b = append(b, 0)
	b = append(b, t.OSVersion...)
	b = append(b, 0, byte(t.Channel), byte(t.Supervised), byte(t.SharedIPad), byte(t.Automated), byte(t.UserApproved))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Rights))
	h := fnv.New64a()
	_, _ = h.Write(b) // a hash takes everything
	return int64(h.Sum64())
}
