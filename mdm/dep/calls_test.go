package dep_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

const accountBody = `{"server_name":"IT","server_uuid":"677cab70-fe18-11e2-b778-0800200c9a66","facilitator_id":"a@example.com","org_name":"Example",
	"org_email":"o@example.com","org_phone":"1","org_address":"Street 1","org_id":"ORG1","org_id_hash":"abc","org_type":"org","org_version":"v2",
	"urls":[{"uri":"/server/devices","http_method":["POST"],"limit":{"default":100,"maximum":500}},
	{"uri":"https://mdmenrollment.apple.com/profile/devices/","http_method":["put","DELETE"],"limit":{"default":2,"maximum":2}}],"newer":{"x":[1]}}`

func TestAccount(t *testing.T) {
	s := newService(t, says(200, accountBody))
	a, err := s.client.Account(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "GET /account", s.last().Name)
	assert.Equal(t, "a@example.com", a.AdminID)
	assert.Equal(t, "677cab70-fe18-11e2-b778-0800200c9a66", a.ServerUUID)
	assert.Equal(t, "v2", a.OrgVersion)
	assert.JSONEq(t, `{"x":[1]}`, string(a.Extra["newer"]))
	l := dep.Limits(a.URLs)
	assert.Equal(t, 500, l.Max("POST", "/server/devices"))
	assert.Equal(t, 2, l.Max("PUT", "/profile/devices"))
	assert.Equal(t, 2, l.Max("POST", "/profile/devices"), "of another method")
	assert.Equal(t, dep.MaxBatch, l.Max("POST", "/devices"))
	assert.Equal(t, dep.MaxBatch, dep.Limits(nil).Max("POST", "/devices"))
	odd := dep.Limits{{URI: "::", Methods: nil}, {URI: "/devices"}}
	odd[1].Limit.Maximum = 1 << 40
	assert.Equal(t, dep.MaxBatch, odd.Max("POST", "/devices"))
	odd[1].Limit.Maximum = -3
	assert.Equal(t, dep.MaxBatch, odd.Max("POST", "/devices"))

	data, err := json.Marshal(a)
	require.NoError(t, err)
	var again dep.Account
	require.NoError(t, json.Unmarshal(data, &again))
	assert.Equal(t, a, again)
	require.NoError(t, json.Unmarshal([]byte(`{"urls":"none","org_name":7}`), &again))
	assert.Empty(t, again.URLs)
	assert.Len(t, again.Extra, 2, "what is odd is kept")
}

func TestPages(t *testing.T) {
	page := `{"cursor":"c2","fetched_until":"2026-02-28T10:11:12Z","more_to_follow":%s,"devices":[
		{"serial_number":"C01","model":"iPad","op_type":"added","op_date":"2026-02-28T10:00:00Z","new":1},
		17, {"model":"no serial number"}, {"serial_number":"two words"}, {"serial_number":"C02","imei":"odd"}]}`
	for more, want := range map[string]bool{"true": true, "false": false, `"true"`: true, `"false"`: false, "null": false, "1": false} {
		s := newService(t, says(200, fmt.Sprintf(page, more)))
		p, err := s.client.FetchDevices(t.Context(), "", 0)
		require.NoError(t, err)
		assert.Equal(t, want, p.More, more)
		assert.Equal(t, "c2", p.Cursor)
		assert.Equal(t, time.Date(2026, 2, 28, 10, 11, 12, 0, time.UTC), p.FetchedUntil)
		require.Len(t, p.Devices, 2)
		assert.Equal(t, 3, p.Unreadable)
		assert.Equal(t, "C01", p.Devices[0].SerialNumber)
		assert.JSONEq(t, "1", string(p.Devices[0].Extra["new"]))
		assert.Equal(t, asked{Name: "POST /server/devices", Body: map[string]any{}}, asked{Name: s.last().Name, Body: s.last().Body})

		p, err = s.client.SyncDevices(t.Context(), "c1", 7)
		require.NoError(t, err)
		assert.Equal(t, "added", p.Devices[0].OpType)
		assert.Equal(t, "POST /devices/sync", s.last().Name)
		assert.Equal(t, map[string]any{"cursor": "c1", "limit": 7.0}, s.last().Body)
	}
	s := newService(t, says(200, fmt.Sprintf(page, "false")))
	_, err := s.client.SyncDevices(t.Context(), "", 1)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Empty(t, s.names())
	_, err = s.client.FetchDevices(t.Context(), "c", 5000)
	require.NoError(t, err)
	assert.InDelta(t, 1000, s.last().Body["limit"], 0)
	for _, body := range []string{
		`{"devices":[],"more_to_follow":true}`, `{}`, `null`, `{"cursor":7}`, `{"cursor":"` + strings.Repeat("x", 5000) + `","devices":[]}`, `{"cursor":"c","devices":{}}`,
	} {
		s.answer = says(200, body)
		_, err = s.client.FetchDevices(t.Context(), "c", 5)
		require.ErrorIs(t, err, dep.ErrUnavailable, body)
	}
	s.answer = says(200, `{"cursor":"c","devices":[]}`)
	p, err := s.client.FetchDevices(t.Context(), "c", 5)
	require.NoError(t, err)
	assert.Equal(t, dep.DevicePage{Cursor: "c"}, p)
}

