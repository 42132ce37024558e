package ddm_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// described are the generated types.
type described interface{ Schema() *schema.Object }

func describe(v any) any {
	dict, err := schema.Encode(v)
	if err != nil {
		return err
	}
	return synth.Normal(dict)
}

// Every declaration, as the schema describes it: from the JSON of the wire into its type, and out again.
func TestEveryDeclaration(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(ddm.Types()), 51)
	for _, kind := range ddm.Types() {
		object := ddm.New(kind).(described).Schema()
		assert.Equal(t, kind, object.Type)
		for name, instance := range map[string]map[string]any{"full": synth.Full(object), "minimal": synth.Minimal(object)} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				want := &ddm.Declaration{Identifier: "id", ServerToken: "token", Payload: &ddm.Raw{Type: kind, Values: instance}}
				wire, err := json.Marshal(want)
				require.NoError(t, err)
				got, err := ddm.ParseDeclaration(wire)
				require.NoError(t, err)
				assert.IsType(t, ddm.New(kind), got.Payload)
				assert.Equal(t, "id", got.Identifier)
				assert.Equal(t, "token", got.ServerToken)
				if !object.Free {
					assert.Empty(t, synth.Extras(got.Payload))
				}
				assert.Equal(t, instance, describe(got.Payload))
				again, err := json.Marshal(got)
				require.NoError(t, err)
				assert.JSONEq(t, string(wire), string(again))
				assert.NoError(t, got.Validate(schema.Target{}).Of(^schema.RuleCombination).Err())
			})
		}
	}
}

// The other documents of declarative management, and the data of assets.
func TestEveryDocument(t *testing.T) {
	t.Parallel()
	for _, v := range []described{
		&ddm.CredentialACME{}, &ddm.CredentialIdentity{}, &ddm.CredentialSCEP{}, &ddm.CredentialUserNameAndPassword{},
		&ddm.TokensResponse{}, &ddm.DeclarationItemsResponse{}, &ddm.StatusReport{}, &ddm.StatusReason{}, &ddm.StatusItems{},
	} {
		for name, instance := range map[string]map[string]any{"full": synth.Full(v.Schema()), "minimal": synth.Minimal(v.Schema())} {
			t.Run(v.Schema().Type+" "+name, func(t *testing.T) {
				t.Parallel()
				typed := reflect.New(reflect.TypeOf(v).Elem()).Interface()
				assert.Empty(t, schema.Decode(instance, typed))
				assert.Empty(t, synth.Extras(typed))
				assert.Equal(t, instance, describe(typed))
				wire, err := schema.EncodePlainJSON(typed)
				require.NoError(t, err)
				again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
				wrong, err := schema.DecodePlainJSON(wire, again)
				require.NoError(t, err)
				assert.Empty(t, wrong)
				assert.Equal(t, instance, describe(again))
			})
		}
	}
}

func TestWrongTypesInDeclarations(t *testing.T) {
	t.Parallel()
	for _, kind := range ddm.Types() {
		for path, instance := range synth.Wrong(ddm.New(kind).(described).Schema()) {
			want := synth.Normal(instance)
			payload, wrong := ddm.Typed(kind, instance)
			if len(wrong) == 0 { // a text where JSON has data or a date: those are texts on the wire
				continue
			}
			assert.Equal(t, path, wrong[0].Path, kind)
			require.Equal(t, want, describe(payload), "%s: %s", kind, path)
			assert.NotEmpty(t, ddm.Validate(&ddm.Raw{Type: kind, Values: instance}, schema.Target{}).Of(schema.RuleType), "%s: %s", kind, path)
		}
	}
}

// What is left out, empty or zero, at the end of a range or another value of a list stays what it is, and nothing is said
// against it.
func TestVariantsOfDeclarations(t *testing.T) {
	t.Parallel()
	n := 0
	for _, kind := range ddm.Types() {
		object := ddm.New(kind).(described).Schema()
		for what, instance := range synth.Variants(object) {
			what = kind + ": " + what
			wire, err := json.Marshal(&ddm.Declaration{Identifier: "i", ServerToken: "t", Payload: &ddm.Raw{Type: kind, Values: instance}})
			require.NoError(t, err, what)
			got, err := ddm.ParseDeclaration(wire)
			require.NoError(t, err, what)
			require.Empty(t, synth.Extras(got.Payload), what)
			require.Equal(t, instance, describe(got.Payload), what)
			require.Empty(t, schema.Check(object, instance, schema.Target{}), what)
			n++
		}
	}
	assert.Greater(t, n, 500)
}

