package mdmtest

import (
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

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