// TestLimitsOfTheAccount: calls ask for what Account told, and for what Limits says before.
func TestLimitsOfTheAccount(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, a asked) {
		if a.Name == "GET /account" {
			_, _ = io.WriteString(w, accountBody)
			return
		}
		_, _ = io.WriteString(w, `{"cursor":"c","devices":[]}`)
	})
	s.client.Limits = dep.Limits{{URI: "/server/devices"}}
	s.client.Limits[0].Limit.Maximum = 20
	for _, want := range []float64{20, 500} {
		_, err := s.client.FetchDevices(t.Context(), "", 900)
		require.NoError(t, err)
		assert.InDelta(t, want, s.last().Body["limit"], 0)
		_, err = s.client.Account(t.Context())
		require.NoError(t, err)
	}
}

func TestDeviceDetails(t *testing.T) {
	for _, form := range []string{`{"devices":{%s}}`, `{%s}`} {
		s := newService(t, says(200, fmt.Sprintf(form, `"C01":{"serial_number":"C01","model":"Mac","response_status":"SUCCESS"},"C02":{"response_status":"NOT_FOUND"},"C03":7`)))
		found, err := s.client.DeviceDetails(t.Context(), []string{"C01", "C02", "C03", "C01"})
		require.NoError(t, err)
		assert.Equal(t, "POST /devices", s.last().Name)
		assert.Equal(t, map[string]any{"devices": []any{"C01", "C02", "C03"}}, s.last().Body)
		assert.Equal(t, map[string]dep.Device{
			"C01": {SerialNumber: "C01", Model: "Mac", ResponseStatus: dep.StatusSuccess},
			"C02": {SerialNumber: "C02", ResponseStatus: dep.StatusNotFound},
		}, found)
	}
}

// serials makes so many of them.
func serials(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("C%06d", i)
	}
	return list
}

// TestBatches asks in pieces, and keeps what was answered before a failure.
func TestBatches(t *testing.T) {
	calls := map[string]func(c *dep.Client, list []string) (map[string]string, error){
		"POST /devices": func(c *dep.Client, list []string) (map[string]string, error) {
			found, err := c.DeviceDetails(t.Context(), list)
			out := map[string]string{}
			for serial, d := range found {
				out[serial] = d.ResponseStatus
			}
			return out, err
		},
		"POST /devices/disown": func(c *dep.Client, list []string) (map[string]string, error) { return c.Disown(t.Context(), list) },
		"PUT /profile/devices": func(c *dep.Client, list []string) (map[string]string, error) {
			a, err := c.AssignProfile(t.Context(), "UUID", list)
			return a.Devices, err
		},
		"DELETE /profile/devices": func(c *dep.Client, list []string) (map[string]string, error) {
			return c.UnassignProfile(t.Context(), "", list)
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			var sizes []int
			fail := 0
			s := newService(t, func(w http.ResponseWriter, a asked) {
				list := a.Body["devices"].([]any)
				sizes = append(sizes, len(list))
				if len(sizes) == fail {
					says(500, "")(w, a)
					return
				}
				out := map[string]any{}
				for _, serial := range list {
					out[serial.(string)] = map[string]string{"response_status": "SUCCESS"}
				}
				assert.NoError(t, json.NewEncoder(w).Encode(map[string]any{"devices": out}))
			})
			list := serials(2100)
			done, err := call(s.client, list)
			require.NoError(t, err)
			assert.Equal(t, []int{1000, 1000, 100}, sizes)
			assert.Len(t, done, 2100)
			assert.Equal(t, "SUCCESS", done["C002099"])
			assert.Equal(t, name, s.last().Name)

			sizes, fail = nil, 2
			done, err = call(s.client, list)
			require.ErrorIs(t, err, dep.ErrUnavailable)
			assert.Len(t, done, 1000, "what was answered")
			assert.Len(t, sizes, 2)

			sizes = nil
			done, err = call(s.client, nil)
			require.NoError(t, err)
			assert.Empty(t, done)
			done, err = call(s.client, []string{"C01", "not a serial"})
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			assert.Empty(t, done)
			assert.Empty(t, sizes, "nothing was asked")
		})
	}
}

