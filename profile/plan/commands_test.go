package plan_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/plan"
)

func network(ssid string) *profile.Profile {
	return &profile.Profile{Identifier: "org.x.wifi", DisplayName: "Network", Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new(ssid)}}}
}

// keys returns a profile as it is encoded, without its PayloadUUID, and that.
func keys(t *testing.T, p *profile.Profile) (map[string]any, string) {
	t.Helper()
	data, err := p.Encode()
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, plistx.Unmarshal(data, &all))
	uuid := all["PayloadUUID"].(string)
	rest := maps.Clone(all)
	delete(rest, "PayloadUUID")
	return rest, uuid
}

func TestStamp(t *testing.T) {
	t.Parallel()
	p := network("Office")
	before, _ := keys(t, p)
	require.NoError(t, plan.Stamp(p))
	after, stamp := keys(t, p)
	require.Equal(t, before, after, "nothing else changes, the UUIDs of payloads above all")
	require.Equal(t, "1866FF41-1134-5F23-9281-C9BB6339D36C", stamp, "if this changes, every profile of every device is installed again")
	require.Equal(t, plan.Desired{Identifier: "org.x.wifi", UUID: stamp}, plan.Of(p))

	require.NoError(t, plan.Stamp(p))
	require.Equal(t, stamp, p.UUID, "a stamp is not stamped")

	for name, change := range map[string]func(*profile.Profile){
		"payload":    func(p *profile.Profile) { p.Payloads[0].(*profile.WiFi).SSIDStr = new("Other") },
		"name":       func(p *profile.Profile) { p.DisplayName = "Other" },
		"identifier": func(p *profile.Profile) { p.Identifier = "org.x.other" },
		"extra":      func(p *profile.Profile) { p.Extra = map[string]any{"Key": true} },
	} {
		other := network("Office")
		change(other)
		require.NoError(t, plan.Stamp(other))
		require.NotEqual(t, stamp, other.UUID, name)
	}
	unstamped := network("Office")
	_, uuid := keys(t, unstamped)
	require.Equal(t, uuid, plan.Of(unstamped).UUID, "what Encode writes")
}

func TestStampRefuses(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]*profile.Profile{
		"required":  {},
		"encrypted": {Identifier: "a", EncryptedContent: []byte{1}},
		"Extra":     {Identifier: "a", Extra: map[string]any{"PayloadUUID": "x"}},
	} {
		err := plan.Stamp(p)
		require.ErrorContains(t, err, want)
		require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		require.Empty(t, p.UUID)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	p := network("Office")
	require.NoError(t, plan.Stamp(p))
	data, err := p.Encode()
	require.NoError(t, err)
	made, err := plan.Make([]plan.Desired{plan.Of(p), {Identifier: "old", Absent: true}}, list(has("old", "1"), management), plan.Options{})
	require.NoError(t, err)
	got, err := made.Commands(func(identifier string) ([]byte, error) {
		require.Equal(t, p.Identifier, identifier)
		return data, nil
	})
	require.NoError(t, err)
	require.Equal(t, []command.Command{command.InstallProfile{Payload: data}, command.RemoveProfile{Identifier: "old"}}, got)

	encoded := func(p *profile.Profile) []byte {
		data, err := p.Encode()
		require.NoError(t, err)
		return data
	}
	other := network("Office")
	other.Identifier = "org.x.other"
	withMDM := network("Office")
	withMDM.UUID = p.UUID
	withMDM.Payloads = append(withMDM.Payloads, &profile.MDM{})
	for want, c := range map[string]struct {
		data []byte
		err  error
		code mdm.Code
	}{
		"sorry":                 {err: mdm.Errorf(mdm.Unavailable, "x", "sorry"), code: mdm.Unavailable},
		"broken":                {err: errors.New("broken"), code: mdm.Internal},
		"org.x.wifi: ":          {data: []byte("no profile"), code: mdm.Malformed},
		"is org.x.other":        {data: encoded(other), code: mdm.Malformed},
		"is version":            {data: encoded(network("Office")), code: mdm.Malformed},
		"not a plan's to repla": {data: encoded(withMDM), code: mdm.Forbidden},
	} {
		_, err := made.Commands(func(string) ([]byte, error) { return c.data, c.err })
		require.ErrorContains(t, err, want)
		require.Equal(t, c.code, mdm.CodeOf(err), want)
	}
}

func TestCommandsNeverTouchTheManagement(t *testing.T) {
	t.Parallel()
	made, err := plan.Make(nil, list(management), plan.Options{Protected: []string{"other"}})
	require.NoError(t, err)
	for _, identifier := range []string{management.Identifier, "other"} {
		for _, action := range []plan.Action{plan.Install, plan.Remove} {
			made.Steps = []plan.Step{{Action: action, Identifier: identifier}}
			_, err = made.Commands(func(string) ([]byte, error) { return nil, nil })
			require.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
		}
	}
}

func TestFromProfileList(t *testing.T) {
	t.Parallel()
	got := plan.FromProfileList(command.ProfileListResponse{ProfileList: []command.ProfileListItem{
		{PayloadIdentifier: "a", PayloadUUID: "1", IsManaged: new(true)},
		{PayloadIdentifier: "b", PayloadUUID: "2", IsManaged: new(false), Source: new(plan.SourceDeclarative)},
		{PayloadIdentifier: "c", PayloadUUID: "3", PayloadContent: []command.ProfileListPayloadContentItem{{PayloadType: "x"}, {PayloadType: "y"}}},
	}})
	require.Equal(t, []plan.Installed{
		{Identifier: "a", UUID: "1", Managed: mdm.Yes},
		{Identifier: "b", UUID: "2", Managed: mdm.No, Source: "Declarative Device Management"},
		{Identifier: "c", UUID: "3", Types: []string{"x", "y"}},
	}, got)
}

func TestUnder(t *testing.T) {
	t.Parallel()
	owns := plan.Under("org.x", "")
	var owned []string
	for _, identifier := range []string{"org.x", "org.x.a", "org.xa", "org", "", "com.org.x"} {
		if owns(identifier) {
			owned = append(owned, identifier)
		}
	}
	require.Equal(t, "org.x org.x.a", strings.Join(owned, " "))
	require.False(t, plan.Under()("a"))
}
