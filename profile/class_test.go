package profile_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/profile"
)

// A type that a new schema brings has no class until somebody gives it one.
func TestEveryTypeHasAClass(t *testing.T) {
	for _, kind := range profile.PayloadTypes() {
		for _, p := range profile.New(kind) {
			assert.NotEqual(t, profile.Unclassified, profile.ClassOf(p), "classify %s (%T)", kind, p)
		}
	}
}

func TestClassOf(t *testing.T) {
	for want, payloads := range map[profile.Class][]profile.Payload{
		profile.Account:     {&profile.Mail{}, profile.Mail{}, &profile.Raw{Type: profile.TypeMail}},
		profile.Restriction: {&profile.Passcode{}, &profile.MCXFileVaultOptions{}},
		profile.Capability:  {&profile.WiFi{}, &profile.ADCertificate{}},
		profile.Identity:    {&profile.SCEP{}},
		profile.Trust:       {&profile.RootCertificate{}},
		profile.Enrolling:   {&profile.MDM{}},
		profile.Neutral:     {&profile.Dock{}, &profile.MCXTimeServer{}, &profile.Raw{Type: profile.TypeMCX, Values: map[string]any{"timeServer": "time.example.com"}}},
		// Nobody knows what a type that the schema does not have does.
		profile.Unclassified: {&profile.Raw{Type: "com.example.settings"}},
	} {
		for _, p := range payloads {
			assert.Equal(t, want, profile.ClassOf(p), "%T %s", p, p.PayloadType())
		}
	}
	assert.Equal(t, "restriction", profile.Restriction.String())
	assert.Equal(t, "unclassified", profile.Class(200).String())
	assert.True(t, profile.Account.Gives())
	assert.False(t, profile.Restriction.Gives())
}

func TestAdvisedPairsAreOfTheirClasses(t *testing.T) {
	all := profile.Advised()
	require.NotEmpty(t, all)
	for _, a := range all {
		assert.True(t, profile.ClassOf(&profile.Raw{Type: a.Capability}).Gives(), a.Capability)
		assert.Equal(t, profile.Restriction, profile.ClassOf(&profile.Raw{Type: a.Restriction}), a.Restriction)
		assert.NotEmpty(t, a.Why)
	}
	assert.Contains(t, all, profile.Advice{Capability: profile.TypeWiFi, Restriction: profile.TypePasscode, Why: all[0].Why})
}
