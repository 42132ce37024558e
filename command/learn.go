package command

import (
	"bytes"

	"github.com/gomdm/applemdm/mdm"
)

// Learn takes what a device says of itself in a report that acknowledges DeviceInformation or SecurityInfo on its device
// channel, and reports whether d has changed. Stores call it when such a command is finished, and keep d: so the version of
// the system is known after an update, and supervision at all, which no check-in message tells. What identifies a device,
// its serial number above all, is not learned; neither is anything from a report that cannot be read.
func Learn(d *mdm.Device, requestType string, raw []byte) bool {
	before := *d
	switch key := learnedFrom[requestType]; {
	case key == "" || !bytes.Contains(raw, []byte(key)): // both forms of a property list spell keys out: spare the reading
		return false
	case requestType == "DeviceInformation":
		var r DeviceInformationResponse
		if DecodeResult(raw, &r) != nil {
			return false
		}
		q := &r.QueryResponses
		learn(&d.Name, q.DeviceName)
		learn(&d.OSVersion, q.OSVersion)
		learn(&d.BuildVersion, q.BuildVersion)
		learn(&d.ModelName, q.ModelName)
		if d.ProductName == "" {
			learn(&d.ProductName, q.ProductName)
		}
		learnTruth(&d.Supervised, q.IsSupervised)
		learnTruth(&d.SharedIPad, q.IsMultiUser)
	default:
		var r SecurityInfoResponse
		if DecodeResult(raw, &r) != nil || r.SecurityInfo.ManagementStatus == nil {
			return false
		}
		learnTruth(&d.Automated, r.SecurityInfo.ManagementStatus.EnrolledViaDEP)
		learnTruth(&d.UserApproved, r.SecurityInfo.ManagementStatus.UserApprovedEnrollment)
	}
	return *d != before
}

// learnedFrom has the commands whose answers are learned from, and a key that those answers have.
var learnedFrom = map[string]string{"DeviceInformation": "QueryResponses", "SecurityInfo": "ManagementStatus"}

// maxLearned is the longest text that is learned, in bytes.
const maxLearned = 255

func learn(to, said *string) {
	if said != nil && *said != "" && len(*said) <= maxLearned {
		*to = *said
	}
}

func learnTruth(to *mdm.Tristate, said *bool) {
	switch {
	case said == nil:
	case *said:
		*to = mdm.Yes
	default:
		*to = mdm.No
	}
}
