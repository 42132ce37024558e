package plistx_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	howett "howett.net/plist"

	"github.com/gomdm/applemdm/internal/plistx"
)

// toBinary rewrites an XML property list as a binary one.
func toBinary(tb testing.TB, doc []byte) []byte {
	tb.Helper()
	var v any
	_, err := howett.Unmarshal(doc, &v)
	require.NoError(tb, err)
	out, err := howett.Marshal(v, howett.BinaryFormat)
	require.NoError(tb, err)
	return out
}

func seed(f *testing.F) {
	f.Helper()
	for _, doc := range append(accepted(), string(tokenUpdate()), string(installedApplications(2))) {
		f.Add([]byte(doc))
		// howett.net/plist cannot rewrite these.
		if !strings.Contains(doc, "CF$UID") && !strings.Contains(doc, "nan") && !padded(doc) {
			f.Add(toBinary(f, []byte(doc)))
		}
	}
	for _, c := range refused {
		f.Add([]byte(c.doc))
	}
	for _, c := range binaries() {
		f.Add(c.doc)
	}
}

// FuzzScan checks that what the scan picks is what decoding finds.
func FuzzScan(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		header, err := plistx.Scan(data, plistx.Limits{})
		if err != nil {
			require.True(t, refusal(err), err)
			require.Zero(t, header)
			return
		}
		var all map[string]any
		require.NoError(t, plistx.Unmarshal(data, &all))
		require.Equal(t, headerOf(all), identifying(header))
		n, depth := measure(all, 0)
		require.LessOrEqual(t, n, header.Elements)
		require.Equal(t, depth, header.Depth)
	})
}

func refusal(err error) bool {
	return errors.Is(err, plistx.ErrSyntax) || errors.Is(err, plistx.ErrTooDeep) ||
		errors.Is(err, plistx.ErrTooLarge) || errors.Is(err, plistx.ErrTooMany)
}

// identifying is the header without its counts.
func identifying(h plistx.Header) plistx.Header {
	h.Elements, h.Depth = 0, 0
	return h
}

// headerOf fills a header from a decoded message, by the names of its fields.
func headerOf(all map[string]any) (h plistx.Header) {
	v := reflect.ValueOf(&h).Elem()
	for i := range v.NumField() {
		switch value := all[v.Type().Field(i).Name].(type) {
		case string:
			if v.Field(i).Kind() == reflect.String {
				v.Field(i).SetString(value)
			}
		case bool:
			if v.Field(i).Kind() == reflect.Uint8 {
				v.Field(i).SetUint(map[bool]uint64{false: uint64(plistx.False), true: uint64(plistx.True)}[value])
			}
		}
	}
	return h
}

// measure counts values and keys, and how deep they are nested.
func measure(v any, above int) (n, depth int) {
	n, depth = 1, above
	var inside []any
	switch v := v.(type) {
	case []any:
		depth, inside = above+1, v
	case map[string]any:
		depth = above + 1
		for _, value := range v {
			inside = append(inside, value)
		}
		n += len(v)
	}
	for _, value := range inside {
		more, deeper := measure(value, above+1)
		n, depth = n+more, max(depth, deeper)
	}
	return n, depth
}

// FuzzUnmarshal checks that whatever passes decodes, that both forms of it pass with the same counts, and that another
// decoder, howett.net/plist, finds the same.
func FuzzUnmarshal(f *testing.F) {
	seed(f)
	f.Fuzz(unmarshals)
}

func unmarshals(t *testing.T, data []byte) {
	var ours any
	err := plistx.Check(data, plistx.Limits{})
	if err != nil {
		require.True(t, refusal(err), err)
		require.Equal(t, err, plistx.Unmarshal(data, &ours))
		return
	}
	require.NoError(t, plistx.Unmarshal(data, &ours))
	doc, err := plistx.AsXML(data, plistx.Limits{})
	require.NoError(t, err)
	require.NoError(t, plistx.Check(doc, plistx.Limits{Bytes: 100 << 20}))
	agree(t, data, ours)
}

