package plistx_test

import (
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
)

func array(depth int) []byte {
	return []byte("<plist>" + strings.Repeat("<array>", depth) + strings.Repeat("</array>", depth) + "</plist>")
}

// doubling is a binary list of n arrays, each of which refers to the next one twice.
func doubling(n int) []byte {
	objects := []string{}
	for i := range n {
		objects = append(objects, "\xa2"+string([]byte{byte(i + 1), byte(i + 1)}))
	}
	return bplist(append(objects, "\x09")...)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	flags := func(n int) []byte {
		return []byte("<plist><array>" + strings.Repeat("<true/>", n) + "</array></plist>")
	}
	comments := func(n int) []byte { return []byte("<plist>" + strings.Repeat("<!---->", n) + "<true/></plist>") }
	for _, c := range []struct {
		name   string
		doc    []byte
		limits plistx.Limits
		want   error
	}{
		{"depth at the default", array(32), plistx.Limits{}, nil},
		{"depth over the default", array(33), plistx.Limits{}, plistx.ErrTooDeep},
		{"depth at a limit", array(3), plistx.Limits{Depth: 3}, nil},
		{"depth over a limit", array(4), plistx.Limits{Depth: 3}, plistx.ErrTooDeep},
		{"depth at the maximum", array(plistx.MaxDepth), plistx.Limits{Depth: 1 << 30}, nil},
		{"depth over the maximum", array(plistx.MaxDepth + 1), plistx.Limits{Depth: 1 << 30}, plistx.ErrTooDeep},
		{"binary depth at a limit", toBinary(t, array(32)), plistx.Limits{}, nil},
		{"binary depth over a limit", toBinary(t, array(33)), plistx.Limits{}, plistx.ErrTooDeep},
		{"elements at the default", flags(199_999), plistx.Limits{}, nil},
		{"elements over the default", flags(200_000), plistx.Limits{}, plistx.ErrTooMany},
		{"elements over a limit", flags(10), plistx.Limits{Elements: 10}, plistx.ErrTooMany},
		{"a negative limit is the default", flags(10), plistx.Limits{Bytes: -1, Depth: -1, Elements: -1}, nil},
		{"comments at a limit", comments(9), plistx.Limits{Elements: 10}, nil},
		{"comments over a limit", comments(10), plistx.Limits{Elements: 10}, plistx.ErrTooMany},
		{"bytes at a limit", flags(1), plistx.Limits{Bytes: len(flags(1))}, nil},
		{"bytes over a limit", flags(1), plistx.Limits{Bytes: len(flags(1)) - 1}, plistx.ErrTooLarge},
		{"bytes over the default", make([]byte, plistx.DefaultBytes+1), plistx.Limits{}, plistx.ErrTooLarge},
		{"shared references count each time", doubling(4), plistx.Limits{Elements: 31}, nil},
		{"shared references over a limit", doubling(4), plistx.Limits{Elements: 30}, plistx.ErrTooMany},
		{"more objects than elements", bplist("\x09", "\x09"), plistx.Limits{Elements: 1}, plistx.ErrTooMany},
		{"shared text over a limit", bplist("\xaf\x10\xc8"+strings.Repeat("\x01", 200), "\x5a0123456789"),
			plistx.Limits{Bytes: 1999}, plistx.ErrTooLarge},
		{"shared data over a limit", bplist("\xaf\x10\xc8"+strings.Repeat("\x01", 200), "\x4a0123456789"),
			plistx.Limits{Bytes: 1999}, plistx.ErrTooLarge},
		{"shared data at a limit", bplist("\xaf\x10\xc8"+strings.Repeat("\x01", 200), "\x4a0123456789"),
			plistx.Limits{Bytes: 2000}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := plistx.Check(c.doc, c.limits)
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				require.NoError(t, err)
			}
			var v any
			require.ErrorIs(t, plistx.UnmarshalLimits(c.doc, &v, c.limits), c.want)
		})
	}
}

// TestProcessKillers decodes the documents that end a process, or fill its memory, if they reach the decoder. Not
// parallel: it measures allocations.
func TestProcessKillers(t *testing.T) {
	cyclic, err := hex.DecodeString("62706c6973743030" + "a100" + "08" +
		"0000000000000101" + "0000000000000001" + "0000000000000000" + "000000000000000a")
	require.NoError(t, err)
	require.Len(t, cyclic, 43)
	laughs := "<!DOCTYPE plist [<!ENTITY a 'ha'>"
	for i := range 30 {
		laughs += fmt.Sprintf("<!ENTITY %c '&%c;&%c;'>", 'b'+i, 'a'+i, 'a'+i)
	}
	wide := plistx.Limits{Bytes: 64 << 20, Depth: 1 << 30, Elements: 1 << 30}
	for _, c := range []struct {
		name   string
		doc    []byte
		limits plistx.Limits
		want   error
	}{
		{"43 bytes of cycle", cyclic, plistx.Limits{}, plistx.ErrSyntax},
		{"20 MB of arrays", []byte("<plist>" + strings.Repeat("<array>", 20<<20/7)), plistx.Limits{}, plistx.ErrTooLarge},
		{"20 MB of arrays, limits off", []byte("<plist>" + strings.Repeat("<array>", 20<<20/7)), wide, plistx.ErrTooDeep},
		{"20 MB of dictionaries, limits off", []byte("<plist>" + strings.Repeat("<dict><key/>", 20<<20/12)), wide, plistx.ErrTooDeep},
		{"a billion laughs", []byte(laughs + "]><plist><string>&z;</string></plist>"), plistx.Limits{}, plistx.ErrSyntax},
		{"2^100 shared references", doubling(100), plistx.Limits{Depth: plistx.MaxDepth}, plistx.ErrTooMany},
		{"2^100 shared references, depth as usual", doubling(100), plistx.Limits{}, plistx.ErrTooDeep},
		{"2^30 shared references", doubling(30), plistx.Limits{}, plistx.ErrTooMany},
		{"a large text, 60,000 times", bplist("\xaf\x11\xea\x60"+strings.Repeat("\x01", 60_000),
			"\x5f\x12\x00\x10\x00\x00"+strings.Repeat("x", 1<<20)), plistx.Limits{}, plistx.ErrTooLarge},
		{"4 million objects", patched(bplist("\x09"), 22, 0, 0, 0, 0x40, 0, 0), plistx.Limits{}, plistx.ErrSyntax},
		{"a root beyond the table", patched(bplist("\x09"), 9, 1), plistx.Limits{}, plistx.ErrSyntax},
		{"a reference to the end of the table", bplist("\xa1\x01"), plistx.Limits{}, plistx.ErrSyntax},
		{"data of an exabyte", bplist("\x4f\x13\x10\x00\x00\x00\x00\x00\x00\x00"), plistx.Limits{}, plistx.ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			var v any
			runtime.ReadMemStats(&before)
			err := plistx.UnmarshalLimits(c.doc, &v, c.limits)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, c.want)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
		})
	}
}

// TestManyKeys keeps the search for repeated keys from being quadratic: with 100,000 keys it would not end in time.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	doc := strings.Builder{}
	doc.WriteString("<plist><dict>")
	for i := range 99_000 {
		fmt.Fprintf(&doc, "<key>%d</key><true/>", i)
	}
	require.NoError(t, plistx.Check([]byte(doc.String()+"</dict></plist>"), plistx.Limits{}))
	err := plistx.Check([]byte(doc.String()+"<key>77</key><true/></dict></plist>"), plistx.Limits{})
	require.ErrorIs(t, err, plistx.ErrSyntax)
	require.ErrorContains(t, err, "same key twice")
}
