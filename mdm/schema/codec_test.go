package schema_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

type (
	dict = map[string]any

	// sample has a field of every kind that generated types have.
	sample struct {
		base
		Name   string             `plist:"name"`
		Note   *string            `plist:"note,omitempty"`
		Count  int64              `plist:"count"`
		Small  *int8              `plist:"small,omitempty"`
		Large  *uint64            `plist:"large,omitempty"`
		Ratio  *float64           `plist:"ratio,omitempty"`
		On     bool               `plist:"on"`
		At     time.Time          `plist:"at"`
		Until  *time.Time         `plist:"until,omitempty"`
		Data   []byte             `plist:"data"`
		List   []string           `plist:"list,omitempty"`
		Deep   [][]int64          `plist:"deep,omitempty"`
		Map    map[string]*sample `plist:"map,omitempty"`
		Inner  *sample            `plist:"inner,omitempty"`
		Any    any                `plist:"any,omitempty"`
		Word   mdm.Secret         `plist:"word,text,omitempty"`
		Key    mdm.Secret         `plist:"key,omitempty"`
		Hidden string             `plist:"-"`
		Extra  map[string]any     `plist:"-"`
	}
	base struct {
		ID string `plist:"id,omitempty"`
	}
	choice struct {
		_     struct{} `union:"Item"`
		One   *base    `plist:"One,omitempty"`
		Two   *sample  `plist:"Two,omitempty"`
		Extra dict     `plist:"-"`
	}
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// full has every key.
func full() *sample {
	return &sample{
		base: base{ID: "i"}, Name: "n", Note: new(""), Count: -1, Small: new(int8(-128)), Large: new(uint64(math.MaxUint64)), Ratio: new(0.5),
		On: true, At: noon, Until: new(noon), Data: []byte{0, 1}, List: []string{}, Deep: [][]int64{{1}, {}}, Map: map[string]*sample{"k": {Name: "m"}},
		Inner: &sample{Name: "inner", Data: []byte{}}, Any: []any{[]byte{2}, noon, dict{"$data": "x"}}, Word: mdm.SecretString("w"), Key: mdm.NewSecret([]byte{9}),
		Extra: dict{"new": dict{"$date": true}},
	}
}

func tree() dict {
	return dict{"id": "i", "name": "n", "note": "", "count": int64(-1), "small": int64(-128), "large": uint64(math.MaxUint64), "ratio": 0.5, "on": true,
		"at": noon, "until": noon, "data": []byte{0, 1}, "list": []any{}, "deep": []any{[]any{int64(1)}, []any{}},
		"map":   dict{"k": dict{"name": "m", "count": int64(0), "on": false}},
		"inner": dict{"name": "inner", "count": int64(0), "on": false, "data": []byte{}},
		"any":   []any{[]byte{2}, noon, dict{"$data": "x"}}, "word": "w", "key": []byte{9}, "new": dict{"$date": true}}
}

// Absent, empty and zero stay apart, whatever the type, in both directions.
func TestCodec(t *testing.T) {
	t.Parallel()
	got, err := schema.Encode(full())
	require.NoError(t, err)
	assert.Equal(t, tree(), got)
	var back sample
	require.Empty(t, schema.Decode(tree(), &back))
	again, err := schema.Encode(back)
	require.NoError(t, err)
	assert.Equal(t, tree(), again)
	assert.Equal(t, "w", string(back.Word.Reveal()))
	assert.Empty(t, *back.Note)
	assert.NotNil(t, back.List)

	empty, err := schema.Encode(&sample{Hidden: "not written"})
	require.NoError(t, err)
	assert.Equal(t, dict{"name": "", "count": int64(0), "on": false}, empty, "what is required is written, what has no zero is not")
	for _, v := range []any{nil, 1, (*sample)(nil), "x"} {
		_, err := schema.Encode(v)
		require.Error(t, err)
	}
	assert.NotEmpty(t, schema.Decode(dict{}, sample{}), "not a pointer")
	assert.NotEmpty(t, schema.Decode(dict{}, (*sample)(nil)))
}

// Numbers come in the types that decoders use.
func TestNumbers(t *testing.T) {
	t.Parallel()
	var s sample
	require.Empty(t, schema.Decode(dict{"count": uint64(5), "ratio": uint64(2), "large": int64(3)}, &s))
	assert.Equal(t, int64(5), s.Count)
	assert.InDelta(t, 2.0, *s.Ratio, 0, "a whole number is a real, too")
	assert.Equal(t, uint64(3), *s.Large)
	bad := dict{"count": uint64(math.MaxUint64), "small": int64(200), "large": int64(-1), "on": int64(1), "ratio": "1", "at": "2026-01-02"}
	for key, value := range bad {
		var s sample
		wrong := schema.Decode(dict{key: value}, &s)
		require.Len(t, wrong, 1, key)
		assert.Equal(t, key, wrong[0].Path)
		assert.Equal(t, dict{key: value}, s.Extra)
	}
}

// What does not fit is told with its path, kept, and written as it came; what fits is there.
func TestMismatches(t *testing.T) {
	t.Parallel()
	from := dict{"name": "n", "count": "SECRET", "list": []any{"a", int64(1), "b"}, "inner": dict{"deep": []any{[]any{int64(1), "SECRET"}}},
		"map": dict{"k": "SECRET"}, "key": "SECRET", "word": ""}
	var s sample
	wrong := schema.Decode(from, &s)
	var paths []string
	for _, w := range wrong {
		paths = append(paths, w.Path+" "+w.Want)
	}
	assert.ElementsMatch(t, []string{"count integer", "list[1] string", "inner.deep[0][1] integer", "map.k dictionary", "key data"}, paths)
	assert.Equal(t, []string{"a", "b"}, s.List, "what can be read is there")
	assert.NotContains(t, wrong.Error(), "SECRET")
	require.Error(t, wrong.Err())
	require.NoError(t, schema.Mismatches{}.Err())
	back, err := schema.Encode(s)
	require.NoError(t, err)
	want := dict{"on": false}
	for key, value := range from {
		want[key] = value
	}
	want["inner"] = dict{"name": "", "count": int64(0), "on": false, "deep": []any{[]any{int64(1), "SECRET"}}}
	assert.Equal(t, want, back)
}

func TestUnions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value choice
		tree  dict
	}{
		{choice{One: &base{ID: "x"}}, dict{"Item": "One", "id": "x"}},
		{choice{Two: &sample{}}, dict{"Item": "Two", "name": "", "count": int64(0), "on": false}},
		{choice{Extra: dict{"Item": "Three", "new": true}}, dict{"Item": "Three", "new": true}},
	} {
		got, err := schema.Encode(tt.value)
		require.NoError(t, err)
		assert.Equal(t, tt.tree, got)
		var back choice
		require.Empty(t, schema.Decode(tt.tree, &back))
		assert.Equal(t, tt.value, back)
	}
	for _, bad := range []choice{{}, {One: &base{}, Two: &sample{}}, {One: &base{}, Extra: dict{"a": 1}}} {
		_, err := schema.Encode(bad)
		require.Error(t, err)
	}
	_, err := schema.Encode(struct{ List []choice }{[]choice{{}}})
	require.ErrorContains(t, err, "List[0]: none of the alternatives")
}

