package checkin

import (
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Decode reads a check-in message from a property list, XML or binary. A message of an unknown type is an *Unknown.
// The error is a Malformed one; it names keys and never quotes values.
func Decode(body []byte) (Message, error) {
	const op = "checkin.Decode"
	var dict map[string]any
	if err := plistx.Unmarshal(body, &dict); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	k := &keys{dict: dict}
	kind := k.text("MessageType")
	if kind == "" && k.err == nil {
		k.err = errors.New("MessageType is missing")
	}
	m := k.decode(kind)
	if k.err == nil {
		k.common(m.message())
	}
	if k.err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", k.err)
	}
	return m, nil
}

// keys takes the keys out of a dictionary one by one. What is left in the end is unknown. The first wrong type is
// remembered.
type keys struct {
	dict map[string]any
	err  error
}

func (k *keys) decode(kind string) Message {
	switch kind {
	case "Authenticate":
		return &Authenticate{Topic: k.required("Topic"), Device: k.device()}
	case "TokenUpdate":
		return k.tokenUpdate()
	case "CheckOut":
		return &CheckOut{Topic: k.text("Topic")}
	case "UserAuthenticate":
		return &UserAuthenticate{DigestResponse: k.text("DigestResponse")}
	case "SetBootstrapToken":
		return &SetBootstrapToken{BootstrapToken: mdm.NewSecret(k.data("BootstrapToken")), AwaitingConfiguration: k.truth("AwaitingConfiguration")}
	case "GetBootstrapToken":
		return &GetBootstrapToken{AwaitingConfiguration: k.truth("AwaitingConfiguration")}
	case "DeclarativeManagement":
		return &DeclarativeManagement{Endpoint: k.required("Endpoint"), Data: k.data("Data")}
	case "GetToken":
		return &GetToken{TokenServiceType: k.required("TokenServiceType"), TokenParameters: k.dictionary("TokenParameters")}
	case "ReturnToService":
		return &ReturnToService{}
	default:
		return &Unknown{Type: kind}
	}
}

// Limits of a TokenUpdate: APNs tokens have 32 to 100 bytes today, of no fixed length, and a PushMagic is a UUID.
const (
	maxToken       = 4 << 10
	maxMagic       = 1 << 10
	maxUnlockToken = 64 << 10 // Apple: 8 KiB
)

func (k *keys) tokenUpdate() Message {
	m := &TokenUpdate{
		Topic: k.required("Topic"), Token: k.data("Token"), PushMagic: k.required("PushMagic"),
		UnlockToken: mdm.NewSecret(k.data("UnlockToken")), AwaitingConfiguration: k.truth("AwaitingConfiguration"),
	}
	switch {
	case k.err != nil:
	case len(m.Token) == 0:
		k.err = errors.New("the key Token is missing")
	case len(m.Token) > maxToken || len(m.PushMagic) > maxMagic || len(m.UnlockToken.Reveal()) > maxUnlockToken:
		k.err = errors.New("one of Token, PushMagic and UnlockToken is too long")
	}
	return m
}

func (k *keys) device() mdm.Device {
	return mdm.Device{
		Name: k.text("DeviceName"), Model: k.text("Model"), ModelName: k.text("ModelName"), ProductName: k.text("ProductName"),
		SerialNumber: k.text("SerialNumber"), OSVersion: k.text("OSVersion"), BuildVersion: k.text("BuildVersion"),
		IMEI: k.text("IMEI"), MEID: k.text("MEID"),
	}
}

// common takes the keys of every message, and keeps what is left.
func (k *keys) common(c *Common) {
	c.Identifiers = mdm.Identifiers{
		UDID: k.text("UDID"), EnrollmentID: k.text("EnrollmentID"), UserID: k.text("UserID"),
		EnrollmentUserID: k.text("EnrollmentUserID"), UserShortName: k.text("UserShortName"), UserLongName: k.text("UserLongName"),
	}
	c.NotOnConsole = k.truth("NotOnConsole")
	c.AuthToken = mdm.SecretString(k.text("AuthToken"))
	if len(k.dict) > 0 {
		c.Extra = k.dict
	}
}

// take removes key from the dictionary and returns its value if it is a T. An absent key is a zero T and false.
func take[T any](k *keys, key string) (T, bool) {
	v, found := k.dict[key]
	if !found {
		var zero T
		return zero, false
	}
	delete(k.dict, key)
	t, ok := v.(T)
	if !ok && k.err == nil {
		k.err = fmt.Errorf("%s has the wrong type", key)
	}
	return t, ok
}

func (k *keys) text(key string) string {
	s, _ := take[string](k, key)
	return s
}

func (k *keys) required(key string) string {
	s := k.text(key)
	if s == "" && k.err == nil {
		k.err = fmt.Errorf("%s is missing", key)
	}
	return s
}

func (k *keys) data(key string) []byte {
	b, _ := take[[]byte](k, key)
	return b
}

func (k *keys) dictionary(key string) map[string]any {
	d, _ := take[map[string]any](k, key)
	return d
}

func (k *keys) truth(key string) *bool {
	b, ok := take[bool](k, key)
	if !ok {
		return nil
	}
	return &b
}