func TestDefineProfile(t *testing.T) {
	s := newService(t, says(200, `{"profile_uuid":"88FC4E378FEA4021A94B2D7268FBF767","devices":{"C01":"SUCCESS","C02":"NOT_ACCESSIBLE","C03":1}}`))
	p := dep.Profile{Name: "Staff", URL: "https://mdm.example.com/ade", Devices: []string{"C01", "C02"}, SkipSetupItems: []string{dep.SkipSiri}}
	uuid, devices, err := s.client.DefineProfile(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, "88FC4E378FEA4021A94B2D7268FBF767", uuid)
	assert.Equal(t, map[string]string{"C01": dep.StatusSuccess, "C02": dep.StatusNotAccessible}, devices)
	assert.Equal(t, "POST /profile", s.last().Name)
	assert.Equal(t, map[string]any{
		"profile_name": "Staff", "url": "https://mdm.example.com/ade", "devices": []any{"C01", "C02"}, "skip_setup_items": []any{"Siri"},
	}, s.last().Body)

	s.answer = says(200, `{"profile_uuid":"U","devices":[]}`)
	uuid, devices, err = s.client.DefineProfile(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, "U", uuid)
	assert.Empty(t, devices)
	s.answer = says(200, `{}`)
	_, _, err = s.client.DefineProfile(t.Context(), p)
	require.ErrorIs(t, err, dep.ErrUnavailable)
	p.URL = ""
	_, _, err = s.client.DefineProfile(t.Context(), p)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Len(t, s.names(), 3)
}

func TestProfile(t *testing.T) {
	s := newService(t, says(200, `{"profile_uuid":"U 1","profile_name":"Staff","url":"https://mdm.example.com","is_mdm_removable":"false"}`))
	p, err := s.client.Profile(t.Context(), "U&1")
	require.NoError(t, err)
	assert.Equal(t, url.Values{"profile_uuid": {"U&1"}}, s.last().Query)
	assert.Equal(t, "Staff", p.Name)
	require.NotNil(t, p.IsMDMRemovable)
	assert.False(t, *p.IsMDMRemovable)
	_, err = s.client.Profile(t.Context(), "")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

// TestAssignFallsBack: PUT is refused, POST is taken, and remembered.
func TestAssignFallsBack(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, a asked) {
		if strings.HasPrefix(a.Name, "PUT") {
			says(405, "")(w, a)
			return
		}
		says(200, `{"profile_uuid":"U","devices":{"C01":"THROTTLED","C02":"SUCCESS"},"retry_after_seconds":3600}`)(w, a)
	})
	for range 2 {
		done, err := s.client.AssignProfile(t.Context(), "U", []string{"C01", "C02"})
		require.NoError(t, err)
		assert.Equal(t, dep.Assigned{Devices: map[string]string{"C01": dep.StatusThrottled, "C02": dep.StatusSuccess}, RetryAfter: time.Hour}, done)
		assert.Equal(t, map[string]any{"profile_uuid": "U", "devices": []any{"C01", "C02"}}, s.last().Body)
	}
	assert.Equal(t, []string{"PUT /profile/devices", "POST /profile/devices", "POST /profile/devices"}, s.names())

	s = newService(t, says(405, ""))
	_, err := s.client.AssignProfile(t.Context(), "U", []string{"C01"})
	require.Error(t, err)
	s.answer = says(200, `{"devices":{"C01":"SUCCESS"},"retry_after_seconds":"60"}`)
	done, err := s.client.AssignProfile(t.Context(), "U", []string{"C01"})
	require.NoError(t, err)
	assert.Equal(t, time.Minute, done.RetryAfter)
	assert.Equal(t, "PUT /profile/devices", s.last().Name, "POST did no better, so that it is not remembered")
	for seconds, want := range map[string]time.Duration{"-1": 0, "null": 0, `"x"`: 0, "1e30": 48 * time.Hour, "1.5": 1500 * time.Millisecond, "{}": 0} {
		s.answer = says(200, `{"devices":{"C01":"SUCCESS"},"retry_after_seconds":`+seconds+`}`)
		done, err = s.client.AssignProfile(t.Context(), "U", []string{"C01"})
		require.NoError(t, err)
		assert.Equal(t, want, done.RetryAfter, seconds)
	}
	s.answer = says(400, "NOT_FOUND")
	_, err = s.client.AssignProfile(t.Context(), "U", []string{"C01"})
	require.ErrorIs(t, err, dep.ErrNotFound)
	_, err = s.client.AssignProfile(t.Context(), " ", []string{"C01"})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func TestUnassign(t *testing.T) {
	s := newService(t, says(200, `{"profile_uuid":"U","C01":"SUCCESS"}`))
	done, err := s.client.UnassignProfile(t.Context(), "U", []string{"C01"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"C01": "SUCCESS"}, done)
	assert.Equal(t, "DELETE /profile/devices", s.last().Name)
	assert.Equal(t, map[string]any{"profile_uuid": "U", "devices": []any{"C01"}}, s.last().Body)
	_, err = s.client.UnassignProfile(t.Context(), "", []string{"C01"})
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"devices": []any{"C01"}}, s.last().Body)
	_, err = s.client.UnassignProfile(t.Context(), "a b", []string{"C01"})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func TestLockActivation(t *testing.T) {
	s := newService(t, nil)
	key := strings.Repeat("aB", 32)
	for _, status := range []string{dep.StatusSuccess, dep.StatusNotAccessible, dep.StatusOrgNotSupported, dep.StatusDeviceNotSupported, dep.StatusAlreadyLocked, dep.StatusFailed, "NEWER"} {
		s.answer = says(200, `{"serial_number":"C01","response_status":"`+status+`"}`)
		got, err := s.client.LockActivation(t.Context(), "C01", key, "Call us")
		require.NoError(t, err)
		assert.Equal(t, status, got)
	}
	assert.Equal(t, "POST /device/activationlock", s.last().Name)
	assert.Equal(t, map[string]any{"device": "C01", "escrow_key": strings.ToUpper(key), "lost_message": "Call us"}, s.last().Body)
	_, err := s.client.LockActivation(t.Context(), "C01", "", "")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"device": "C01"}, s.last().Body)
	before := len(s.names())
	for _, bad := range [][3]string{{"", "", ""}, {"C01", "000H4-0R40M-30F2-0918-5HR3-8F17", ""}, {"C01", key + "0", ""}, {"C01", "", strings.Repeat("x", 1001)}, {"C01", "", "\xff"}} {
		_, err := s.client.LockActivation(t.Context(), bad[0], bad[1], bad[2])
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), bad)
	}
	assert.Len(t, s.names(), before)
	s.answer = says(200, `{}`)
	_, err = s.client.LockActivation(t.Context(), "C01", "", "")
	require.ErrorIs(t, err, dep.ErrUnavailable)
}