// A dictionary without a field Extra drops what it does not know, as types of a vendor may.
func TestOwnTypes(t *testing.T) {
	t.Parallel()
	var own struct{ Name string }
	require.Empty(t, schema.Decode(dict{"Name": "n", "Other": 1}, &own))
	assert.Equal(t, "n", own.Name)
	_, err := schema.Encode(struct{ C chan int }{make(chan int)})
	require.ErrorContains(t, err, "C: ")
}

func TestRecursion(t *testing.T) {
	t.Parallel()
	app := func(id string) dict { return dict{"Type": "Application", "BundleID": id} }
	layout := dict{"Dock": []any{app("a")}, "Pages": []any{[]any{
		dict{"Type": "Folder", "DisplayName": "F", "Pages": []any{[]any{app("b"), dict{"Type": "Folder", "Pages": []any{[]any{app("c")}}}}}},
	}}}
	var h profile.HomeScreenLayout
	require.Empty(t, schema.Decode(layout, &h))
	assert.Equal(t, "c", *h.Pages[0][0].Pages[0][1].Pages[0][0].BundleID)
	back, err := schema.Encode(h)
	require.NoError(t, err)
	assert.Equal(t, layout, back)
	assert.Empty(t, schema.Check(h.Schema(), layout, schema.Target{}))
	layout["Pages"].([]any)[0].([]any)[0].(dict)["Pages"].([]any)[0].([]any)[1].(dict)["Type"] = "Other"
	found := schema.Check(h.Schema(), layout, schema.Target{})
	require.Len(t, found, 1, "checks follow it, too")
	assert.Equal(t, "Pages[0][0].Pages[0][1].Type", found[0].Path)
}

