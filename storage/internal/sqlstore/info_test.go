package sqlstore

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

func fullInfo() mdm.Device {
	return mdm.Device{Name: "Ada's Mac", Model: "Mac14,2", ModelName: "MacBook Air", ProductName: "Mac14,2", SerialNumber: "C02", OSVersion: "26.1",
		BuildVersion: "25B1", IMEI: "35 1", MEID: "A1", Supervised: mdm.Yes, SharedIPad: mdm.No, Automated: mdm.Unsaid, UserApproved: mdm.Yes}
}

// TestPlainInfoIsReadInPlace fails when mdm.Device has a field that readPlainInfo does not know: then every request would pay
// for encoding/json.
func TestPlainInfoIsReadInPlace(t *testing.T) {
	for _, want := range []mdm.Device{{}, fullInfo()} {
		text, err := json.Marshal(want)
		require.NoError(t, err)
		var got mdm.Device
		require.True(t, readPlainInfo(string(text), &got), string(text))
		assert.Equal(t, want, got)
	}
	text, err := json.Marshal(fullInfo())
	require.NoError(t, err)
	plain := string(text)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		var d mdm.Device
		readPlainInfo(plain, &d)
	}))
}

func TestEscapedInfoIsReadByJSON(t *testing.T) {
	want := fullInfo()
	want.Name = "\"Ada\" & <Bob>\\\u2028 größer"
	text, err := json.Marshal(want)
	require.NoError(t, err)
	var got mdm.Device
	require.NoError(t, readInfo(string(text), &got))
	assert.Equal(t, want, got)
	require.Error(t, readInfo("{", &got))
}

// FuzzInfo compares with encoding/json: what is read in place is read alike.
func FuzzInfo(f *testing.F) {
	for _, d := range []mdm.Device{{}, fullInfo(), {Name: `a\"b`}} {
		text, err := json.Marshal(d)
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add(`{"Name":"a"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var plain, want mdm.Device
		err := json.Unmarshal([]byte(text), &want)
		if err != nil || !readPlainInfo(text, &plain) {
			return // it need not read all that is JSON, and databases hold only what was written
		}
		again, err := json.Marshal(plain) // encoding/json replaces what is not UTF-8
		require.NoError(t, err)
		var got mdm.Device
		require.NoError(t, json.Unmarshal(again, &got))
		assert.Equal(t, want, got)
	})
}
