package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	order := []string{"", "9.3.6", "10", "10.12.6", "10.13", "10.13.4", "18.1", "18.1.1", "26.0"}
	for i, a := range order {
		for j, b := range order {
			got := schema.CompareVersions(a, b)
			assert.Equal(t, i < j, got < 0, "%s %s", a, b)
			assert.Equal(t, i == j, got == 0, "%s %s", a, b)
		}
	}
	for _, same := range []string{"18.1", "18.1.0", "18.1 (a)", "18.1b2"} {
		assert.Zero(t, schema.CompareVersions("18.1", same), same)
	}
	assert.Zero(t, schema.CompareVersions("99999999999999999999", ""), "nonsense is no version")
}

func TestPlatformOf(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]schema.Platform{
		"iPhone15,2": schema.IOS, "iPad13,4": schema.IOS, "iPod9,1": schema.IOS, "AppleTV11,1": schema.TvOS, "Watch6,2": schema.WatchOS,
		"RealityDevice14,1": schema.VisionOS, "MacBookPro18,3": schema.MacOS, "Mac14,2": schema.MacOS, "VirtualMac2,1": schema.MacOS, "iMac21,1": schema.MacOS,
		"": "", "Toaster1,1": "",
	} {
		assert.Equal(t, want, schema.PlatformOf(&mdm.Device{ProductName: model}), model)
		assert.Equal(t, want, schema.PlatformOf(&mdm.Device{Model: model}), model)
	}
}

func TestTargetOf(t *testing.T) {
	t.Parallel()
	device := &mdm.Enrollment{Channel: mdm.DeviceChannel, Rights: mdm.Erase, Device: mdm.Device{ProductName: "iPad13,4", OSVersion: "18.0",
		Supervised: mdm.Yes, SharedIPad: mdm.No, Automated: mdm.Yes, UserApproved: mdm.Unsaid}}
	assert.Equal(t, schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.DeviceChannel, Rights: mdm.Erase, Supervised: schema.True,
		SharedIPad: schema.False, Automated: schema.True}, schema.TargetOf(device, nil))
	user := &mdm.Enrollment{Channel: mdm.SharedIPadChannel}
	got := schema.TargetOf(user, device)
	assert.Equal(t, mdm.SharedIPadChannel, got.Channel)
	assert.Equal(t, schema.IOS, got.Platform, "of the device")
	assert.Equal(t, mdm.Erase, got.Rights)
	assert.Equal(t, schema.True, got.SharedIPad, "its channel says more than an old answer")
	assert.Equal(t, schema.Target{}, schema.TargetOf(&mdm.Enrollment{}, nil))
}

func TestDigest(t *testing.T) {
	t.Parallel()
	seen := map[int64]schema.Target{}
	for _, target := range []schema.Target{{}, {Platform: schema.IOS}, {OSVersion: "iOS"}, {Channel: 1}, {Rights: 1}, {Supervised: 1}, {SharedIPad: 1}, {Automated: 1}, {UserApproved: 1}} {
		other, twice := seen[target.Digest()]
		assert.False(t, twice, "%v %v", target, other)
		seen[target.Digest()] = target
		again := target
		assert.Equal(t, target.Digest(), again.Digest())
	}
	assert.Equal(t, int64(5735453603911181555), schema.Target{Platform: schema.IOS, OSVersion: "18.0", Rights: mdm.AllRights}.Digest(), "it is stored: it must not change")
}

func TestRulesText(t *testing.T) {
	t.Parallel()
	for i := range 18 {
		rule := schema.Rules(1 << i)
		require.NotEmpty(t, rule.String())
		parsed, err := schema.ParseRules(rule.String())
		require.NoError(t, err)
		assert.Equal(t, rule, parsed)
	}
	assert.Equal(t, schema.Rules(1<<18-1), schema.AllRules)
	both := schema.RuleRequired | schema.RuleRights
	assert.Equal(t, "required|rights", both.String())
	var back schema.Rules
	text, err := both.MarshalText()
	require.NoError(t, err)
	require.NoError(t, back.UnmarshalText(text))
	assert.Equal(t, both, back)
	assert.True(t, both.Has(schema.RuleRights))
	assert.False(t, both.Has(schema.RuleRights|schema.RuleEnum))
	assert.Equal(t, schema.Rules(1), schema.RuleRequired, "the values are stored: they must not change")
	assert.Equal(t, schema.Rules(1<<17), schema.RuleIgnored)
	none, err := schema.ParseRules("")
	require.NoError(t, err)
	assert.Zero(t, none)
	_, err = schema.ParseRules("required|nonsense")
	require.Error(t, err)
}

func TestFindings(t *testing.T) {
	t.Parallel()
	var many schema.Findings
	for i := range 9 {
		many = append(many, schema.Finding{Rule: schema.RuleEnum, Path: fmt.Sprintf("Key%d", i), Text: "wrong", Warning: i == 0})
	}
	err := many.Err()
	require.Error(t, err)
	assert.Equal(t, 5, strings.Count(err.Error(), "wrong"), "an error is short")
	assert.Contains(t, err.Error(), "and 3 more")
	assert.NotContains(t, err.Error(), "Key0", "warnings are none")
	var found schema.Findings
	assert.ErrorAs(t, fmt.Errorf("wrapped: %w", err), &found)
	require.NoError(t, many[:1].Err())
	require.NoError(t, schema.Findings(nil).Err())
	assert.Equal(t, "enum: wrong", schema.Finding{Rule: schema.RuleEnum, Text: "wrong"}.String())
	assert.True(t, many.Relaxed(schema.RuleEnum)[3].Warning)
	assert.False(t, many[3].Warning, "the original stays")
}

func TestRight(t *testing.T) {
	t.Parallel()
	assert.Equal(t, mdm.Erase, schema.Right("AllowDeviceErase"))
	assert.Zero(t, schema.Right("None"))
	assert.Zero(t, schema.Right("Special Case"))
}

func TestKinds(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "dictionary", schema.Dictionary.String())
	assert.Equal(t, "unknown", schema.Kind(99).String())
	assert.Equal(t, schema.True, schema.BoolOf(true))
	assert.Equal(t, schema.False, schema.Unsaid.Or(schema.False))
	assert.Nil(t, (&schema.Support{}).On("nothing"))
}
