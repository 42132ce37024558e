package practice

import (
	"cmp"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// Hold is how firmly a device holds its management, for a security report: Apple's advice is to state of each device whether
// its user can remove it.
type Hold struct {
	Serial      string
	ProfileUUID string // of the profile of Automated Device Enrollment; empty: none
	// Supervised and Removable are what is known, Unsaid if nothing is. Removable is about the device's user: the server can
	// always remove its own management.
	Supervised mdm.Tristate
	Removable  mdm.Tristate
	Confirmed  bool   // the device itself says so of Removable; else the profile only promises it
	Note       string // from what this follows
}

// Said is what a device said of itself. What it was not asked is nil.
type Said struct {
	Information *command.DeviceInformationResponse // with IsSupervised
	Security    *command.SecurityInfoResponse
	Profiles    *command.ProfileListResponse
	MDMProfile  string // the PayloadIdentifier of the MDM profile, for devices that list no payloads; may be empty
}

// HoldOf says how firmly a device holds its management, from its profile at Apple and what it says of itself. What a device says goes
// before what a profile promises: one that was enrolled by hand has no promise to keep before it is erased. r and s may be nil
// for a device that is not in Apple Business Manager.
func HoldOf(r *dep.Record, s *dep.Server, said Said) Hold {
	h := promised(r, s)
	if said.Information != nil {
		if v := said.Information.QueryResponses.IsSupervised; v != nil {
			h.Supervised = truth(*v)
		}
	}
	if item := said.mdmProfile(); item != nil {
		locked := item.PayloadRemovalDisallowed != nil && *item.PayloadRemovalDisallowed
		h.Removable, h.Confirmed, h.Note = truth(!locked), true, "the device's list of profiles"
		return h
	}
	if said.Security == nil || said.Security.SecurityInfo.ManagementStatus == nil {
		return h
	}
	switch by := said.Security.SecurityInfo.ManagementStatus.EnrolledViaDEP; {
	case by == nil:
	case !*by:
		h.Removable, h.Confirmed, h.Note = mdm.Yes, true, "the device was enrolled by hand; its profile at Apple counts from the next time that it is set up"
	case h.Removable != mdm.Unsaid:
		h.Confirmed, h.Note = true, h.Note+"; the device was enrolled by it"
	default:
		h.Note = "the device was enrolled by a profile at Apple that is not known"
	}
	return h
}

// promised is what the profile at Apple says.
func promised(r *dep.Record, s *dep.Server) Hold {
	if r == nil || s == nil {
		return Hold{Note: "not in Apple Business Manager"}
	}
	h := Hold{Serial: r.Serial, ProfileUUID: r.Device.ProfileUUID}
	switch p, known := s.Profiles[h.ProfileUUID]; {
	case r.Gone:
		h.ProfileUUID, h.Note = "", "not on this server any more"
	case h.ProfileUUID == "" || r.Device.ProfileStatus == dep.ProfileEmpty || r.Device.ProfileStatus == dep.ProfileRemoved:
		h.ProfileUUID, h.Note = "", "no profile is assigned"
	case !known:
		h.Note = "the assigned profile is not known here"
	case r.Device.ProfileStatus != dep.ProfilePushed:
		h.Note = "a profile is assigned, but the device has not fetched it"
	default:
		if p.IsSupervised { // else it depends on the system: iOS 13 and later always are
			h.Supervised = mdm.Yes
		}
		h.Removable, h.Note = truth(p.IsMDMRemovable == nil || *p.IsMDMRemovable), "the profile "+cmp.Or(p.Name, h.ProfileUUID)
		if h.Removable == mdm.No && !p.IsSupervised {
			h.Removable, h.Note = mdm.Unsaid, h.Note+" asks for no removal without supervision, which depends on the system"
		}
	}
	return h
}

// mdmProfile finds the MDM profile in the device's list, nil if it is not in it.
func (s Said) mdmProfile() *command.ProfileListItem {
	if s.Profiles == nil {
		return nil
	}
	for i := range s.Profiles.ProfileList {
		item := &s.Profiles.ProfileList[i]
		if s.MDMProfile != "" && item.PayloadIdentifier == s.MDMProfile {
			return item
		}
		for _, p := range item.PayloadContent {
			if p.PayloadType == "com.apple.mdm" {
				return item
			}
		}
	}
	return nil
}

func truth(yes bool) mdm.Tristate {
	if yes {
		return mdm.Yes
	}
	return mdm.No
}
