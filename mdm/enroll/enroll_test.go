package enroll_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/schema"
)

type described interface{ Schema() *schema.Object }

func describe(v any) any {
	dict, err := schema.Encode(v)
	if err != nil {
		return err
	}
	return synth.Normal(dict)
}

func TestEveryDocument(t *testing.T) {
	t.Parallel()
	all := []described{&enroll.MachineInfo{}, &enroll.SSODocument{}}
	for code, v := range enroll.Errors() {
		all = append(all, v.(described))
		assert.Equal(t, code, v.(described).Schema().Type)
		data, err := json.Marshal(v)
		require.NoError(t, err)
		assert.Contains(t, string(data), `"code":"`+code+`"`)
	}
	require.Len(t, all, 7)
	for _, v := range all {
		for name, instance := range map[string]map[string]any{"full": synth.Full(v.Schema()), "minimal": synth.Minimal(v.Schema())} {
			t.Run(v.Schema().Type+" "+name, func(t *testing.T) {
				t.Parallel()
				typed := reflect.New(reflect.TypeOf(v).Elem()).Interface()
				assert.Empty(t, schema.Decode(instance, typed))
				assert.Empty(t, synth.Extras(typed))
				assert.Equal(t, instance, describe(typed))
				text, err := schema.EncodePlainJSON(typed)
				require.NoError(t, err)
				again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
				wrong, err := schema.DecodePlainJSON(text, again)
				require.NoError(t, err)
				assert.Empty(t, wrong)
				assert.Equal(t, instance, describe(again))
				assert.NoError(t, enroll.Validate(typed.(described), schema.Target{}).Err())
			})
		}
	}
	assert.Error(t, enroll.Validate(enroll.MachineInfo{}, schema.Target{}).Err(), "its keys are missing")
}

func TestParseMachineInfo(t *testing.T) {
	t.Parallel()
	data, err := plistx.Marshal(map[string]any{"UDID": "U", "SERIAL": "S", "PRODUCT": "iPhone15,2", "VERSION": "22A3351", "OS_VERSION": "18.0",
		"LANGUAGE": "de", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": true, "NEW": 1})
	require.NoError(t, err)
	info, err := enroll.ParseMachineInfo(data)
	require.NoError(t, err)
	assert.Equal(t, "18.0", info.OSVersion)
	assert.True(t, *info.MDMCanRequestSoftwareUpdate)
	assert.Contains(t, info.Extra, "NEW")

	data, err = plistx.Marshal(map[string]any{"UDID": 5, "SERIAL": "S"})
	require.NoError(t, err)
	info, err = enroll.ParseMachineInfo(data)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Equal(t, "S", info.Serial, "the rest can be read")
	_, err = enroll.ParseMachineInfo([]byte("x"))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func FuzzParseMachineInfo(f *testing.F) {
	data, err := plistx.Marshal(synth.Full(enroll.MachineInfo{}.Schema()))
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := enroll.ParseMachineInfo(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		_, err = schema.EncodePlist(info)
		require.NoError(t, err)
	})
}