func TestUnknownKeysOfDeclarationsSurvive(t *testing.T) {
	t.Parallel()
	for _, kind := range ddm.Types() {
		instance := synth.Full(ddm.New(kind).(described).Schema())
		instance["NewKey"] = []any{"new", map[string]any{"$data": "as it is"}}
		wire, err := json.Marshal(&ddm.Declaration{Identifier: "i", ServerToken: "t", Payload: &ddm.Raw{Type: kind, Values: instance}, Extra: map[string]any{"More": true}})
		require.NoError(t, err)
		got, err := ddm.ParseDeclaration(wire)
		require.NoError(t, err, kind)
		again, err := json.Marshal(got)
		require.NoError(t, err)
		assert.JSONEq(t, string(wire), string(again), "nothing is tagged: devices read it")
	}
}

func TestParseDeclarationRefuses(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"no JSON": "x", "no object": `[]`, "no type": `{"Identifier":"a","ServerToken":"b","Payload":{}}`,
		"no payload": `{"Type":"com.apple.configuration.passcode.settings","Identifier":"a","ServerToken":"b"}`,
		"wrong type": `{"Type":"com.apple.configuration.passcode.settings","Identifier":"a","ServerToken":"b","Payload":{"MinimumLength":"six"}}`,
		"key twice":  `{"Type":"a","Type":"b","Payload":{}}`,
	} {
		_, err := ddm.ParseDeclaration([]byte(wire))
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		require.Error(t, err, name)
	}
	unknown, err := ddm.ParseDeclaration([]byte(`{"Type":"com.apple.configuration.next","Identifier":"a","ServerToken":"b","Payload":{"A":1}}`))
	require.NoError(t, err)
	assert.Equal(t, &ddm.Raw{Type: "com.apple.configuration.next", Values: map[string]any{"A": int64(1)}}, unknown.Payload)
	require.NoError(t, unknown.Validate(schema.Target{}).Err())
	assert.Error(t, (&ddm.Declaration{Payload: &ddm.PasscodeSettings{}}).Validate(schema.Target{}).Err(), "no identifier")
	_, err = json.Marshal(ddm.Declaration{})
	assert.Error(t, err)
}

func TestParseStatusReport(t *testing.T) {
	t.Parallel()
	report, items, err := ddm.ParseStatusReport([]byte(`{
		"StatusItems": {"device": {"operating-system": {"version": "18.1"}, "new": {"item": 1}}, "passcode": {"is-compliant": false}},
		"Errors": [{"StatusItem": "test.error-value", "Reasons": [{"Code": "Error.Unknown"}]}], "FullReport": true}`))
	require.NoError(t, err)
	assert.Equal(t, "18.1", *items.Device.OperatingSystem.Version)
	assert.False(t, *items.Passcode.IsCompliant)
	assert.Nil(t, items.Passcode.IsPresent, "not reported is not false")
	assert.Contains(t, items.Device.Extra, "new")
	assert.True(t, *report.FullReport)
	assert.Equal(t, ddm.ReasonErrorUnknown, report.Errors[0].Reasons[0].Code)

	_, items, err = ddm.ParseStatusReport([]byte(`{"StatusItems":{"passcode":{"is-compliant":"no","is-present":true}},"Errors":[]}`))
	require.ErrorContains(t, err, "StatusItems.passcode.is-compliant is no boolean")
	assert.True(t, *items.Passcode.IsPresent, "the rest can be read")
	_, _, err = ddm.ParseStatusReport([]byte(`x`))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func FuzzDeclaration(f *testing.F) {
	for _, kind := range ddm.Types() {
		wire, err := json.Marshal(&ddm.Declaration{Identifier: "i", ServerToken: "t", Payload: &ddm.Raw{Type: kind, Values: synth.Full(ddm.New(kind).(described).Schema())}})
		require.NoError(f, err)
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ddm.ParseDeclaration(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		_ = d.Validate(schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.UserEnrollmentChannel})
		wire, err := json.Marshal(d)
		require.NoError(t, err)
		again, err := ddm.ParseDeclaration(wire)
		require.NoError(t, err)
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(wire), string(second))
	})
}

func FuzzStatusReport(f *testing.F) {
	items := synth.Full((&ddm.StatusItems{}).Schema())
	wire, err := schema.EncodePlainJSON(&ddm.StatusReport{StatusItems: items, Errors: []ddm.StatusReportError{}})
	require.NoError(f, err)
	f.Add(wire)
	f.Fuzz(func(t *testing.T, data []byte) {
		report, items, err := ddm.ParseStatusReport(data)
		if report == nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		wire, err := schema.EncodePlainJSON(items)
		require.NoError(t, err)
		var again ddm.StatusItems
		_, err = schema.DecodePlainJSON(wire, &again)
		require.NoError(t, err)
	})
}
