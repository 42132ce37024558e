package mdmtest

import (
	"encoding/json"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/schema"
)

// ParseAssignment reads what [ABM.Activate] gives a device, as [Device.SetupAssistant] takes it.
func ParseAssignment(profile []byte) (Assignment, error) {
	var p dep.Profile
	if err := json.Unmarshal(profile, &p); err != nil {
		return Assignment{}, fmt.Errorf("mdmtest: %w", err)
	}
	a := Assignment{URL: p.URL, WebURL: p.ConfigurationWebURL, IsSupervised: p.IsSupervised, IsMDMRemovable: schema.Or(p.IsMDMRemovable, true),
		AwaitDeviceConfigured: p.AwaitDeviceConfigured, SkipSetupItems: p.SkipSetupItems}
	var err error
	if a.AnchorCerts, err = dep.DecodeCerts(p.AnchorCerts); err != nil {
		return Assignment{}, fmt.Errorf("mdmtest: anchor_certs: %w", err)
	}
	return a, nil
}

// supervised is what the device says of IsSupervised: it is, unless Automated Device Enrollment said no.
func (d *Device) supervised() bool {
	a, ok := d.Assigned()
	return !ok || a.IsSupervised
}

// managementStatus is the key of SecurityInfo; nil if the device did not come through Setup Assistant. Only Macs say more than
// that it is no User Enrollment.
func (d *Device) managementStatus() map[string]any {
	if _, ok := d.Assigned(); !ok {
		return nil
	}
	status := map[string]any{"IsUserEnrollment": false}
	if schema.PlatformOf(&mdm.Device{ProductName: d.cfg.ProductName}) == schema.MacOS {
		status["EnrolledViaDEP"], status["UserApprovedEnrollment"], status["IsActivationLockManageable"] = true, true, true
	}
	return status
}
