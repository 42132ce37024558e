package command

import (
	"fmt"
	"reflect"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// dictionaryer is a command that makes its dictionary itself: one that holds secrets, which no encoder may see by
// accident, or much data, which need not be encoded and decoded on the way.
type dictionaryer interface{ dictionary() map[string]any }

// requirer is a command with keys that Apple requires. missing names the first that is not set.
type requirer interface{ missing() string }

// encode returns a message with the Command dictionary, and what else a whole raw message holds. The maps may be changed.
func encode(c Command) (map[string]any, error) {
	switch raw := c.(type) {
	case Raw:
		return raw.message()
	case *Raw:
		return raw.message()
	}
	if r, ok := c.(requirer); ok {
		if key := r.missing(); key != "" {
			return nil, fmt.Errorf("the command needs the key %s", key)
		}
	}
	dict, err := dictionaryOf(c)
	if err != nil {
		return nil, err
	}
	dict["RequestType"] = c.RequestType()
	return map[string]any{"Command": dict}, nil
}

func dictionaryOf(c Command) (map[string]any, error) {
	if d, ok := c.(dictionaryer); ok && isOurs(c) {
		return d.dictionary(), nil
	}
	data, err := plistx.Marshal(c)
	if err != nil {
		return nil, err
	}
	var dict map[string]any
	if err := plistx.UnmarshalLimits(data, &dict, plistx.Limits{Bytes: MaxBody}); err != nil {
		return nil, err
	}
	return dict, nil
}

// isOurs reports whether c is of a type of this package. A type that embeds one has its methods, but fields of its own.
func isOurs(c Command) bool {
	t := reflect.TypeOf(c)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == reflect.TypeFor[Item]().PkgPath()
}

// put sets key unless v is its zero value.
func put[T comparable](dict map[string]any, key string, v T) {
	var zero T
	if v != zero {
		dict[key] = v
	}
}

func (c InstallProfile) missing() string {
	if len(c.Payload) == 0 {
		return "Payload"
	}
	return ""
}

func (c RemoveProfile) missing() string {
	if c.Identifier == "" {
		return "Identifier"
	}
	return ""
}

func (c DeviceInformation) missing() string {
	if len(c.Queries) == 0 {
		return "Queries"
	}
	return ""
}

func (c ClearPasscode) missing() string {
	if c.UnlockToken.IsZero() {
		return "UnlockToken"
	}
	return ""
}

func (c InstallProfile) dictionary() map[string]any { return map[string]any{"Payload": c.Payload} }

func (c DeviceLock) dictionary() map[string]any {
	dict := map[string]any{}
	put(dict, "Message", c.Message)
	put(dict, "PhoneNumber", c.PhoneNumber)
	put(dict, "PIN", string(c.PIN.Reveal()))
	return dict
}

func (c EraseDevice) dictionary() map[string]any {
	dict := map[string]any{}
	put(dict, "DisallowProximitySetup", c.DisallowProximitySetup)
	put(dict, "ObliterationBehavior", c.ObliterationBehavior)
	put(dict, "PIN", string(c.PIN.Reveal()))
	put(dict, "PreserveDataPlan", c.PreserveDataPlan)
	if r := c.ReturnToService; r != nil {
		inner := map[string]any{"Enabled": r.Enabled}
		for key, data := range map[string][]byte{
			"WiFiProfileData": r.WiFiProfileData, "MDMProfileData": r.MDMProfileData, "BootstrapToken": r.BootstrapToken.Reveal(),
		} {
			if len(data) > 0 {
				inner[key] = data
			}
		}
		put(inner, "ShouldRetryEnrollment", r.ShouldRetryEnrollment)
		dict["ReturnToService"] = inner
	}
	return dict
}

func (c ClearPasscode) dictionary() map[string]any {
	return map[string]any{"UnlockToken": c.UnlockToken.Reveal()}
}

// MarshalPlist fails with [mdm.ErrSecret]: only Prepare encodes a command that holds secrets.
func (DeviceLock) MarshalPlist() (any, error) { return nil, mdm.ErrSecret }

// MarshalPlist fails with [mdm.ErrSecret]: only Prepare encodes a command that holds secrets.
func (EraseDevice) MarshalPlist() (any, error) { return nil, mdm.ErrSecret }

// MarshalPlist fails with [mdm.ErrSecret]: only Prepare encodes a command that holds secrets.
func (ClearPasscode) MarshalPlist() (any, error) { return nil, mdm.ErrSecret }
