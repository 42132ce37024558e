package checkin

import (
	"maps"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Encode writes a message as a device sends it, an XML property list. Absent values leave their keys out. It reveals
// the secrets in the message: the result is for a connection and not for a log.
func Encode(m Message) ([]byte, error) {
	c := m.message()
	dict := maps.Clone(c.Extra)
	if dict == nil {
		dict = map[string]any{}
	}
	dict["MessageType"] = m.MessageType()
	put(dict, "UDID", c.UDID)
	put(dict, "EnrollmentID", c.EnrollmentID)
	put(dict, "UserID", c.UserID)
	put(dict, "EnrollmentUserID", c.EnrollmentUserID)
	put(dict, "UserShortName", c.UserShortName)
	put(dict, "UserLongName", c.UserLongName)
	put(dict, "AuthToken", string(c.AuthToken.Reveal()))
	putTruth(dict, "NotOnConsole", c.NotOnConsole)
	switch m := m.(type) {
	case *Authenticate:
		put(dict, "Topic", m.Topic)
		putDevice(dict, m.Device)
	case *TokenUpdate:
		put(dict, "Topic", m.Topic)
		put(dict, "PushMagic", m.PushMagic)
		putData(dict, "Token", m.Token)
		putData(dict, "UnlockToken", m.UnlockToken.Reveal())
		putTruth(dict, "AwaitingConfiguration", m.AwaitingConfiguration)
	case *CheckOut:
		put(dict, "Topic", m.Topic)
	case *UserAuthenticate:
		put(dict, "DigestResponse", m.DigestResponse)
	case *SetBootstrapToken:
		putData(dict, "BootstrapToken", m.BootstrapToken.Reveal())
		putTruth(dict, "AwaitingConfiguration", m.AwaitingConfiguration)
	case *GetBootstrapToken:
		putTruth(dict, "AwaitingConfiguration", m.AwaitingConfiguration)
	case *DeclarativeManagement:
		put(dict, "Endpoint", m.Endpoint)
		putData(dict, "Data", m.Data)
	case *GetToken:
		put(dict, "TokenServiceType", m.TokenServiceType)
		if m.TokenParameters != nil {
			dict["TokenParameters"] = m.TokenParameters
		}
	}
	return plistx.MarshalIndent(dict)
}

func putDevice(dict map[string]any, d mdm.Device) {
	for key, v := range map[string]string{
		"DeviceName": d.Name, "Model": d.Model, "ModelName": d.ModelName, "ProductName": d.ProductName,
		"SerialNumber": d.SerialNumber, "OSVersion": d.OSVersion, "BuildVersion": d.BuildVersion, "IMEI": d.IMEI, "MEID": d.MEID,
	} {
		put(dict, key, v)
	}
}

func put(dict map[string]any, key, v string) {
	if v != "" {
		dict[key] = v
	}
}

func putData(dict map[string]any, key string, v []byte) {
	if len(v) > 0 {
		dict[key] = v
	}
}

func putTruth(dict map[string]any, key string, v *bool) {
	if v != nil {
		dict[key] = *v
	}
}
