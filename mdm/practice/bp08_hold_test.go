package practice_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/practice"
)

func TestBP08_WhetherManagementIsRemovable(t *testing.T) {
	t.Parallel()
	server := &dep.Server{Profiles: map[string]dep.Profile{
		"firm":  {Name: "Firm", IsSupervised: true, IsMDMRemovable: new(false)},
		"loose": {Name: "Loose", IsSupervised: true},
		"plain": {Name: "Plain"},
		"odd":   {Name: "Odd", IsMDMRemovable: new(false)},
	}}
	device := func(uuid string, status dep.ProfileStatus) *dep.Record {
		return &dep.Record{Serial: "S", Device: dep.Device{ProfileUUID: uuid, ProfileStatus: status}}
	}
	gone := device("firm", dep.ProfilePushed)
	gone.Gone = true
	byApple := func(by bool) practice.Said {
		return practice.Said{Security: &command.SecurityInfoResponse{SecurityInfo: command.SecurityInfoStatus{
			ManagementStatus: &command.SecurityInfoManagementStatus{EnrolledViaDEP: &by}}}}
	}
	listed := func(locked *bool) practice.Said {
		return practice.Said{Profiles: &command.ProfileListResponse{ProfileList: []command.ProfileListItem{
			{PayloadIdentifier: "other", PayloadRemovalDisallowed: new(true)},
			{PayloadIdentifier: "mdm", PayloadRemovalDisallowed: locked, PayloadContent: []command.ProfileListPayloadContentItem{{PayloadType: "com.apple.mdm"}}},
		}}}
	}
	supervised := practice.Said{Information: &command.DeviceInformationResponse{QueryResponses: command.DeviceInformationQueryResponses{IsSupervised: new(true)}}}
	tests := []struct {
		name                  string
		record                *dep.Record
		said                  practice.Said
		supervised, removable mdm.Tristate
		confirmed             bool
	}{
		{"the profile promises it", device("firm", dep.ProfilePushed), practice.Said{}, mdm.Yes, mdm.No, false},
		{"and the Mac confirms it", device("firm", dep.ProfilePushed), byApple(true), mdm.Yes, mdm.No, true},
		{"but the Mac was enrolled by hand", device("firm", dep.ProfilePushed), byApple(false), mdm.Yes, mdm.Yes, true},
		{"a profile that may be removed", device("loose", dep.ProfilePushed), practice.Said{}, mdm.Yes, mdm.Yes, false},
		{"no removal without supervision", device("odd", dep.ProfilePushed), practice.Said{}, mdm.Unsaid, mdm.Unsaid, false},
		{"no word of supervision, which iOS 13 has all the same", device("plain", dep.ProfilePushed), practice.Said{}, mdm.Unsaid, mdm.Yes, false},
		{"assigned, not fetched", device("firm", dep.ProfileAssigned), practice.Said{}, mdm.Unsaid, mdm.Unsaid, false},
		{"removed", device("firm", dep.ProfileRemoved), practice.Said{}, mdm.Unsaid, mdm.Unsaid, false},
		{"unknown", device("x", dep.ProfilePushed), byApple(true), mdm.Unsaid, mdm.Unsaid, false},
		{"gone", gone, practice.Said{}, mdm.Unsaid, mdm.Unsaid, false},
		{"the device's list says so", device("x", dep.ProfileEmpty), listed(new(true)), mdm.Unsaid, mdm.No, true},
		{"the device's list says otherwise", device("firm", dep.ProfilePushed), listed(nil), mdm.Yes, mdm.Yes, true},
		{"not at Apple", nil, supervised, mdm.Yes, mdm.Unsaid, false},
	}
	for _, c := range tests {
		h := practice.HoldOf(c.record, server, c.said)
		assert.Equal(t, c.supervised, h.Supervised, c.name)
		assert.Equal(t, c.removable, h.Removable, c.name)
		assert.Equal(t, c.confirmed, h.Confirmed, c.name)
		assert.NotEmpty(t, h.Note, c.name)
	}
}
