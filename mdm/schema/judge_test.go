package schema_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

func validate(v any, t schema.Target) schema.Findings {
	switch v := v.(type) {
	case command.Command:
		return command.Validate(v, t)
	case profile.Payload:
		return profile.Validate(v, t)
	}
	return ddm.Validate(v.(ddm.Payload), t)
}

// Targets of the table; each differs from a plain one in what it is named for.
var (
	iPhone = schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.DeviceChannel, Rights: mdm.AllRights,
		Supervised: schema.True, SharedIPad: schema.False, Automated: schema.True, UserApproved: schema.True}
	mac = schema.Target{Platform: schema.MacOS, OSVersion: "15.0", Channel: mdm.DeviceChannel, Rights: mdm.AllRights,
		Supervised: schema.True, Automated: schema.True, UserApproved: schema.True}
)

func with(t schema.Target, change func(*schema.Target)) schema.Target {
	change(&t)
	return t
}

func unsupervised(t *schema.Target) { t.Supervised, t.Automated = schema.False, schema.False }
func userChannel(t *schema.Target)  { t.Channel = mdm.UserChannel }
func userEnrolled(t *schema.Target) { t.Channel = mdm.UserEnrollmentChannel }
func sharedIPad(t *schema.Target)   { t.SharedIPad = schema.True }
func sharedUser(t *schema.Target)   { t.SharedIPad, t.Channel = schema.True, mdm.SharedIPadChannel }
func version(v string) func(*schema.Target) {
	return func(t *schema.Target) { t.OSVersion = v }
}
func without(r mdm.AccessRights) func(*schema.Target) {
	return func(t *schema.Target) { t.Rights &^= r }
}

