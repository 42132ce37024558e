package command_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// tree returns what a property list with these values decodes to, with numbers of one type.
func tree(t testing.TB, dict map[string]any) map[string]any {
	t.Helper()
	data, err := plistx.Marshal(dict)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, plistx.UnmarshalLimits(data, &out, plistx.Limits{Bytes: command.MaxBody}))
	return synth.Normal(out).(map[string]any)
}

// Every command, as the schema describes it: from the wire into its type, and out again by both encodings.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(command.RequestTypes()), 68)
	for _, kind := range command.RequestTypes() {
		object, _ := command.SchemaOf(kind)
		require.NotNil(t, object, kind)
		assert.Equal(t, kind, object.Type)
		for name, instance := range map[string]map[string]any{"full": synth.Full(object), "minimal": synth.Minimal(object)} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				want := maps.Clone(instance)
				want["RequestType"] = kind
				want = tree(t, want)
				data, err := plistx.Marshal(want)
				require.NoError(t, err)
				typed, err := command.Typed(command.Raw(data))
				require.NoError(t, err)
				assert.IsType(t, command.New(kind), typed)
				assert.Empty(t, synth.Extras(typed))
				assert.Equal(t, kind, typed.RequestType())

				dict, item := prepared(t, command.Order{Command: typed, Relax: schema.RuleCombination})
				assert.Equal(t, want, synth.Normal(dict))
				_, fromRaw := prepared(t, command.Order{Command: command.Raw(data), Relax: schema.RuleCombination})
				assert.Equal(t, item.Digest, fromRaw.Digest, "typed and raw are the same command")

				text, err := command.EncodeJSON(typed)
				require.NoError(t, err)
				again, err := command.DecodeJSON(text)
				require.NoError(t, err)
				dict, _ = prepared(t, command.Order{Command: again, Relax: schema.RuleCombination})
				assert.Equal(t, want, synth.Normal(dict), "through JSON")
				assert.NoError(t, command.Validate(typed, schema.Target{}).Of(^schema.RuleCombination).Err())
			})
		}
	}
}

// Every answer, inside of a report.
func TestEveryResponse(t *testing.T) {
	t.Parallel()
	answers := 0
	for _, kind := range command.RequestTypes() {
		_, object := command.SchemaOf(kind)
		if object == nil {
			continue
		}
		answers++
		for name, instance := range map[string]map[string]any{"full": synth.Full(object), "minimal": synth.Minimal(object)} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				want := tree(t, instance)
				report := maps.Clone(instance)
				maps.Copy(report, dict{"Status": "Acknowledged", "CommandUUID": "U", "UDID": "D"})
				data, err := plistx.Marshal(report)
				require.NoError(t, err)
				response, err := command.DecodeResponse(kind, data)
				require.NoError(t, err)
				assert.Equal(t, kind, response.RequestType())
				assert.Empty(t, synth.Extras(response))
				encoded, err := schema.Encode(response)
				require.NoError(t, err)
				assert.Equal(t, want, tree(t, encoded))

				text, err := schema.EncodeJSON(response)
				require.NoError(t, err)
				again := command.NewResponse(kind)
				require.NoError(t, json.Unmarshal(text, again))
				assert.Equal(t, describe(response), describe(again))
			})
		}
	}
	assert.GreaterOrEqual(t, answers, 35)
}

// Documents that are files of their own.
func TestEveryDocument(t *testing.T) {
	t.Parallel()
	for _, v := range []interface{ Schema() *schema.Object }{&command.Manifest{}, &command.PasswordHash{}} {
		for _, instance := range []map[string]any{synth.Full(v.Schema()), synth.Minimal(v.Schema())} {
			want := tree(t, instance)
			data, err := plistx.Marshal(want)
			require.NoError(t, err)
			wrong, err := schema.DecodePlist(data, v)
			require.NoError(t, err)
			assert.Empty(t, wrong)
			assert.Empty(t, synth.Extras(v))
			assert.Equal(t, want, describe(v))
			text, err := schema.EncodeJSON(v)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, v))
			assert.Equal(t, want, describe(v))
			assert.NoError(t, schema.Check(v.Schema(), want, schema.Target{}).Err())
		}
	}
}

// An answer that the schema lists no keys of has what the device sent, and a form in JSON.
func TestOtherResponse(t *testing.T) {
	t.Parallel()
	data, err := plistx.Marshal(dict{"Status": "Acknowledged", "CommandUUID": "U", "Data": []byte{1}, "Key": "value"})
	require.NoError(t, err)
	response, err := command.DecodeResponse("DeviceConfigured", data)
	require.NoError(t, err)
	want := &command.OtherResponse{Type: "DeviceConfigured", Extra: dict{"Data": []byte{1}, "Key": "value"}}
	assert.Equal(t, want, response)
	text, err := json.Marshal(response)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Data":{"$data":"AQ=="},"Key":"value"}`, string(text))
	again := command.NewResponse("DeviceConfigured")
	require.NoError(t, json.Unmarshal(text, again))
	assert.Equal(t, want, again)
	assert.Nil(t, command.New("OfNextYear"))
	assert.Equal(t, "OfNextYear", command.NewResponse("OfNextYear").RequestType())
}

