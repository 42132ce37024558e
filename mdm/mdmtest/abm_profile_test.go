package mdmtest_test

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// assigned is the answer of calls about profiles.
type assigned struct {
	UUID       string            `json:"profile_uuid"`
	Devices    map[string]string `json:"devices"`
	RetryAfter int               `json:"retry_after_seconds"`
}

func TestABMProfileGoesToADevice(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq, branch := abm.Server("HQ"), abm.Server("Branch")
	c := newABMClient(t, abm, hq, now.now)
	abm.AddSerials(hq, "A", "B")
	abm.AddSerials(branch, "C")
	_, ok := abm.Activate("A")
	require.False(t, ok)
	_, cursor := c.all(abmFetch, "", 0)
	device := func(serial string) dep.Device {
		d, _, ok := abm.Device(serial)
		require.True(t, ok)
		return d
	}

	var first assigned
	c.call("POST", "/profile", object{"profile_name": "One", "url": "https://mdm.example.com/ade", "is_mdm_removable": false, "new_key": object{"x": 1},
		"devices": []string{"A", "C", "X"}}, &first)
	require.Equal(t, map[string]string{"A": "SUCCESS", "C": "NOT_ACCESSIBLE", "X": "NOT_ACCESSIBLE"}, first.Devices)
	require.Equal(t, dep.ProfileAssigned, device("A").ProfileStatus)
	require.Equal(t, now.now(), device("A").ProfileAssignTime)
	var back map[string]any
	c.call("GET", "/profile?profile_uuid="+first.UUID, nil, &back)
	require.Equal(t, first.UUID, back["profile_uuid"])
	require.Equal(t, "One", back["profile_name"])
	require.NotContains(t, back, "devices")

	now.add(time.Minute)
	profile, ok := abm.Activate("A")
	require.True(t, ok)
	require.JSONEq(t, `{"profile_name":"One","url":"https://mdm.example.com/ade","is_mdm_removable":false,"new_key":{"x":1}}`, string(profile))
	require.Equal(t, dep.ProfilePushed, device("A").ProfileStatus)
	require.Equal(t, now.now(), device("A").ProfilePushTime)

	var second, answer assigned
	c.call("POST", "/profile", object{"profile_name": "Two", "url": "https://mdm.example.com/ade"}, &second)
	for _, method := range []string{"PUT", "POST"} {
		c.call(method, "/profile/devices", object{"profile_uuid": second.UUID, "devices": []string{"A", "B"}}, &answer)
		require.Equal(t, map[string]string{"A": "SUCCESS", "B": "SUCCESS"}, answer.Devices)
	}
	require.Equal(t, second.UUID, device("A").ProfileUUID)
	require.Equal(t, dep.ProfileAssigned, device("A").ProfileStatus)
	require.True(t, device("A").ProfilePushTime.IsZero())
	require.Equal(t, mdmtest.ABMFingerprint("A", second.UUID)+mdmtest.ABMFingerprint("B", second.UUID), abm.Fingerprint(hq))

	answer = assigned{}
	c.call("DELETE", "/profile/devices", object{"profile_uuid": first.UUID, "devices": []string{"A"}}, &answer)
	require.Equal(t, map[string]string{"A": "NOT_ACCESSIBLE"}, answer.Devices, "it has another")
	answer = assigned{}
	c.call("DELETE", "/profile/devices", object{"devices": []string{"A", "C"}}, &answer)
	require.Equal(t, map[string]string{"A": "SUCCESS", "C": "NOT_ACCESSIBLE"}, answer.Devices)
	require.Equal(t, dep.ProfileRemoved, device("A").ProfileStatus)
	require.Empty(t, device("A").ProfileUUID)
	require.Equal(t, "A modified, A modified, A modified, B modified, A modified, B modified, A modified", c.page(abmSync, cursor, 0).ops())

	abm.Move(branch, "B")
	require.Empty(t, device("B").ProfileUUID, "a device that moves has no profile")
	require.Empty(t, abm.Violations())
	require.Equal(t, 5, abm.Totals().Assigned)
	require.Equal(t, 2, abm.Totals().Needless, "POST after PUT")

	other := newABMClient(t, abm, branch, now.now)
	other.login()
	other.refused(404, "NOT_FOUND", "GET", "/profile?profile_uuid="+first.UUID, nil)
	c.refused(404, "NOT_FOUND", "PUT", "/profile/devices", object{"profile_uuid": "x", "devices": []string{"A"}})
	c.refused(400, "PROFILE_UUID_REQUIRED", "PUT", "/profile/devices", object{"devices": []string{"A"}})
	c.refused(400, "DEVICE_ID_REQUIRED", "PUT", "/profile/devices", object{"profile_uuid": first.UUID})
	c.refused(400, "MALFORMED_REQUEST_BODY", "PUT", "/profile/devices", object{"profile_uuid": first.UUID, "devices": strings.Split(strings.Repeat("A,", 1000), ",")})
	require.Len(t, abm.Violations(), 5)
	c.call("PUT", "/profile/devices", object{"profile_uuid": first.UUID, "devices": []string{"A", "A"}}, nil)
	require.Contains(t, abm.Violations()[5], "unwise: ")
}