// tokens are what XML documents are made of, good and bad.
var tokens = []string{
	"<dict>", "</dict>", "<dict/>", "<array>", "</array>", "<array />", "<key>", "</key>", "<key>a</key>", "<key>b</key>",
	"<string>", "</string>", "<string/>", "<integer>", "</integer>", "<real>", "</real>", "<true/>", "<false></false>",
	"<data>", "</data>", "<date>", "</date>", "<date>2026-10-01T12:00:00Z</date>", "<!--", "-->", "<!-- c -->", "<![CDATA[",
	"]]>", "]", ">", "<", "&amp;", "&#13;", "&#x41;", "&", ";", "\r", "\n", " ", "\t", "-1", "7", "0.5", "e", "inf", "AAAA",
	"AA==", "=", "a", "Z", "ü", "\xff", "\x01", "<?a?>", "/", "key", "&#93;", "]]&gt;", "<plist>", "</plist>", "CF$UID",
}

// FuzzTokens is FuzzUnmarshal over documents put together from tokens, of which far more are nearly right.
func FuzzTokens(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var choice []byte
		for range 1 + random.IntN(12) {
			choice = append(choice, byte(random.UintN(256)))
		}
		f.Add(choice)
	}
	f.Fuzz(func(t *testing.T, choice []byte) {
		doc := strings.Builder{}
		doc.WriteString("<plist>")
		for _, c := range choice {
			doc.WriteString(tokens[int(c)%len(tokens)])
		}
		doc.WriteString("</plist>")
		unmarshals(t, []byte(doc.String()))
	})
}

// FuzzObjects is FuzzUnmarshal over binary lists whose frame is right: data is cut into objects at each 0xfe.
func FuzzObjects(f *testing.F) {
	for _, objects := range []string{"\xd1\x01\x02\xfe\x51a\xfe\x08", "\xa3\x01\x01\x02\xfe\x61\x00b\xfe\x33\x41\x00\x00\x00\x00\x00\x00\x00",
		"\xa2\x01\x02\xfe\xa1\x02\xfe\x5f\x10\x02ab", "\xd2\x01\x02\x03\x03\xfe\x51a\xfe\x51b\xfe\x23\x41\x00\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(objects))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		unmarshals(t, bplist(strings.Split(string(data), "\xfe")...))
	})
}

// agree compares what was decoded with howett.net/plist, which takes another way for binary lists. One difference is
// tolerated: howett does not accept whitespace around numbers.
func agree(t *testing.T, data []byte, ours any) {
	t.Helper()
	var theirs any
	if _, err := howett.Unmarshal(data, &theirs); err != nil {
		require.True(t, padded(string(data)), "only howett.net/plist refuses it: %v", err)
		return
	}
	require.Equal(t, normal(theirs), normal(ours))
}

// padded reports whether doc is XML with whitespace around a number.
func padded(doc string) bool {
	for _, name := range []string{"integer", "real"} {
		for rest := doc; ; {
			_, after, ok := strings.Cut(rest, "<"+name)
			if !ok {
				break
			}
			content, tail, _ := strings.Cut(after[strings.IndexByte(after, '>')+1:], "<")
			if strings.TrimSpace(content) != content {
				return true
			}
			rest = tail
		}
	}
	return false
}

// normal maps what the decoders tell apart without meaning it: the width of numbers, the zone of dates, nil and empty,
// and howett's reading of an XML dictionary with the key CF$UID as a reference of a keyed archive.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = normal(value)
		}
		return out
	case []any:
		out := []any{}
		for _, value := range v {
			out = append(out, normal(value))
		}
		return out
	case howett.UID:
		return map[string]any{"CF$UID": uint64(v)}
	case []byte:
		return append([]byte{}, v...)
	case int64:
		if v >= 0 {
			return uint64(v)
		}
	case float32:
		return normal(float64(v))
	case float64:
		if math.IsNaN(v) {
			return "NaN"
		}
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return v
}
