package dep_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// FuzzReadToken reads files, and what may be in them.
func FuzzReadToken(f *testing.F) {
	pair := tokenPair()
	der := seal(f, inner(tokenBody), pair)
	for _, file := range [][]byte{der, []byte(smimeHead + lines(der)), []byte(lines(der)), []byte(inner(tokenBody)), []byte(tokenBody), pair.Certificate} {
		f.Add(file, false)
		f.Add(file, true)
	}
	f.Fuzz(func(t *testing.T, file []byte, sealed bool) {
		if sealed {
			file = seal(t, string(file), pair)
		}
		token, err := dep.ReadToken(file, pair)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			require.Zero(t, token.ConsumerKey)
			return
		}
		require.NotEmpty(t, token.ConsumerKey)
		require.False(t, token.Expires.IsZero())
		require.False(t, token.AccessSecret.IsZero())
	})
}

// FuzzProfile wants what was read and written to be the same when it is read again.
func FuzzProfile(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(fullProfile, "%", "MIIB\\n\\r AA==")))
	f.Add([]byte(`{"url":7,"devices":[1],"is_mdm_removable":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again dep.Profile
		if json.Unmarshal(data, &p) != nil {
			return
		}
		_ = p.Check()
		first, err := json.Marshal(p)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(first, &again))
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(first), string(second))
	})
}

// FuzzAnswer has the service answer with anything, to every call.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"cursor":"c","devices":[{"serial_number":"C01"}],"more_to_follow":"true","retry_after_seconds":1e9}`, "1")
	f.Add(200, `{"devices":{"C01":"SUCCESS","C02":{"response_status":"X"}},"profile_uuid":"U"}`, "")
	f.Add(200, accountBody, "")
	f.Add(403, `{"errors":[{"code":"T_C_NOT_SIGNED"}]}`, "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		if status < 200 || status > 599 {
			return
		}
		client := &dep.Client{Token: dep.StaticToken(callsToken()), MaxWait: -1, HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"auth_session_token":"s"}`)), Request: r}
			if r.URL.Path != "/session" {
				resp.StatusCode, resp.Body = status, io.NopCloser(strings.NewReader(body))
				resp.Header.Set("Retry-After", after)
				resp.Header.Set("X-ADM-Auth-Session", after)
			}
			return resp, nil
		})}}
		ctx := t.Context()
		_, err1 := client.Account(ctx)
		page, err2 := client.FetchDevices(ctx, "", 10)
		_, err3 := client.DeviceDetails(ctx, []string{"C01"})
		done, err4 := client.AssignProfile(ctx, "U", []string{"C01"})
		_, _, err5 := client.DefineProfile(ctx, dep.Profile{Name: "x", URL: "https://example.com"})
		_, err6 := client.Profile(ctx, "U")
		_, err7 := client.AccountDrivenProfile(ctx)
		for _, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
			if err == nil {
				continue
			}
			var e *dep.Error
			require.ErrorAs(t, err, &e)
			require.NotEqual(t, mdm.Internal, mdm.CodeOf(err))
			require.NotEqual(t, mdm.Unmanaged, mdm.CodeOf(err))
			require.Equal(t, -1, strings.IndexFunc(err.Error(), unicode.IsControl))
			require.Less(t, len(err.Error()), 2000)
		}
		for _, d := range page.Devices {
			require.True(t, dep.IsSerial(d.SerialNumber))
		}
		for serial := range done.Devices {
			require.True(t, dep.IsSerial(serial))
		}
		require.GreaterOrEqual(t, done.RetryAfter.Seconds(), 0.0)
	})
}

func FuzzParseBypassCode(f *testing.F) {
	f.Add("000H4-0R40M-30F2-0918-5HR3-8F17")
	f.Add("ZZZZZ ZZZZZ ZZZZ ZZZZ ZZZZ ZZZ8")
	f.Fuzz(func(t *testing.T, text string) {
		code, err := dep.ParseBypassCode(text)
		if err != nil {
			require.True(t, code.IsZero())
			return
		}
		again, err := dep.ParseBypassCode(string(code.Text().Reveal()))
		require.NoError(t, err)
		require.True(t, code.Equal(again))
	})
}