func TestABMRefusesProfilesThatAreWrong(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	c := newABMClient(t, abm, abm.Server("HQ"), nil)
	c.login()
	good := object{"profile_name": strings.Repeat("ä", 125), "url": "https://mdm.example.com/", "is_supervised": true, "is_mdm_removable": false,
		"language": "en", "region": "US", "skip_setup_items": []string{"Passcode"}, "anchor_certs": []string{}}
	var answer assigned
	c.call("POST", "/profile", good, &answer)
	require.NotEmpty(t, answer.UUID)
	require.Empty(t, abm.Violations())
	for _, tt := range []struct {
		code, key string
		value     any
	}{
		{"CONFIG_NAME_REQUIRED", "profile_name", " "},
		{"CONFIG_NAME_REQUIRED", "profile_name", nil},
		{"CONFIG_NAME_INVALID", "profile_name", strings.Repeat("x", 126)},
		{"CONFIG_NAME_INVALID", "profile_name", 1},
		{"CONFIG_URL_REQUIRED", "url", ""},
		{"CONFIG_URL_INVALID", "url", "http://mdm.example.com/"},
		{"CONFIG_URL_INVALID", "url", "https://mdm.example.com/" + strings.Repeat("x", 2000)},
		{"CONFIG_URL_INVALID", "configuration_web_url", "mdm.example.com"},
		{"DEPARTMENT_INVALID", "department", strings.Repeat("x", 126)},
		{"SUPPORT_PHONE_INVALID", "support_phone_number", strings.Repeat("1", 51)},
		{"SUPPORT_EMAIL_INVALID", "support_email_address", strings.Repeat("x", 251)},
		{"MAGIC_INVALID", "org_magic", strings.Repeat("x", 257)},
		{"FLAGS_INVALID", "is_supervised", false},
		{"FLAGS_INVALID", "is_mandatory", "yes"},
		{"LOCALE_INVALID", "language", "EN"},
		{"LOCALE_INVALID", "region", "us"},
		{"LOCALE_INVALID", "region", "USA"},
		{"MALFORMED_REQUEST_BODY", "skip_setup_items", "Passcode"},
		{"MALFORMED_REQUEST_BODY", "anchor_certs", []string{"AA\nAA"}},
		{"MALFORMED_REQUEST_BODY", "anchor_certs", []string{base64.StdEncoding.EncodeToString([]byte("no certificate"))}},
		{"MALFORMED_REQUEST_BODY", "devices", "A"},
	} {
		before := len(abm.Violations())
		bad := maps.Clone(good)
		bad[tt.key] = tt.value
		status, text, _ := c.ask("POST", "/profile", bad, nil)
		assert.Equal(t, tt.code, text, tt.key)
		assert.Equal(t, 400, status)
		assert.Len(t, abm.Violations(), before+1)
	}
	c.refused(400, "PROFILE_UUID_REQUIRED", "GET", "/profile", nil)
}

func TestABMScriptsWhatDevicesAreAnswered(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now, AssignBy: "POST", NotFound: 400, Cooldown: 10 * time.Minute})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, now.now)
	abm.AddSerials(hq, "A", "B", "C")
	c.login()
	var profile assigned
	c.call("POST", "/profile", object{"profile_name": "One", "url": "https://mdm.example.com/"}, &profile)
	body := object{"profile_uuid": profile.UUID, "devices": []string{"A", "B", "C"}}
	c.refused(405, "METHOD_NOT_ALLOWED", "PUT", "/profile/devices", body)
	c.refused(400, "NOT_FOUND", "GET", "/profile?profile_uuid=x", nil)
	require.Len(t, abm.Violations(), 1, "that PUT is not taken is the script's fault")

	assign := func(version string) assigned {
		c.header["X-Server-Protocol-Version"] = []string{version}
		var a assigned
		c.call("POST", "/profile/devices", body, &a)
		return a
	}
	abm.Say("FAILED", 2, "A")
	abm.Say("THROTTLED", 1, "B")
	got := assign("10")
	require.Equal(t, map[string]string{"A": "FAILED", "B": "THROTTLED", "C": "SUCCESS"}, got.Devices)
	require.Equal(t, 3600, got.RetryAfter)
	now.add(4 * time.Minute)
	got = assign("10")
	require.Equal(t, map[string]string{"A": "FAILED", "B": "SUCCESS", "C": "THROTTLED"}, got.Devices)
	require.Equal(t, 360, got.RetryAfter)
	got = assign("9")
	require.Equal(t, map[string]string{"A": "SUCCESS", "B": "THROTTLED", "C": "THROTTLED"}, got.Devices)
	require.Zero(t, got.RetryAfter)
	require.Equal(t, "FAILED", assign("8").Devices["A"])
	now.add(10 * time.Minute)
	require.Equal(t, map[string]string{"A": "SUCCESS", "B": "SUCCESS", "C": "SUCCESS"}, assign("10").Devices)
	abm.Say("", 1, "A", "B")
	require.Equal(t, map[string]string{"C": "THROTTLED"}, assign("10").Devices)
	abm.Say("SUCCESS", 1, "A")
	abm.SetOddities(mdmtest.ABMOddities{QuietChanges: true})
	_, cursor := c.all(abmFetch, "", 0)
	now.add(10 * time.Minute)
	require.Equal(t, "SUCCESS", assign("10").Devices["A"])
	d, _, _ := abm.Device("A")
	require.Equal(t, now.now().Add(-10*time.Minute), d.ProfileAssignTime, "it was not true")
	require.Empty(t, c.page(abmSync, cursor, 0).Devices)
	require.Len(t, abm.Violations(), 1)
}

