package ddm

import (
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// StatusItem is the name of a status item, as a subscription has it: "device.operating-system.version".
type StatusItem string

// ParseStatusReport reads the document that a device sends to the endpoint "status". A device may say more than the schema
// knows: that is in the fields Extra, and so is what has another type than the schema says, of which the error tells as
// [schema.Mismatches]. The report is nil only if the error is a Malformed one without them.
func ParseStatusReport(data []byte) (*StatusReport, *StatusItems, error) {
	const op = "ddm.ParseStatusReport"
	report, items := &StatusReport{}, &StatusItems{}
	wrong, err := schema.DecodePlainJSON(data, report)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range schema.DecodeTree(report.StatusItems, items) {
		m.Path = "StatusItems." + m.Path
		wrong = append(wrong, m)
	}
	if len(wrong) > 0 {
		return report, items, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	}
	return report, items, nil
}