// One real case for every rule: what breaks it, where, and a target or a value that does not.
func TestRules(t *testing.T) {
	t.Parallel()
	lock := command.DeviceLock{}
	returns := command.EraseDevice{ReturnToService: &command.EraseDeviceReturnToService{Enabled: true}}
	ask := func(q command.DeviceInformationQuery) command.DeviceInformation {
		return command.DeviceInformation{Queries: []command.DeviceInformationQuery{q}}
	}
	tests := []struct {
		name   string
		rule   schema.Rules
		path   string
		value  any
		target schema.Target
		right  schema.Target // the same value is right for it
	}{
		{"a supervised-only command to an unsupervised phone", schema.RuleSupervised, "", command.RestartDevice{}, with(iPhone, unsupervised), iPhone},
		{"the same command to a Mac that need not be", 0, "", command.RestartDevice{}, with(mac, unsupervised), mac},
		{"a supervised-only restriction", schema.RuleSupervised, "allowSafari", profile.Restrictions{AllowSafari: new(false)}, with(iPhone, unsupervised), iPhone},
		{"a supervised-only payload", schema.RuleSupervised, "", profile.GlobalHTTPProxy{}, with(iPhone, unsupervised), iPhone},
		{"a device command to a user channel", schema.RuleChannel, "", lock, with(mac, userChannel), mac},
		{"a user command to the device channel", schema.RuleChannel, "", command.InviteToProgram{ProgramID: "com.apple.cloudvpp", InvitationURL: "u"}, mac, with(mac, userChannel)},
		{"a device command to a user of a Shared iPad", schema.RuleChannel, "", lock, with(iPhone, sharedUser), with(iPhone, sharedIPad)},
		{"a missing access right", schema.RuleRights, "", command.EraseDevice{}, with(iPhone, without(mdm.Erase)), iPhone},
		{"a query that a device would leave out of its answer", 0, "", ask("ProvisioningUDID"), iPhone, mac},
		{"a system that is too old", schema.RuleVersion, "", command.EnableLostMode{Message: new("m")}, with(iPhone, version("9.2.1")), with(iPhone, version("9.3"))},
		{"a key that is too new", schema.RuleVersion, "ReturnToService", returns, with(iPhone, version("16.7")), with(iPhone, version("17.0"))},
		{"a removed command", schema.RuleRemoved, "", command.ScheduleOSUpdateScan{}, with(mac, version("27.0")), with(mac, version("14.0"))},
		{"a command of another platform", schema.RulePlatform, "", lock, schema.Target{Platform: schema.TvOS}, iPhone},
		{"a key of another platform", schema.RulePlatform, "PIN", command.DeviceLock{PIN: mdm.SecretString("123456")}, iPhone, mac},
		{"an erase in User Enrollment", schema.RuleUserEnrollment, "", command.EraseDevice{}, with(iPhone, userEnrolled), iPhone},
		{"a command that needs Automated Device Enrollment", schema.RuleEnrollment, "", command.AccountConfiguration{},
			with(mac, func(t *schema.Target) { t.Automated = schema.False }), mac},
		{"a payload that needs a user-approved enrollment", schema.RuleEnrollment, "", profile.PrivacyPreferences{},
			with(mac, func(t *schema.Target) { t.UserApproved, t.Automated = schema.False, schema.False }), mac},
		{"a Shared iPad command to an iPhone", schema.RuleSharedIPad, "", command.UserList{}, iPhone, with(iPhone, sharedIPad)},
		{"a payload that a Shared iPad refuses", schema.RuleSharedIPad, "", profile.Passcode{}, with(iPhone, sharedIPad), iPhone},
		{"a declaration for supervised devices", schema.RuleSupervised, "", &ddm.AudioAccessorySettings{}, with(with(iPhone, version("26.0")), unsupervised), with(iPhone, version("26.0"))},
		{"a declaration on the wrong channel", schema.RuleChannel, "", &ddm.DiskManagementSettings{}, with(mac, userChannel), mac},
		{"a missing key", schema.RuleRequired, "Identifier", command.RemoveProfile{}, iPhone, schema.Target{Platform: schema.TvOS, OSVersion: "1.0"}},
		{"a value that is not in the list", schema.RuleEnum, "ObliterationBehavior",
			command.EraseDevice{ObliterationBehavior: new(command.EraseDeviceObliterationBehavior("Never"))}, mac, schema.Target{}},
		{"a number out of its range", schema.RuleRange, "minLength", profile.Passcode{MinLength: new(int64(99))}, iPhone, schema.Target{}},
		{"a text that does not match", schema.RuleFormat, "ServerURL", profile.MDM{ServerURL: "http://mdm.example.com", Topic: "t",
			IdentityCertificateUUID: "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF"}, iPhone, schema.Target{}},
		{"a value of another type", schema.RuleType, "ManagedOnly", command.ProfileList{Extra: dict{"ManagedOnly": "yes"}}, iPhone, schema.Target{}},
	}
	seen := schema.Rules(0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := validate(tt.value, tt.target)
			assert.Equal(t, tt.rule, found.Rules(), "%s", found)
			if tt.rule == 0 {
				return
			}
			assert.Equal(t, tt.path, found.Of(tt.rule)[0].Path)
			assert.NotEmpty(t, found.Of(tt.rule)[0].Text)
			require.NoError(t, found.Relaxed(tt.rule).Err(), "relaxed")
			assert.Len(t, found.Relaxed(tt.rule), len(found), "and still to be read")
			if tt.right != (schema.Target{}) {
				assert.NotContains(t, validate(tt.value, tt.right).Rules().String(), tt.rule.String(), "right for another target")
			}
			if schema.ShapeRules&tt.rule == 0 {
				assert.NoError(t, validate(tt.value, schema.Target{}).Of(tt.rule).Err(), "what is not known refuses nothing")
			}
		})
		seen |= tt.rule
	}
	assert.Equal(t, schema.AllRules&^(schema.RuleDeprecated|schema.RuleUnknown|schema.RuleIgnored|schema.RuleCombination), seen, "every rule that refuses has a case")
}

// The rules that only warn.
func TestWarnings(t *testing.T) {
	t.Parallel()
	ask := func(q command.DeviceInformationQuery) command.DeviceInformation {
		return command.DeviceInformation{Queries: []command.DeviceInformationQuery{"UDID", q}}
	}
	for _, tt := range []struct {
		name   string
		rule   schema.Rules
		path   string
		value  any
		target schema.Target
	}{
		{"a query that needs another right", schema.RuleRights, "Queries[1]", ask("WiFiMAC"), with(iPhone, without(mdm.QueryNetwork))},
		{"a query of another platform", schema.RulePlatform, "Queries[1]", ask("ProvisioningUDID"), iPhone},
		{"deprecated", schema.RuleDeprecated, "Settings[0]", command.Settings{Settings: []command.Setting{{VoiceRoaming: &command.SettingsVoiceRoaming{Enabled: true}}}}, iPhone},
		{"an unknown key", schema.RuleUnknown, "New", command.ProfileList{Extra: dict{"New": 1}}, iPhone},
		{"an unknown command", schema.RuleUnknown, "RequestType", command.Raw(`<plist version="1.0"><dict><key>RequestType</key><string>New</string></dict></plist>`), iPhone},
		{"an unknown payload", schema.RuleUnknown, "PayloadType", &profile.Raw{Type: "com.example"}, iPhone},
		{"an unknown declaration", schema.RuleUnknown, "Type", &ddm.Raw{Type: "com.example"}, iPhone},
		{"an unknown setting", schema.RuleUnknown, "Settings[0]", command.Settings{Settings: []command.Setting{{Extra: dict{"Item": "New"}}}}, iPhone},
		{"without effect on a Shared iPad", schema.RuleIgnored, "Message", command.DeviceLock{Message: new("m")}, with(iPhone, sharedIPad)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found := validate(tt.value, tt.target)
			require.NoError(t, found.Err())
			require.Len(t, found.Of(tt.rule), 1, "%s", found)
			assert.Equal(t, tt.path, found.Of(tt.rule)[0].Path)
			assert.Zero(t, found.Rules())
		})
	}
}

