package mdm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

func TestResolve(t *testing.T) {
	long := strings.Repeat("x", mdm.MaxIdentifier+1)
	tests := []struct {
		name    string
		ids     mdm.Identifiers
		want    mdm.EnrollmentID
		channel mdm.Channel
		fails   bool
	}{
		{"device", mdm.Identifiers{UDID: "U"}, mdm.EnrollmentID{Tenant: "t", Device: "U"}, mdm.DeviceChannel, false},
		{"user of a Mac", mdm.Identifiers{UDID: "U", UserID: "G", UserShortName: "anna"}, mdm.EnrollmentID{Tenant: "t", Device: "U", User: "G"}, mdm.UserChannel, false},
		{"shared iPad", mdm.Identifiers{UDID: "U", UserID: mdm.SharedIPadUserID, UserShortName: "a@b.c"}, mdm.EnrollmentID{Tenant: "t", Device: "U", User: "a@b.c"}, mdm.SharedIPadChannel, false},
		{"shared iPad without a name", mdm.Identifiers{UDID: "U", UserID: mdm.SharedIPadUserID}, mdm.EnrollmentID{}, 0, true},
		{"user enrollment", mdm.Identifiers{EnrollmentID: "E"}, mdm.EnrollmentID{Tenant: "t", Device: "E"}, mdm.UserEnrollmentChannel, false},
		{"user enrollment user", mdm.Identifiers{EnrollmentID: "E", EnrollmentUserID: "V"}, mdm.EnrollmentID{Tenant: "t", Device: "E", User: "V"}, mdm.UserEnrollmentUser, false},
		{"both", mdm.Identifiers{UDID: "U", EnrollmentID: "E"}, mdm.EnrollmentID{}, 0, true},
		{"neither", mdm.Identifiers{UserID: "G"}, mdm.EnrollmentID{}, 0, true},
		{"mixed user", mdm.Identifiers{UDID: "U", EnrollmentUserID: "V"}, mdm.EnrollmentID{}, 0, true},
		{"mixed user enrollment", mdm.Identifiers{EnrollmentID: "E", UserID: "G"}, mdm.EnrollmentID{}, 0, true},
		{"too long", mdm.Identifiers{UDID: long}, mdm.EnrollmentID{}, 0, true},
		{"control character", mdm.Identifiers{UDID: "U\n"}, mdm.EnrollmentID{}, 0, true},
		{"not UTF-8", mdm.Identifiers{UDID: "U", UserID: "\xff"}, mdm.EnrollmentID{}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, channel, err := tt.ids.Resolve("t")
			if tt.fails {
				require.Error(t, err)
				assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, id)
			assert.Equal(t, tt.channel, channel)
			assert.Equal(t, id.IsUser(), channel.IsUser())
		})
	}
}

func TestEnrollmentIDText(t *testing.T) {
	for _, id := range []mdm.EnrollmentID{
		{Device: "U"},
		{Device: "U", User: "a@b.c"},
		{Tenant: "acme~/x", Device: "U/%~1", User: "ü ~/"},
	} {
		got, err := mdm.ParseEnrollmentID(id.String())
		require.NoError(t, err, id.String())
		assert.Equal(t, id, got)
	}
	for _, bad := range []string{"", "/", "t~", "a/b/c", "%zz", "a\n"} {
		_, err := mdm.ParseEnrollmentID(bad)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "%q", bad)
		assert.Error(t, err, "%q", bad)
	}
	b, err := json.Marshal(map[mdm.EnrollmentID]int{{Device: "U", User: "V"}: 1})
	require.NoError(t, err)
	assert.JSONEq(t, `{"U/V":1}`, string(b))

	for _, tenant := range []string{"", "acme", "a~/ü%"} { // of an event that is about no device
		b, err := json.Marshal(mdm.Event{Enrollment: mdm.EnrollmentID{Tenant: tenant}})
		require.NoError(t, err)
		var e mdm.Event
		require.NoError(t, json.Unmarshal(b, &e), "%s", b)
		assert.Equal(t, mdm.EnrollmentID{Tenant: tenant}, e.Enrollment)
	}
	for _, bad := range []string{"~", "%zz~", "a/~b~"} {
		var id mdm.EnrollmentID
		_ = id.UnmarshalText([]byte(bad))
		assert.Empty(t, id.Device, "%q", bad)
	}
}

func FuzzParseEnrollmentID(f *testing.F) {
	f.Add("tenant~device/user")
	f.Add("%2F/%7E")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := mdm.ParseEnrollmentID(s)
		if err != nil {
			return
		}
		again, err := mdm.ParseEnrollmentID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}

func TestAccessRights(t *testing.T) {
	assert.Equal(t, mdm.AccessRights(8191), mdm.AllRights)
	assert.NoError(t, mdm.AllRights.Validate())
	assert.NoError(t, mdm.InspectProfiles.Validate())
	for _, bad := range []mdm.AccessRights{0, 2, 128, 1 << 13} {
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(bad.Validate()), "%d", bad)
	}
	assert.Equal(t, "InspectProfiles|Erase", (mdm.InspectProfiles | mdm.Erase).String())
	assert.Equal(t, "all", mdm.AllRights.String())
	assert.Equal(t, mdm.AccessRights(4096), mdm.ManageApplications)
}

