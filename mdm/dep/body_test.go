package dep

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

var august = time.Date(2027, 8, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 7200))

func TestRecordBody(t *testing.T) {
	r := Record{Server: Key{Tenant: "t", Name: "a"}, Serial: "C02", GoneAt: august, SeenAt: august, Assignment: Assignment{Due: august, At: august},
		Device: Device{SerialNumber: "C02", OpDate: august, Extra: map[string]json.RawMessage{"a": json.RawMessage("\"\xff\"")}}}
	text, err := r.Body()
	require.NoError(t, err)
	assert.True(t, strings.ToValidUTF8(text, "") == text)
	assert.Equal(t, august, r.SeenAt, "the record itself stays as it is")
	var got Record
	require.NoError(t, got.SetBody(text))
	ours := august.UTC().Truncate(time.Microsecond)
	want := r
	want.GoneAt, want.SeenAt, want.Assignment.Due, want.Assignment.At, want.Device.OpDate = ours, ours, ours, ours, august.UTC()
	want.Device.Extra = map[string]json.RawMessage{"a": json.RawMessage("\"\ufffd\"")}
	assert.Equal(t, want, got)
	again, err := got.Body()
	require.NoError(t, err)
	assert.Equal(t, text, again)

	text, err = Record{}.Body()
	require.NoError(t, err)
	assert.Equal(t, `{"Server":{"Tenant":"","Name":""},"Serial":"","Device":{}}`, text, "what is not set takes no room")
	got = r
	require.NoError(t, got.SetBody(text))
	assert.Equal(t, Record{}, got, "nothing is left of what it was")
	assert.Equal(t, mdm.Internal, mdm.CodeOf(got.SetBody("{")))
	for _, bad := range []Record{{Want: strings.Repeat("x", MaxBody)}, {SeenAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Device: Device{Extra: map[string]json.RawMessage{"a": json.RawMessage("{")}}}} {
		_, err = bad.Body()
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
}

func TestServerBody(t *testing.T) {
	s := Server{Key: Key{Name: "a"}, KeyPair: KeyPair{Certificate: []byte("c"), Key: mdm.SecretString("PLAIN-k")}, AddedAt: august, Stopped: &Problem{Since: august},
		Token: Token{ConsumerKey: "CK", ConsumerSecret: mdm.SecretString("PLAIN-c"), AccessToken: mdm.SecretString("PLAIN-a"), AccessSecret: mdm.SecretString("PLAIN-s"), Expires: august}}
	text, err := s.Body()
	require.NoError(t, err)
	assert.NotContains(t, text, "PLAIN")
	assert.Equal(t, august, s.Stopped.Since, "the server itself stays as it is")
	secrets, err := s.Secrets()
	require.NoError(t, err)
	var got Server
	require.NoError(t, got.SetBody(text))
	assert.True(t, got.KeyPair.Key.IsZero())
	require.NoError(t, got.SetSecrets(secrets))
	ours := august.UTC().Truncate(time.Microsecond)
	assert.Equal(t, []time.Time{ours, ours, ours}, []time.Time{got.AddedAt, got.Stopped.Since, got.Token.Expires})
	assert.Equal(t, "PLAIN-k PLAIN-c PLAIN-a PLAIN-s", fmt.Sprintf("%s %s %s %s", got.KeyPair.Key.Reveal(), got.Token.ConsumerSecret.Reveal(), got.Token.AccessToken.Reveal(),
		got.Token.AccessSecret.Reveal()))
	again, err := got.Secrets()
	require.NoError(t, err)
	assert.True(t, secrets.Equal(again))
	err = got.SetSecrets(mdm.SecretString(`{"Key":"PLAIN`))
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
	assert.NotContains(t, err.Error(), "PLAIN")
	assert.Equal(t, mdm.Internal, mdm.CodeOf(got.SetBody("")))
	s.Token.Expires = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err = s.Secrets()
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func TestCompareRecords(t *testing.T) {
	at := func(n int) time.Time { return august.AddDate(0, 0, n) }
	record := func(name string, gone bool, assigned, op time.Time) Record {
		return Record{Server: Key{Name: name}, Gone: gone, Device: Device{DeviceAssignedDate: assigned, OpDate: op}}
	}
	want := []Record{
		record("fetched", false, at(9), time.Time{}), record("synced", false, at(1), at(5)), record("a", false, time.Time{}, time.Time{}),
		record("b", false, time.Time{}, time.Time{}), record("gone", true, at(1), at(20)), record("gone before", true, at(10), time.Time{}),
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareRecords)
	assert.Equal(t, want, got)
}

func TestKeptCheck(t *testing.T) {
	key := Key{Tenant: "t", Name: "a"}
	many := make([]Record, MaxBatch+1)
	for i := range many {
		many[i] = Record{Server: key, Serial: fmt.Sprint("C", i)}
	}
	require.NoError(t, Kept{}.Check(key))
	require.NoError(t, Kept{Records: many[1:], Events: []mdm.Event{many[0].Event(mdm.EventDeviceAdded, august, "")}}.Check(key))
	for what, k := range map[string]Kept{
		"many":    {Records: many},
		"twice":   {Records: []Record{many[0], many[1], many[0]}},
		"foreign": {Records: []Record{many[0], {Server: Key{Name: "a"}, Serial: "C"}}},
		"serial":  {Records: []Record{{Server: key}}},
		"tenant":  {Events: []mdm.Event{{}}},
	} {
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(k.Check(key)), what)
	}
}

func TestSameDevice(t *testing.T) {
	d := Device{SerialNumber: "C02", IMEI: []string{"1"}, ProfilePushTime: august, Extra: map[string]json.RawMessage{"a": json.RawMessage(`{"b":"<"}`)}}
	r := Record{Serial: "C02"}
	assert.Equal(t, Added, r.Tell(d, false, august))
	text, err := r.Body()
	require.NoError(t, err)
	require.NoError(t, r.SetBody(text))
	d.OpDate, d.OpType = august.AddDate(0, 0, 1), OpModified
	d.Extra = map[string]json.RawMessage{"a": json.RawMessage(`{ "b" : "<" }`)}
	assert.Equal(t, Unchanged, r.Tell(d, false, august), "the same, written another way")
	d.IMEI = []string{"2"}
	assert.Equal(t, Modified, r.Tell(d, false, august))
}

func FuzzRecordBody(f *testing.F) {
	f.Add(`{"Server":{"Tenant":"t","Name":"a"},"Serial":"C02","Device":{"serial_number":"C02","imei":1,"x":"\ud800"}}`)
	f.Add(`{"SeenAt":"9999-12-31T23:59:59.999999999-23:59"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Record
		if r.SetBody(text) != nil {
			return
		}
		kept, err := r.Body()
		if err != nil {
			return
		}
		require.NoError(t, again.SetBody(kept))
		twice, err := again.Body()
		require.NoError(t, err)
		assert.Equal(t, kept, twice, "what is kept stays as it is")
	})
}