// A reason is given once, where it begins, not for everything inside of it.
func TestFindingsAreNotRepeated(t *testing.T) {
	t.Parallel()
	erase := command.EraseDevice{ReturnToService: &command.EraseDeviceReturnToService{Enabled: true, WiFiProfileData: []byte{1}, ShouldRetryEnrollment: new(true), BootstrapToken: mdm.SecretString("b")}}
	found := command.Validate(erase, with(iPhone, version("16.0")))
	require.Len(t, found, 1, "%s", found)
	assert.Equal(t, "ReturnToService", found[0].Path)
	found = command.Validate(erase, with(iPhone, version("17.0")))
	assert.Len(t, found, 2, "inside, what is newer still")
}

// A required key is asked for where it is supported.
func TestRequiredWhereSupported(t *testing.T) {
	t.Parallel()
	object := &schema.Object{
		Support: schema.Support{IOS: &schema.OS{Introduced: "4.0"}, MacOS: &schema.OS{Introduced: "10.7"}, TvOS: &schema.OS{Introduced: "n/a"}},
		Keys: []schema.Key{
			{Name: "Everywhere", Required: true, Kind: schema.String},
			{Name: "Mac", Required: true, Kind: schema.String, Support: schema.Support{IOS: &schema.OS{Introduced: "n/a"}}},
			{Name: "Newer", Required: true, Kind: schema.String, Support: schema.Support{IOS: &schema.OS{Introduced: "17.0"}}},
		},
	}
	missing := func(t schema.Target) []string {
		var out []string
		for _, f := range schema.Check(object, dict{}, t) {
			out = append(out, f.Path)
		}
		return out
	}
	assert.Equal(t, []string{"Everywhere", "Newer"}, missing(schema.Target{}))
	assert.Equal(t, []string{"Everywhere"}, missing(schema.Target{Platform: schema.IOS, OSVersion: "16.0"}))
	assert.Equal(t, []string{"Everywhere", "Newer"}, missing(schema.Target{Platform: schema.IOS, OSVersion: "17.0"}))
	assert.Equal(t, []string{"Everywhere", "Mac", "Newer"}, missing(schema.Target{Platform: schema.MacOS}))
	found := schema.Check(object, dict{"Everywhere": "", "Newer": "n"}, schema.Target{})
	assert.Equal(t, schema.RuleRequired, found.Rules(), "an empty text is a missing one")
	assert.Equal(t, schema.RulePlatform, schema.Check(object, dict{}, schema.Target{Platform: schema.TvOS}).Rules(), "and where nothing works, nothing is asked for")
}

// A list beside a range has what is allowed besides.
func TestListOrRange(t *testing.T) {
	t.Parallel()
	object := &schema.Object{Keys: []schema.Key{{Name: "Timer", Kind: schema.Integer, Enum: []string{"0"}, Range: &schema.Range{Min: 1, Max: 180}},
		{Name: "Two", Kind: schema.Array, MinItems: 2, MaxItems: 2}, {Name: "More", Kind: schema.Array, MinItems: 1}}}
	for _, n := range []int64{0, 1, 180} {
		assert.Empty(t, schema.Check(object, dict{"Timer": n}, schema.Target{}))
	}
	for _, bad := range []dict{{"Timer": int64(181)}, {"Two": []any{1}}, {"Two": []any{1, 2, 3}}, {"More": []any{}}} {
		assert.Equal(t, schema.RuleRange, schema.Check(object, bad, schema.Target{}).Rules())
	}
	assert.Equal(t, "at most 5", (&schema.Range{NoMin: true, Max: 5}).String())
	assert.Equal(t, "at least 1", (&schema.Range{NoMax: true, Min: 1}).String())
	assert.Equal(t, "1 to 180", object.Keys[0].Range.String())
}
