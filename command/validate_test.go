package command_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

var aPhone = schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.DeviceChannel, Supervised: schema.False}

// Prepare refuses what is wrong for everybody, Check what is wrong for a target, and both leave out what is relaxed.
func TestCheckOfAPreparedCommand(t *testing.T) {
	t.Parallel()
	_, item := prepared(t, command.Order{Command: command.RestartDevice{}})
	err := item.Check(aPhone)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	var findings schema.Findings
	require.ErrorAs(t, err, &findings)
	assert.Equal(t, schema.RuleSupervised, findings.Rules())
	require.NoError(t, item.Check(schema.Target{}), "nothing is known")

	_, item = prepared(t, command.Order{Command: command.RestartDevice{}, Relax: schema.RuleSupervised})
	require.NoError(t, item.Check(aPhone))
	require.NoError(t, command.Recheck(item.Body, item.Relax, aPhone))
	err = command.Recheck(item.Body, 0, aPhone)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	assert.Contains(t, command.NoLongerFits(err), "supervised")
	require.NoError(t, command.Recheck([]byte("not a list"), 0, aPhone), "it passed before")
	require.NoError(t, (&command.Item{}).Check(aPhone))
}

// A raw property list is checked like a typed command: wrong types fail, unknown keys warn.
func TestValidateRaw(t *testing.T) {
	t.Parallel()
	found := command.Validate(raw(`<key>RequestType</key><string>RemoveProfile</string><key>Identifier</key><integer>1</integer><key>New</key><true/>`), schema.Target{})
	assert.Equal(t, schema.RuleType, found.Rules())
	assert.Len(t, found.Of(schema.RuleUnknown), 1)
	assert.True(t, found.Of(schema.RuleUnknown)[0].Warning)
	assert.Equal(t, "New", found.Of(schema.RuleUnknown)[0].Path)

	require.NoError(t, command.Validate(raw(`<key>RequestType</key><string>RemoveProfile</string><key>Identifier</key><string>a</string>
		<key>RequestRequiresNetworkTether</key><true/>`), aPhone).Err(), "keys of every command")
	unknown := command.Validate(raw(kind), aPhone)
	require.NoError(t, unknown.Err())
	assert.Len(t, unknown, 1)
	assert.Error(t, command.Validate(command.Raw("x"), aPhone).Err())
	assert.Error(t, command.Validate(command.Settings{Settings: []command.Setting{{}}}, aPhone).Err(), "a setting that is none")
}

func TestValidateLooksIntoProfiles(t *testing.T) {
	t.Parallel()
	p := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
		&profile.GlobalHTTPProxy{}, &profile.Restrictions{AllowCamera: new(false)}, &profile.Restrictions{}}}
	data, err := p.Encode()
	require.NoError(t, err)
	found := command.Validate(command.InstallProfile{Payload: data}, aPhone)
	require.NoError(t, found.Err(), "devices pass over much, so it refuses nothing")
	assert.Equal(t, "Payload.PayloadContent[0]", found.Of(schema.RuleSupervised)[0].Path)
	assert.Empty(t, command.Validate(command.InstallProfile{Payload: []byte("encrypted")}, aPhone))
}

func TestTyped(t *testing.T) {
	t.Parallel()
	typed, err := command.Typed(raw(`<key>RequestType</key><string>DeviceLock</string><key>Message</key><string>m</string><key>New</key><integer>1</integer>`))
	require.NoError(t, err)
	assert.Equal(t, &command.DeviceLock{Message: new("m"), Extra: dict{"New": uint64(1)}}, typed)
	same, err := command.Typed(command.DeviceLock{})
	require.NoError(t, err)
	assert.Equal(t, command.DeviceLock{}, same)
	unknown, err := command.Typed(raw(kind))
	require.NoError(t, err)
	assert.Equal(t, raw(kind), unknown)
	_, err = command.Typed(command.Raw("x"))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	typed, err = command.Typed(raw(`<key>RequestType</key><string>DeviceLock</string><key>Message</key><integer>1</integer>`))
	var wrong schema.Mismatches
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, schema.Mismatches{{Path: "Message", Want: "string"}}, wrong)
	_, item := prepared(t, command.Order{Command: typed, Relax: schema.RuleType})
	assert.Equal(t, uint64(1), decoded(t, item.Body)["Command"].(dict)["Message"], "it goes out as it came")
}

func TestLearn(t *testing.T) {
	t.Parallel()
	report := func(elements string) []byte {
		return plist("<dict><key>Status</key><string>Acknowledged</string>" + elements + "</dict>")
	}
	const answers = "<key>QueryResponses</key><dict><key>OSVersion</key><string>18.2</string><key>SerialNumber</key><string>X</string><key>IsSupervised</key><true/></dict>"
	d := mdm.Device{SerialNumber: "S", OSVersion: "18.0"}
	require.True(t, command.Learn(&d, "DeviceInformation", report(answers)))
	assert.Equal(t, mdm.Device{SerialNumber: "S", OSVersion: "18.2", Supervised: mdm.Yes}, d)
	assert.False(t, command.Learn(&d, "DeviceInformation", report(answers)), "nothing new")
	for name, raw := range map[string][]byte{"nothing": nil, "no list": []byte("x"), "no answers": report(""),
		"another type": report("<key>QueryResponses</key><string>x</string>")} {
		assert.False(t, command.Learn(&d, "DeviceInformation", raw), name)
	}
	assert.False(t, command.Learn(&d, "ProfileList", report(answers)))
	require.True(t, command.Learn(&d, "SecurityInfo", report(
		"<key>SecurityInfo</key><dict><key>ManagementStatus</key><dict><key>EnrolledViaDEP</key><false/><key>UserApprovedEnrollment</key><true/></dict></dict>")))
	assert.Equal(t, mdm.No, d.Automated)
	assert.Equal(t, mdm.Yes, d.UserApproved)
}