func TestJSON(t *testing.T) {
	t.Parallel()
	text, err := schema.EncodeJSON(full())
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"i","name":"n","note":"","count":-1,"small":-128,"large":18446744073709551615,"ratio":0.5,"on":true,
		"at":"2026-01-02T12:00:00Z","until":"2026-01-02T12:00:00Z","data":"AAE=","list":[],"deep":[[1],[]],"map":{"k":{"name":"m","count":0,"on":false}},
		"inner":{"name":"inner","count":0,"on":false,"data":""},"any":[{"$data":"Ag=="},{"$date":"2026-01-02T12:00:00Z"},{"$object":{"$data":"x"}}],
		"word":"w","key":"CQ==","new":{"$object":{"$date":true}}}`, string(text))
	var back sample
	wrong, err := schema.DecodeJSON(text, &back)
	require.NoError(t, err)
	require.Empty(t, wrong)
	got, err := schema.Encode(back)
	require.NoError(t, err)
	assert.Equal(t, tree(), got, "nothing is lost on the way there and back")

	_, err = schema.MarshalJSON(full())
	require.ErrorIs(t, err, mdm.ErrSecret)
	plain, err := schema.EncodePlainJSON(sample{Any: []any{[]byte{2}, noon, dict{"$data": "x"}}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"","count":0,"on":false,"any":["Ag==","2026-01-02T12:00:00Z",{"$data":"x"}]}`, string(plain), "as a device reads it")
	require.Error(t, schema.UnmarshalJSON([]byte(`{"count":"x"}`), &back))
	text, err = schema.EncodeJSON(struct {
		Ratio float64
		HTML  string
	}{3, "<&>"})
	require.NoError(t, err)
	assert.Equal(t, `{"HTML":"<&>","Ratio":3.0}`, string(text), "a real stays one, and texts are readable")
	_, err = schema.EncodeJSON(struct{ Ratio float64 }{math.NaN()})
	require.Error(t, err)
}

// Dictionaries that look like tagged values are not taken for one, however deep.
func TestJSONTags(t *testing.T) {
	t.Parallel()
	for _, extra := range []dict{
		{"$data": "x"}, {"$object": dict{"$object": dict{"$data": []byte{1}}}}, {"a": dict{"$object": []byte{1}}}, {"a": dict{"$object": dict{"$date": noon}, "b": true}},
		{"a": []any{dict{"$date": noon}, noon}}, {"$data": []byte{1}, "$date": noon}, {"a": dict{"$object": int64(1)}},
	} {
		type free struct {
			Extra dict `plist:"-"`
		}
		text, err := schema.EncodeJSON(free{extra})
		require.NoError(t, err)
		var back free
		wrong, err := schema.DecodeJSON(text, &back)
		require.NoError(t, err, "%s", text)
		require.Empty(t, wrong)
		assert.Equal(t, extra, back.Extra, "%s", text)
	}
}

