package sqlstore

import (
	"encoding/json"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// readInfo reads what a device said of itself, as encoding/json wrote it. Every request needs it, so what has nothing
// escaped is read in place, without an allocation.
func readInfo(text string, d *mdm.Device) error {
	if readPlainInfo(text, d) {
		return nil
	}
	*d = mdm.Device{}
	return json.Unmarshal([]byte(text), d)
}

// readPlainInfo is false, and d is anything, if text is not just what is expected.
func readPlainInfo(text string, d *mdm.Device) bool {
	rest, ok := strings.CutPrefix(text, "{")
	for _, f := range [...]struct {
		key  string
		text *string
	}{
		{`"Name":"`, &d.Name}, {`,"Model":"`, &d.Model}, {`,"ModelName":"`, &d.ModelName}, {`,"ProductName":"`, &d.ProductName},
		{`,"SerialNumber":"`, &d.SerialNumber}, {`,"OSVersion":"`, &d.OSVersion}, {`,"BuildVersion":"`, &d.BuildVersion},
		{`,"IMEI":"`, &d.IMEI}, {`,"MEID":"`, &d.MEID},
	} {
		if !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(rest, f.key); !ok {
			return false
		}
		if *f.text, rest, ok = strings.Cut(rest, `"`); strings.IndexByte(*f.text, '\\') >= 0 {
			return false
		}
	}
	for _, f := range [...]struct {
		key   string
		value *mdm.Tristate
	}{
		{`,"Supervised":`, &d.Supervised}, {`,"SharedIPad":`, &d.SharedIPad}, {`,"Automated":`, &d.Automated}, {`,"UserApproved":`, &d.UserApproved},
	} {
		if rest, ok = strings.CutPrefix(rest, f.key); !ok || rest == "" || rest[0] < '0' || rest[0] > '0'+byte(mdm.Yes) {
			return false
		}
		*f.value, rest = mdm.Tristate(rest[0]-'0'), rest[1:]
	}
	return rest == "}"
}