func TestBetaTokens(t *testing.T) {
	s := newService(t, says(200, `{"betaEnrollmentTokens":[{"os":"iOS","title":"iOS 27 Beta","token":"abc"},{"os":"OSX","title":"macOS 27 Beta","token":"def"}]}`))
	tokens, err := s.client.BetaTokens(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []dep.BetaToken{{OS: "iOS", Title: "iOS 27 Beta", Token: "abc"}, {OS: "OSX", Title: "macOS 27 Beta", Token: "def"}}, tokens)
	assert.Equal(t, "GET /os-beta-enrollment/tokens", s.last().Name)
	s.answer = says(403, "APPLE_SEED_FOR_IT_TURNED_OFF")
	_, err = s.client.BetaTokens(t.Context())
	require.ErrorIs(t, err, dep.ErrBetaTurnedOff)
}

func TestAccountDriven(t *testing.T) {
	const discovery = "https://mdm.example.com/.well-known/com.apple.remotemanagement"
	s := newService(t, says(200, ""))
	require.NoError(t, s.client.SetAccountDrivenProfile(t.Context(), discovery))
	assert.Equal(t, "POST /account-driven-enrollment/profile", s.last().Name)
	assert.Equal(t, map[string]any{"mdm_service_discovery_url": discovery}, s.last().Body)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(s.client.SetAccountDrivenProfile(t.Context(), "http://mdm.example.com")))

	s.answer = says(200, `{"mdm_service_discovery_url":"`+discovery+`","last_updated_timestamp":"2026-01-02T03:04:05Z"}`)
	got, err := s.client.AccountDrivenProfile(t.Context())
	require.NoError(t, err)
	assert.Equal(t, dep.AccountDriven{URL: discovery, Updated: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, got)
	assert.Equal(t, "GET /account-driven-enrollment/profile", s.last().Name)

	s.answer = says(404, "")
	require.ErrorIs(t, s.client.RemoveAccountDrivenProfile(t.Context()), dep.ErrNotFound)
	assert.Equal(t, "DELETE /account-driven-enrollment/profile", s.last().Name)
	assert.Nil(t, s.last().Body)
}

func TestReplacement(t *testing.T) {
	s := newService(t, says(200, `{"serial_number":"C02","original_device_serial_number":"C01","replacement_date":"2026-01-02"}`))
	got, err := s.client.Replacement(t.Context(), "C02")
	require.NoError(t, err)
	assert.Equal(t, dep.Replacement{Serial: "C02", Original: "C01", Date: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}, got)
	assert.Equal(t, "GET /device/replacementDetails", s.last().Name)
	assert.Equal(t, url.Values{"device": {"C02"}}, s.last().Query)
	_, err = s.client.Replacement(t.Context(), "")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}