func TestSecretStaysSecret(t *testing.T) {
	s := mdm.SecretString("hunter2")
	wrapped := struct {
		Open   mdm.Secret
		hidden mdm.Secret
		ptr    *mdm.Secret
	}{s, s, &s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{s, &s, wrapped, &wrapped, []mdm.Secret{s}} {
			assert.NotContains(t, fmt.Sprintf(verb, v), "hunter2", verb)
			assert.NotContains(t, fmt.Sprintf(verb, v), fmt.Sprintf("%x", "hunter2"), verb)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "w", wrapped)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "w", wrapped)
	assert.NotContains(t, log.String(), "hunter2")
	_, err := json.Marshal(wrapped)
	require.ErrorIs(t, err, mdm.ErrSecret)
}

func TestSecretValue(t *testing.T) {
	b := []byte("abc")
	s := mdm.NewSecret(b)
	b[0] = 'X'
	assert.Equal(t, "abc", string(s.Reveal()))
	s.Reveal()[0] = 'Y'
	assert.Equal(t, "abc", string(s.Reveal()))
	assert.True(t, s.Equal(mdm.SecretString("abc")))
	assert.False(t, s.Equal(mdm.SecretString("abd")))
	assert.True(t, mdm.NewSecret(nil).IsZero())
	assert.True(t, mdm.Secret{}.Equal(mdm.NewSecret([]byte{})))
	assert.Nil(t, mdm.Secret{}.Reveal())
}

func TestCodeOf(t *testing.T) {
	assert.Equal(t, mdm.Internal, mdm.CodeOf(errors.New("disk full")), "an unclassified error must be the harmless code")
	wrapped := fmt.Errorf("outer: %w", mdm.Errorf(mdm.Malformed, "op", "bad: %w", errors.ErrUnsupported))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(wrapped))
	require.ErrorIs(t, wrapped, errors.ErrUnsupported)
	assert.Equal(t, mdm.Code(0), mdm.Internal)
}

func TestKnowsUnrecognized(t *testing.T) {
	tests := map[mdm.Device]bool{
		{ProductName: "iPhone15,2", OSVersion: "17.0"}:       true,
		{ProductName: "iPhone15,2", OSVersion: "16.7.2"}:     false,
		{Model: "iPad", OSVersion: "18"}:                     true,
		{ProductName: "AppleTV11,1", OSVersion: "17.1"}:      true,
		{ProductName: "Mac14,2", OSVersion: "14.0"}:          true,
		{ProductName: "MacBookPro18,3", OSVersion: "13.6"}:   false,
		{Model: "VirtualMac2,1", OSVersion: "15.1"}:          true,
		{ProductName: "RealityDevice14,1", OSVersion: "1.1"}: true,
		{ProductName: "RealityDevice14,1", OSVersion: "1.0"}: false,
		{ProductName: "Watch7,1", OSVersion: "10.0"}:         true,
		{ProductName: "Toaster1,1", OSVersion: "99"}:         false,
		{OSVersion: "18"}:        false,
		{ProductName: "Mac14,2"}: false,
	}
	for d, want := range tests {
		assert.Equal(t, want, d.KnowsUnrecognized(), "%+v", d)
	}
}

func TestFilterMatches(t *testing.T) {
	e := &mdm.Enrollment{ID: mdm.EnrollmentID{Tenant: "t", Device: "D"}, State: mdm.Enrolled, Channel: mdm.DeviceChannel, Topic: "x",
		Device: mdm.Device{SerialNumber: "S"}}
	for _, f := range []mdm.Filter{
		{Tenant: "t"},
		{Tenant: "t", States: []mdm.State{mdm.Pending, mdm.Enrolled}, Channels: []mdm.Channel{mdm.DeviceChannel}, Device: "D", Topic: "x", SerialNumber: "S"},
	} {
		assert.True(t, f.Matches(e), "%+v", f)
	}
	for _, f := range []mdm.Filter{
		{}, {Tenant: "t", Device: "E"}, {Tenant: "t", Topic: "y"}, {Tenant: "t", SerialNumber: "R"},
		{Tenant: "t", States: []mdm.State{mdm.Ended}}, {Tenant: "t", Channels: []mdm.Channel{mdm.UserChannel}},
	} {
		assert.False(t, f.Matches(e), "%+v", f)
	}
}

func TestFingerprintText(t *testing.T) {
	fp := mdm.Fingerprint{1, 2, 3}
	got, err := mdm.ParseFingerprint(fp.String())
	require.NoError(t, err)
	assert.Equal(t, fp, got)
	var zero mdm.Fingerprint
	require.NoError(t, zero.UnmarshalText(nil))
	assert.Empty(t, zero.String())
	assert.Error(t, zero.UnmarshalText([]byte("00ff")))
}

func ExampleIdentifiers_Resolve() {
	user, channel, err := mdm.Identifiers{UDID: "8D4C3B2A", UserID: mdm.SharedIPadUserID, UserShortName: "anna@example.com"}.Resolve("")
	fmt.Println(user, channel, err)
	fmt.Println(user.DeviceID())
	// Output:
	// 8D4C3B2A/anna@example.com shared-ipad-user <nil>
	// 8D4C3B2A
}

func ExampleSecret() {
	token := mdm.SecretString("0123456789")
	fmt.Printf("%v %+v %s\n", token, struct{ Token mdm.Secret }{token}, token)
	fmt.Println(len(token.Reveal()))
	// Output:
	// [secret] {Token:[secret]} [secret]
	// 10
}

func ExampleCodeOf() {
	err := fmt.Errorf("saving: %w", mdm.Errorf(mdm.Unavailable, "sqlite.Update", "database is locked"))
	fmt.Println(mdm.CodeOf(err))
	// Output: unavailable
}