// describe returns a typed value as its tree, secrets revealed.
func describe(v any) any {
	dict, err := schema.Encode(v)
	if err != nil {
		return err
	}
	return synth.Normal(dict)
}

// A value of another type, anywhere, hinders nothing else, is reported with its path, and comes out again as it was.
func TestWrongTypesAnywhere(t *testing.T) {
	t.Parallel()
	for _, kind := range command.RequestTypes() {
		request, answer := command.SchemaOf(kind)
		for path, instance := range synth.Wrong(request) {
			typed := command.New(kind)
			want := tree(t, instance)
			wrong := schema.Decode(want, typed)
			require.NotEmpty(t, wrong, "%s: %s", kind, path)
			assert.Equal(t, path, wrong[0].Path, kind)
			require.Equal(t, want, describe(typed), "%s: %s", kind, path)
			found := command.Validate(typed, schema.Target{}).Of(schema.RuleType)
			require.NotEmpty(t, found, "%s: %s", kind, path)
			assert.Equal(t, path, found[0].Path)
		}
		if answer == nil {
			continue
		}
		for path, instance := range synth.Wrong(answer) {
			want := tree(t, instance)
			data, err := plistx.Marshal(want)
			require.NoError(t, err)
			response, err := command.DecodeResponse(kind, data)
			var wrong schema.Mismatches
			require.ErrorAs(t, err, &wrong, "%s: %s", kind, path)
			assert.Equal(t, path, wrong[0].Path, kind)
			require.Equal(t, want, describe(response), "%s: %s", kind, path)
		}
	}
}

// What is left out, empty or zero, at the end of a range or another value of a list stays what it is, and nothing is said
// against it.
func TestVariants(t *testing.T) {
	t.Parallel()
	check := func(what string, object *schema.Object, want map[string]any, v, again any) {
		data, err := plistx.Marshal(want)
		require.NoError(t, err, what)
		wrong, err := schema.DecodePlist(data, v)
		require.NoError(t, err, what)
		require.Empty(t, wrong, what)
		require.Empty(t, synth.Extras(v), what)
		require.Equal(t, want, describe(v), what)
		text, err := schema.EncodeJSON(v)
		require.NoError(t, err, what)
		wrong, err = schema.DecodeJSON(text, again)
		require.NoError(t, err, what)
		require.Empty(t, wrong, what)
		require.Equal(t, want, describe(again), "%s, through JSON", what)
		require.Empty(t, schema.Check(object, want, schema.Target{}), what)
	}
	n := 0
	for _, kind := range command.RequestTypes() {
		request, answer := command.SchemaOf(kind)
		for what, instance := range synth.Variants(request) {
			check(kind+": "+what, request, instance, command.New(kind), command.New(kind))
			n++
		}
		if answer == nil {
			continue
		}
		for what, instance := range synth.Variants(answer) {
			check(kind+" answer: "+what, answer, instance, command.NewResponse(kind), command.NewResponse(kind))
			n++
		}
	}
	assert.Greater(t, n, 1000)
}

// What a type does not know is kept, at the top and inside.
func TestUnknownKeysSurvive(t *testing.T) {
	t.Parallel()
	for _, kind := range command.RequestTypes() {
		object, _ := command.SchemaOf(kind)
		instance := tree(t, synth.Full(object))
		synth.Plant(instance)
		typed := command.New(kind)
		schema.Decode(instance, typed) // where any key may be, the planted one may be of the wrong type
		assert.Equal(t, instance, describe(typed), kind)
	}
}

func FuzzDecodeResponse(f *testing.F) {
	kinds := command.RequestTypes()
	for i, kind := range kinds {
		if _, answer := command.SchemaOf(kind); answer != nil {
			data, err := plistx.Marshal(synth.Full(answer))
			require.NoError(f, err)
			f.Add(uint8(i), data)
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, data []byte) {
		kind := kinds[int(i)%len(kinds)]
		response, err := command.DecodeResponse(kind, data)
		if response == nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		result, err := command.ParseResult(data)
		require.NoError(t, err)
		if other, ok := response.(*command.OtherResponse); ok {
			require.Equal(t, result.Extra, other.Extra)
			return
		}
		encoded, err := schema.Encode(response)
		require.NoError(t, err)
		require.Subset(t, keysOf(encoded), keysOf(result.Extra), "nothing is dropped")
	})
}

func keysOf(m map[string]any) []string {
	out := []string{}
	for key := range m {
		out = append(out, key)
	}
	return out
}

func FuzzCommandJSON(f *testing.F) {
	for _, kind := range command.RequestTypes() {
		object, _ := command.SchemaOf(kind)
		typed := command.New(kind)
		schema.Decode(synth.Full(object), typed)
		text, err := command.EncodeJSON(typed)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"RequestType":"New","$data":{"$object":{"$date":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := command.DecodeJSON(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		text, err := command.EncodeJSON(c)
		if err != nil { // a list that is no setting, or a text that XML cannot hold
			return
		}
		again, err := command.DecodeJSON(text)
		require.NoError(t, err)
		second, err := command.EncodeJSON(again)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(second))
	})
}