func TestABMOtherCalls(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, now.now)
	abm.AddMany(hq, 4)
	phone, tv := mdmtest.ABMSerial(0), mdmtest.ABMSerial(3)
	key := strings.Repeat("AB", 32)
	lock := func(serial string) string {
		var a map[string]string
		c.call("POST", "/device/activationlock", object{"device": serial, "escrow_key": key, "lost_message": "call us"}, &a)
		require.Equal(t, serial, a["serial_number"])
		return a["response_status"]
	}
	require.Equal(t, "SUCCESS", lock(phone))
	require.Equal(t, "DEVICE_ALREADY_LOCKED", lock(phone))
	require.Equal(t, "DEVICE_NOT_SUPPORTED", lock(tv))
	require.Equal(t, "NOT_ACCESSIBLE", lock("X"))
	escrow, message, ok := abm.Locked(phone)
	require.True(t, ok)
	require.Equal(t, key, escrow)
	require.Equal(t, "call us", message)
	abm.Unlock(phone)
	abm.Lock(phone)
	require.Equal(t, "DEVICE_ALREADY_LOCKED", lock(phone))

	var tokens struct {
		Tokens []struct{ OS, Title, Token string } `json:"betaEnrollmentTokens"`
	}
	c.call("GET", "/os-beta-enrollment/tokens", nil, &tokens)
	require.Len(t, tokens.Tokens, 2)
	abm.TurnOffSeedForIT(true)
	c.refused(403, "APPLE_SEED_FOR_IT_TURNED_OFF", "GET", "/os-beta-enrollment/tokens", nil)

	const discovery = "/account-driven-enrollment/profile"
	c.refused(404, "NOT_FOUND", "GET", discovery, nil)
	c.call("POST", discovery, object{"mdm_service_discovery_url": "https://mdm.example.com/d"}, nil)
	require.Equal(t, "https://mdm.example.com/d", hq.DiscoveryURL())
	var set map[string]string
	c.call("GET", discovery, nil, &set)
	require.Equal(t, map[string]string{"mdm_service_discovery_url": "https://mdm.example.com/d", "last_updated_timestamp": "2026-11-01T09:00:00Z"}, set)
	c.call("DELETE", discovery, nil, nil)
	require.Empty(t, hq.DiscoveryURL())

	var gone assigned
	c.call("POST", "/devices/disown", object{"devices": []string{tv, "X"}}, &gone)
	require.Equal(t, map[string]string{tv: "SUCCESS", "X": "NOT_ACCESSIBLE"}, gone.Devices)
	_, of, ok := abm.Device(tv)
	require.True(t, ok)
	require.Nil(t, of)
	require.Empty(t, abm.Violations())

	c.refused(400, "MDM_SERVICE_DISCOVERY_URL_REQUIRED", "POST", discovery, object{})
	c.refused(400, "MDM_SERVICE_DISCOVERY_URL_NOT_VALID", "POST", discovery, object{"mdm_service_discovery_url": "mdm"})
	c.refused(400, "DEVICE_ID_REQUIRED", "POST", "/device/activationlock", object{})
	c.refused(400, "MALFORMED_REQUEST_BODY", "POST", "/device/activationlock", object{"device": phone, "escrow_key": "00"})
	require.Len(t, abm.Violations(), 4)

	old := startABM(t, mdmtest.ABMConfig{OrgVersion: "v1"})
	c = newABMClient(t, old, old.Server("HQ"), nil)
	require.Equal(t, "ORG_NOT_SUPPORTED", lock("X"))
	c.refused(403, "ORG_NOT_SUPPORTED", "GET", discovery, nil)
	c.refused(403, "ORG_NOT_SUPPORTED", "POST", discovery, object{})
}
