package provisioning_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile/provisioning"
)

func TestExpiry(t *testing.T) {
	t.Parallel()
	all := []*provisioning.Profile{
		inHouse(t, "b", 60, 200), inHouse(t, "a", 0, 100),
		change(inHouse(t, "d", 0, 90), func(p *provisioning.Profile) { p.Platforms = []string{"tvOS"} }),
		change(inHouse(t, "e", 0, 80), func(p *provisioning.Profile) { p.Entitlements = nil }),
		change(inHouse(t, "f", 0, 70), func(p *provisioning.Profile) {
			p.Entitlements = map[string]any{"application-identifier": strings.Repeat("ü", 200)}
		}),
	}
	var fails error
	calendar := &expiry.Calendar{Sources: []expiry.Source{
		provisioning.Expiry(func(context.Context) ([]*provisioning.Profile, error) { return all, fails }),
	}}
	items, err := calendar.Items(t.Context())
	require.NoError(t, err)
	var got []string
	for _, i := range items {
		require.Equal(t, provisioning.ExpiryKind, i.Kind)
		require.Contains(t, i.Action, "Apple Developer account")
		got = append(got, i.NotAfter.Format("01-02 ")+i.Name)
	}
	require.Equal(t, []string{
		"05-10 " + strings.Repeat("ü", 127),
		"05-20 Example In-House e",
		"05-30 A1B2C3D4E5.com.example.app of A1B2C3D4E5, in-house tvOS",
		"09-17 A1B2C3D4E5.com.example.app of A1B2C3D4E5, in-house iOS",
	}, got)
	for range provisioning.Expiry(func(context.Context) ([]*provisioning.Profile, error) { return all, nil }).Items(t.Context()) {
		break // who asks may stop
	}

	fails = errors.New("broken")
	_, err = calendar.Items(t.Context())
	require.ErrorIs(t, err, fails)
	require.ErrorContains(t, err, "provisioning-profile")
}

func TestMissingRights(t *testing.T) {
	t.Parallel()
	require.Equal(t, mdm.InspectProvisioning|mdm.InstallProvisioning, provisioning.MissingRights(mdm.InspectProfiles, schema.IOS))
	require.Equal(t, mdm.AccessRights(128), provisioning.MissingRights(64, schema.TvOS))
	require.Zero(t, provisioning.MissingRights(mdm.AllRights, schema.IOS))
	require.Zero(t, provisioning.MissingRights(1, schema.MacOS))
	require.Zero(t, provisioning.MissingRights(0, schema.IOS))
}