func TestParseJSONRefuses(t *testing.T) {
	t.Parallel()
	deep := ""
	for range 70 {
		deep += `{"a":`
	}
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "SECRET", "an array": "[]", "a text": `"a"`, "two values": "{} {}", "cut off": `{"a":`, "a key twice": `{"a":1,"a":2}`,
		"a key twice inside": `{"b":[{"a":1,"a":2}]}`, "too deep": deep, "a number out of range": `{"a":1e999}`, "bad data": `{"a":{"$data":"SECRET!"}}`,
		"bad date": `{"a":{"$date":"SECRET"}}`, "data that is none": `{"a":{"$data":1}}`, "a tag as the whole": `{"$data":"AAE="}`, "too large": `{"a":"` + string(make([]byte, 17<<20)) + `"}`,
	} {
		_, err := schema.ParseJSON([]byte(text))
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), "SECRET", name)
	}
	got, err := schema.ParseJSON([]byte(`{"a":[1,-1,1.0,1e2,18446744073709551615,36893488147419103232,null,true]}`))
	require.NoError(t, err)
	assert.Equal(t, dict{"a": []any{int64(1), int64(-1), 1.0, 100.0, uint64(math.MaxUint64), 36893488147419103232.0, nil, true}}, got)
	var s sample
	wrong, err := schema.DecodeJSON([]byte(`{"name":null,"note":null,"list":["a",null]}`), &s)
	require.NoError(t, err)
	assert.Empty(t, wrong, "null is absent")
	assert.Nil(t, s.Note)
	assert.Equal(t, []string{"a"}, s.List)
	assert.Contains(t, s.Extra, "list")
}

// A command with a PIN does not end in a log; who asks for its JSON by name gets it.
func TestJSONOfSecrets(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(command.DeviceLock{Message: new("m")})
	require.NoError(t, err)
	assert.JSONEq(t, `{"Message":"m"}`, string(text))
	_, err = json.Marshal([]command.DeviceLock{{PIN: mdm.SecretString("123456")}})
	require.ErrorIs(t, err, mdm.ErrSecret)
	var lock command.DeviceLock
	require.NoError(t, json.Unmarshal([]byte(`{"PIN":"123456","New":1}`), &lock))
	assert.Equal(t, "123456", string(lock.PIN.Reveal()))
	assert.Equal(t, dict{"New": int64(1)}, lock.Extra)
	require.Error(t, json.Unmarshal([]byte(`{"PIN":5}`), &lock))
}

func TestPlist(t *testing.T) {
	t.Parallel()
	data, err := schema.EncodePlist(command.DeviceLock{Message: new("m"), PIN: mdm.SecretString("1")})
	require.NoError(t, err)
	var lock command.DeviceLock
	wrong, err := schema.DecodePlist(data, &lock)
	require.NoError(t, err)
	assert.Empty(t, wrong)
	assert.Equal(t, "1", string(lock.PIN.Reveal()))
	_, err = schema.DecodePlist([]byte("x"), &lock)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	_, err = schema.EncodePlist(1)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	_, err = schema.EncodePlist(command.OtherResponse{Type: "a", Extra: dict{"a": make(chan int)}})
	require.Error(t, err)
}

func TestOr(t *testing.T) {
	t.Parallel()
	assert.True(t, schema.Or(nil, true))
	assert.False(t, schema.Or(new(false), true))
}

func FuzzParseJSON(f *testing.F) {
	text, err := schema.EncodeJSON(full())
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"a":{"$object":{"$data":"AAE="},"b":1},"c":[1.0,null,{"$date":"2026-01-02T03:04:05Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		if _, err := schema.DecodeJSON(data, &s); err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		first, err := schema.EncodeJSON(s)
		require.NoError(t, err)
		var again sample
		_, err = schema.DecodeJSON(first, &again)
		require.NoError(t, err)
		second, err := schema.EncodeJSON(again)
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}

// Any tree comes out of any type as it went in.
func FuzzDecode(f *testing.F) {
	text, err := schema.EncodeJSON(full())
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"Settings":[{"Item":"Wallpaper","Image":{"$data":"AA=="},"Where":1},{"Item":"New"},5]}`))
	f.Add([]byte(`{"Pages":[[{"Type":"Folder","Pages":[[{}]]}]],"Dock":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		from, err := schema.ParseJSON(data)
		if err != nil {
			return
		}
		for _, v := range []interface{ Schema() *schema.Object }{&command.Settings{}, &profile.HomeScreenLayout{}, &command.SecurityInfoResponse{}} {
			schema.Decode(from, v)
			_ = schema.Check(v.Schema(), from, schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.DeviceChannel})
			back, err := schema.Encode(v)
			require.NoError(t, err)
			for key, value := range from {
				if _, isNumber := value.(float64); value != nil && !isNumber {
					require.Contains(t, back, key)
				}
			}
		}
	})
}
