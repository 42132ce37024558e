package practice_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

func TestBP06_Compliance(t *testing.T) {
	yes, no := new(true), new(false)
	for name, tt := range map[string]struct {
		present, withProfiles, compliant *bool
		device, user                     mdm.Tristate // as a device enrollment, and as a User Enrollment
	}{
		"nothing is said (macOS)":                {nil, nil, nil, mdm.Unsaid, mdm.Unsaid},
		"all":                                    {yes, yes, yes, mdm.Yes, mdm.Yes},
		"only what User Enrollment has":          {nil, nil, yes, mdm.Unsaid, mdm.Yes},
		"no passcode, and no policy asks":        {no, yes, yes, mdm.No, mdm.Yes},
		"a passcode that is too weak":            {yes, no, yes, mdm.No, mdm.Yes},
		"none":                                   {no, no, no, mdm.No, mdm.No},
		"the key of the policies is missing":     {yes, nil, yes, mdm.Unsaid, mdm.Yes},
		"present is missing":                     {nil, yes, yes, mdm.Unsaid, mdm.Yes},
		"present is missing, and it is too weak": {nil, no, yes, mdm.No, mdm.Yes},
		"no passcode, the rest is missing":       {no, nil, nil, mdm.No, mdm.Unsaid},
		"an account asks for more":               {yes, yes, no, mdm.Yes, mdm.No},
	} {
		r := command.SecurityInfoResponse{SecurityInfo: command.SecurityInfoStatus{PasscodePresent: tt.present,
			PasscodeCompliantWithProfiles: tt.withProfiles, PasscodeCompliant: tt.compliant}}
		assert.Equal(t, tt.device, practice.PasscodeCompliance(r, false), name)
		assert.Equal(t, tt.user, practice.PasscodeCompliance(r, true), name)
	}
}

func TestBP06_GateCompliance(t *testing.T) {
	yes, no := new(true), new(false)
	both := []profile.Compliance{profile.CompliantFileVault, profile.CompliantFirewall}
	mac := func(vault, firewall *bool) command.SecurityInfoResponse {
		return command.SecurityInfoResponse{SecurityInfo: command.SecurityInfoStatus{FDEEnabled: vault,
			FirewallSettings: &command.SecurityInfoFirewallSettings{FirewallEnabled: firewall}}}
	}
	for name, tt := range map[string]struct {
		want []profile.Compliance
		said command.SecurityInfoResponse
		is   mdm.Tristate
		text string
	}{
		"nothing is asked":  {nil, mac(nil, nil), mdm.Yes, ""},
		"both":              {both, mac(yes, yes), mdm.Yes, ""},
		"one is off":        {both, mac(yes, no), mdm.No, "firewall: not compliant"},
		"one is not said":   {both, mac(nil, yes), mdm.Unsaid, "filevault: not said"},
		"off and not said":  {both, mac(no, nil), mdm.No, "filevault: not compliant, firewall: not said"},
		"nothing is said":   {both, command.SecurityInfoResponse{}, mdm.Unsaid, "filevault: not said, firewall: not said"},
		"nobody knows that": {[]profile.Compliance{"weather"}, mac(yes, yes), mdm.Unsaid, "weather: not said"},
	} {
		is, text := practice.GateCompliance(tt.want, tt.said, false)
		assert.Equal(t, tt.is, is, name)
		assert.Equal(t, tt.text, text, name)
	}
}

