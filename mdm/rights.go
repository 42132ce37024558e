package mdm

import (
	"fmt"
	"strings"
)

// AccessRights is the bit set of that name in the com.apple.mdm payload: what the user allowed the server to do. It is
// ignored in User Enrollment. Zero means that we do not know the rights.
type AccessRights uint32

// The rights, by the bit of Apple's "AccessRights" key.
const (
	InspectProfiles     AccessRights = 1 << iota // inspect installed configuration profiles
	InstallProfiles                              // install and remove configuration profiles; needs InspectProfiles
	LockAndPasscode                              // lock the device and remove its passcode
	Erase                                        // erase the device
	QueryDevice                                  // query device information
	QueryNetwork                                 // query network information
	InspectProvisioning                          // inspect installed provisioning profiles
	InstallProvisioning                          // install and remove provisioning profiles; needs InspectProvisioning
	InspectApplications                          // inspect installed applications
	QueryRestrictions                            // query restrictions
	QuerySecurity                                // query security information
	ChangeSettings                               // change settings
	ManageApplications                           // manage applications, media, and software updates on iOS
	AllRights           AccessRights = 1<<iota - 1
)

var rightNames = [...]string{
	"InspectProfiles", "InstallProfiles", "LockAndPasscode", "Erase", "QueryDevice", "QueryNetwork",
	"InspectProvisioning", "InstallProvisioning", "InspectApplications", "QueryRestrictions", "QuerySecurity",
	"ChangeSettings", "ManageApplications",
}

// Has reports whether r holds every right of want.
func (r AccessRights) Has(want AccessRights) bool { return r&want == want }

// Validate checks the rules of the com.apple.mdm payload: not zero, no unknown bit, InstallProfiles needs
// InspectProfiles, InstallProvisioning needs InspectProvisioning. The error is a [Malformed] one.
func (r AccessRights) Validate() error {
	const op = "mdm.AccessRights"
	switch {
	case r == 0:
		return Errorf(Malformed, op, "no rights at all")
	case r&^AllRights != 0:
		return Errorf(Malformed, op, "unknown bits %#x", uint32(r&^AllRights))
	case r.Has(InstallProfiles) && !r.Has(InspectProfiles):
		return Errorf(Malformed, op, "2 (install profiles) needs 1 (inspect profiles)")
	case r.Has(InstallProvisioning) && !r.Has(InspectProvisioning):
		return Errorf(Malformed, op, "128 (install provisioning profiles) needs 64 (inspect them)")
	}
	return nil
}

// String lists the rights by name.
func (r AccessRights) String() string {
	switch r {
	case 0:
		return "none"
	case AllRights:
		return "all"
	}
	var names []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := r &^ AllRights; rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(rest)))
	}
	return strings.Join(names, "|")
}
