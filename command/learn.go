package command

import (
	"bytes"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Learn takes what a device says of itself in a report that acknowledges DeviceInformation or SecurityInfo on its device
// channel, and reports whether d has changed. Stores call it when such a command is finished, and keep d: so the version of
// the system is known after an update, and supervision at all, which no check-in message tells. What identifies a device,
// its serial number above all, is not learned; neither is anything from a report that cannot be read.
func Learn(d *mdm.Device, requestType string, raw []byte) bool {
	path := learnedFrom[requestType]
	// Both forms of a property list spell keys out: spare the reading.
	if path == nil || !bytes.Contains(raw, []byte(path[len(path)-1])) {
		return false
	}
	var said mdm.Device
	var product string
	var supervised, shared, automated, approved plistx.Tristate
	err := plistx.Pick(raw, plistx.Limits{}, path, func(key []byte) *string {
		switch string(key) {
		case "DeviceName":
			return &said.Name
		case "OSVersion":
			return &said.OSVersion
		case "BuildVersion":
			return &said.BuildVersion
		case "ModelName":
			return &said.ModelName
		case "ProductName":
			return &product
		}
		return nil
	}, func(key []byte) *plistx.Tristate {
		switch string(key) {
		case "IsSupervised":
			return &supervised
		case "IsMultiUser":
			return &shared
		case "EnrolledViaDEP":
			return &automated
		case "UserApprovedEnrollment":
			return &approved
		}
		return nil
	})
	if err != nil {
		return false
	}
	before := *d
	learn(&d.Name, said.Name)
	learn(&d.OSVersion, said.OSVersion)
	learn(&d.BuildVersion, said.BuildVersion)
	learn(&d.ModelName, said.ModelName)
	if d.ProductName == "" {
		learn(&d.ProductName, product)
	}
	learnTruth(&d.Supervised, supervised)
	learnTruth(&d.SharedIPad, shared)
	learnTruth(&d.Automated, automated)
	learnTruth(&d.UserApproved, approved)
	return *d != before
}

// learnedFrom has the commands whose answers are learned from, and the way to the dictionary in them.
var learnedFrom = map[string][]string{"DeviceInformation": {"QueryResponses"}, "SecurityInfo": {"SecurityInfo", "ManagementStatus"}}

// maxLearned is the longest text that is learned, in bytes.
const maxLearned = 255

func learn(to *string, said string) {
	if said != "" && len(said) <= maxLearned {
		*to = said
	}
}

func learnTruth(to *mdm.Tristate, said plistx.Tristate) {
	switch said {
	case plistx.True:
		*to = mdm.Yes
	case plistx.False:
		*to = mdm.No
	}
}