func TestBP06_WayFor(t *testing.T) {
	for name, tt := range map[string]struct {
		e    mdm.Enrollment
		want practice.PasscodeWay
	}{
		"nothing is known":     {mdm.Enrollment{}, practice.PasscodeByPolling},
		"iOS 15":               {mdm.Enrollment{Device: mdm.Device{ProductName: "iPhone12,1", OSVersion: "15.8"}}, practice.PasscodeByPolling},
		"iOS 16":               {mdm.Enrollment{Device: mdm.Device{ProductName: "iPhone12,1", OSVersion: "16.0"}}, practice.PasscodeByDeclaration},
		"iOS, no version":      {mdm.Enrollment{Device: mdm.Device{ProductName: "iPad13,4"}}, practice.PasscodeByPolling},
		"User Enrollment":      {mdm.Enrollment{Channel: mdm.UserEnrollmentChannel, Device: mdm.Device{ProductName: "iPhone12,1", OSVersion: "17.1"}}, practice.PasscodeByDeclaration},
		"Shared iPad":          {mdm.Enrollment{Device: mdm.Device{ProductName: "iPad13,4", OSVersion: "17.1", SharedIPad: mdm.Yes}}, practice.PasscodeByPolling},
		"a user of it":         {mdm.Enrollment{Channel: mdm.SharedIPadChannel}, practice.PasscodeByPolling},
		"visionOS 1":           {mdm.Enrollment{Device: mdm.Device{ProductName: "RealityDevice14,1", OSVersion: "1.3"}}, practice.PasscodeByPolling},
		"visionOS 2":           {mdm.Enrollment{Device: mdm.Device{ProductName: "RealityDevice14,1", OSVersion: "2.0"}}, practice.PasscodeByDeclaration},
		"watchOS 10":           {mdm.Enrollment{Device: mdm.Device{ProductName: "Watch6,1", OSVersion: "10.0"}}, practice.PasscodeByDeclaration},
		"a Mac":                {mdm.Enrollment{Device: mdm.Device{ProductName: "MacBookPro18,3", OSVersion: "15.0"}}, practice.PasscodeInOneProfile},
		"a user of a Mac":      {mdm.Enrollment{Channel: mdm.UserChannel}, practice.PasscodeInOneProfile},
		"tvOS has no passcode": {mdm.Enrollment{Device: mdm.Device{ProductName: "AppleTV14,1", OSVersion: "18.0"}}, practice.PasscodeByPolling},
	} {
		assert.Equal(t, tt.want, practice.PasscodeWayFor(&tt.e), name)
	}
}

func TestBP06_Declarations(t *testing.T) {
	policy := ddm.PasscodeSettings{RequirePasscode: new(true), MinimumLength: new(int64(8))}
	list, err := practice.PasscodeDeclarations("com.example", policy, "com.example.mail")
	require.NoError(t, err)
	require.Len(t, list, 4)
	target := schema.Target{Platform: schema.IOS, OSVersion: "17.0"}
	tokens := map[string]bool{}
	for _, d := range list {
		assert.Empty(t, ddm.Validate(d.Payload, target))
		assert.NotEmpty(t, d.ServerToken)
		tokens[d.ServerToken] = true
	}
	assert.Len(t, tokens, 4)
	assert.Equal(t, &policy, list[0].Payload)
	always, is := list[2].Payload.(*ddm.ActivationSimple)
	require.True(t, is)
	assert.Nil(t, always.Predicate)
	assert.Equal(t, []string{list[0].Identifier, list[1].Identifier}, always.StandardConfigurations)
	gate, is := list[3].Payload.(*ddm.ActivationSimple)
	require.True(t, is)
	assert.Equal(t, "@status(passcode.is-compliant) == TRUE", *gate.Predicate)
	assert.Equal(t, []string{"com.example.mail"}, gate.StandardConfigurations)

	policy.MinimumLength = new(int64(9))
	changed, err := practice.PasscodeDeclarations("com.example", policy, "com.example.mail")
	require.NoError(t, err)
	assert.NotEqual(t, list[0].ServerToken, changed[0].ServerToken, "another version")
	assert.Equal(t, list[3], changed[3])

	for name, bad := range map[string]struct {
		prefix string
		gated  []string
	}{
		"no prefix": {"", []string{"a"}}, "long prefix": {string(make([]byte, 60)), []string{"a"}}, "nothing is gated": {"a", nil},
		"empty": {"a", []string{""}}, "long": {"a", []string{string(make([]byte, 65))}}, "the policy itself": {"a", []string{"a.passcode"}}, "the subscription": {"a", []string{"a.passcode.status"}},
	} {
		_, err := practice.PasscodeDeclarations(bad.prefix, policy, bad.gated...)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}
