package plistx_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
)

// bplist builds a binary property list of the given objects, the first one the root, with references of one byte.
func bplist(objects ...string) []byte { return framed(1, 0, objects...) }

func framed(refSize byte, root uint64, objects ...string) []byte {
	doc := []byte("bplist00")
	var offsets []int
	for _, o := range objects {
		offsets = append(offsets, len(doc))
		doc = append(doc, o...)
	}
	table := len(doc)
	for _, at := range offsets {
		doc = binary.BigEndian.AppendUint32(doc, uint32(at))
	}
	doc = append(doc, 0, 0, 0, 0, 0, 0, 4, refSize)
	doc = binary.BigEndian.AppendUint64(doc, uint64(len(objects)))
	doc = binary.BigEndian.AppendUint64(doc, root)
	return binary.BigEndian.AppendUint64(doc, uint64(table))
}

// patched is doc with the bytes from the end replaced.
func patched(doc []byte, fromEnd int, with ...byte) []byte {
	copy(doc[len(doc)-fromEnd:], with)
	return doc
}

func float(marker byte, f float64) string {
	return string(binary.BigEndian.AppendUint64([]byte{marker}, math.Float64bits(f)))
}

type binaryCase struct {
	name string
	doc  []byte
	want any    // what it decodes to, or
	rule string // the rule that refuses it
}

func binaries() []binaryCase { return append(goodBinaries(), badBinaries()...) }

func goodBinaries() []binaryCase {
	return []binaryCase{
		{name: "true", doc: bplist("\x09"), want: true},
		{name: "false", doc: bplist("\x08"), want: false},
		{name: "1 byte is unsigned", doc: bplist("\x10\xff"), want: uint64(255)},
		{name: "2 bytes are unsigned", doc: bplist("\x11\xff\xfe"), want: uint64(0xfffe)},
		{name: "4 bytes are unsigned", doc: bplist("\x12\xff\xff\xff\xff"), want: uint64(math.MaxUint32)},
		{name: "8 bytes", doc: bplist("\x13\x7f\xff\xff\xff\xff\xff\xff\xff"), want: uint64(math.MaxInt64)},
		{name: "8 bytes are signed", doc: bplist("\x13\xff\xff\xff\xff\xff\xff\xff\xff"), want: int64(-1)},
		{name: "16 bytes", doc: bplist("\x14" + strings.Repeat("\x00", 8) + strings.Repeat("\xff", 8)), want: uint64(math.MaxUint64)},
		{name: "16 bytes signed", doc: bplist("\x14" + strings.Repeat("\xff", 15) + "\xfe"), want: int64(-2)},
		{name: "float", doc: bplist("\x22\x3f\x00\x00\x00"), want: 0.5},
		{name: "double", doc: bplist(float(0x23, 0.1)), want: 0.1},
		{name: "infinity", doc: bplist(float(0x23, math.Inf(-1))), want: math.Inf(-1)},
		{name: "date", doc: bplist(float(0x33, 0)), want: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)},
		{name: "date with fraction", doc: bplist(float(0x33, -0.5)), want: time.Date(2000, 12, 31, 23, 59, 59, 5e8, time.UTC)},
		{name: "data", doc: bplist("\x43\x00\x01\xff"), want: []byte{0, 1, 255}},
		{name: "string", doc: bplist("\x56<&>\t\r\n"), want: "<&>\t\r\n"},
		{name: "empty string", doc: bplist("\x50"), want: ""},
		{name: "string with a count", doc: bplist("\x5f\x10\x10" + strings.Repeat("x", 16)), want: strings.Repeat("x", 16)},
		{name: "string with a long count", doc: bplist("\x5f\x13\x00\x00\x00\x00\x00\x00\x00\x01x"), want: "x"},
		{name: "UTF-16", doc: bplist("\x64\x00<\x20\xac\xd8\x3d\xde\x00"), want: "<€😀"},
		{name: "array", doc: bplist("\xa2\x01\x01", "\x08"), want: []any{false, false}},
		{name: "dictionary", doc: bplist("\xd2\x01\x02\x03\x03", "\x51a", "\x61\x00&", "\x10\x05"),
			want: map[string]any{"a": uint64(5), "&": uint64(5)}},
		{name: "empty dictionary", doc: bplist("\xd0"), want: map[string]any{}},
		{name: "wide references", doc: framed(4, 1, "\x09", "\xa1\x00\x00\x00\x00"), want: []any{true}},
		{name: "unreachable object", doc: bplist("\x09", "\x00"), want: true},
	}
}

func badBinaries() []binaryCase {
	return []binaryCase{
		{name: "magic only", doc: []byte("bplist00"), rule: "version 00"},
		{name: "no objects", doc: bplist(), rule: "version 00"},
		{name: "another version", doc: append([]byte("bplist01"), bplist("\x09")[8:]...), rule: "version 00"},
		{name: "streamed form", doc: append([]byte("bplist15"), bplist("\x09")[8:]...), rule: "version 00"},
		{name: "offset size 0", doc: patched(bplist("\x09"), 26, 0), rule: "width"},
		{name: "offset size 9", doc: patched(bplist("\x09"), 26, 9), rule: "width"},
		{name: "reference size 0", doc: patched(bplist("\x09"), 25, 0), rule: "width"},
		{name: "reference size 8", doc: patched(bplist("\x09"), 25, 8), rule: "width"},
		{name: "huge count", doc: patched(bplist("\x09"), 24, 0xff, 0xff), rule: "more objects than bytes"},
		{name: "count too small", doc: patched(bplist("\x09", "\x08"), 17, 1), rule: "out of place"},
		{name: "root is the count", doc: framed(1, 1, "\x09"), rule: "root object out of range"},
		{name: "table in the header", doc: patched(bplist("\x09"), 1, 8), rule: "out of place"},
		{name: "table in the trailer", doc: patched(bplist("\x09"), 1, 200), rule: "out of place"},
		{name: "table at the end of numbers", doc: patched(bplist("\x09"), 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), rule: "out of place"},
		{name: "object in the header", doc: patched(bplist("\x09"), 33, 7), rule: "outside of the object area"},
		{name: "object in the table", doc: patched(bplist("\x09"), 33, 9), rule: "outside of the object area"},
		{name: "object beyond the document", doc: patched(bplist("\x09"), 36, 0xff), rule: "outside of the object area"},
		{name: "narrow references", doc: bplist(append(make([]string, 256), "\x09")...), rule: "too narrow"},
		{name: "narrow offsets", doc: patched(bplist("\x4f\x11\x01\x00"+strings.Repeat("\x00", 256)+"\x01\x02\x03"), 26, 1), rule: "place"},
		{name: "reference to the count", doc: bplist("\xa1\x01"), rule: "does not exist"},
		{name: "key reference to the count", doc: bplist("\xd1\x01\x00"), rule: "does not exist"},
		{name: "references into the table", doc: bplist("\xa2\x00"), rule: "reaches into"},
		{name: "cyclic array", doc: bplist("\xa1\x00"), rule: "contains itself"},
		{name: "cyclic dictionary", doc: bplist("\xd1\x01\x00", "\x51a"), rule: "contains itself"},
		{name: "cycle of two", doc: bplist("\xa1\x01", "\xa1\x00"), rule: "contains itself"},
		{name: "null", doc: bplist("\x00"), rule: "null or fill"},
		{name: "fill", doc: bplist("\x0f"), rule: "null or fill"},
		{name: "UID", doc: bplist("\x80\x01"), rule: "of a type"},
		{name: "set", doc: bplist("\xc0"), rule: "of a type"},
		{name: "ordered set", doc: bplist("\xb0"), rule: "of a type"},
		{name: "32-byte integer", doc: bplist("\x15" + strings.Repeat("\x00", 32)), rule: "more than 16 bytes"},
		{name: "65-bit integer", doc: bplist("\x14" + strings.Repeat("\x00", 7) + "\x01" + strings.Repeat("\x00", 8)), rule: "more than 64 bits"},
		{name: "negative 65-bit integer", doc: bplist("\x14" + strings.Repeat("\xff", 8) + strings.Repeat("\x00", 8)), rule: "more than 64 bits"},
		{name: "integer into the table", doc: bplist("\x13\x00"), rule: "reaches into"},
		{name: "2-byte real", doc: bplist("\x21\x00\x00"), rule: "neither 4 nor 8"},
		{name: "real into the table", doc: bplist("\x23\x00"), rule: "reaches into"},
		{name: "4-byte date", doc: bplist("\x32" + strings.Repeat("\x00", 8)), rule: "malformed date"},
		{name: "date not a number", doc: bplist(float(0x33, math.NaN())), rule: "malformed date"},
		{name: "date without end", doc: bplist(float(0x33, math.Inf(1))), rule: "malformed date"},
		{name: "date of the year 10000", doc: bplist(float(0x33, 3e11)), rule: "years"},
		{name: "data into the table", doc: bplist("\x42\x00"), rule: "reaches into"},
		{name: "count without size", doc: bplist("\x4f"), rule: "malformed count"},
		{name: "count of another type", doc: bplist("\x4f\x20\x00"), rule: "malformed count"},
		{name: "count of 16 bytes", doc: bplist("\x4f\x14" + strings.Repeat("\x00", 16)), rule: "malformed count"},
		{name: "count into the table", doc: bplist("\x4f\x13\x00"), rule: "reaches into"},
		{name: "count near overflow", doc: bplist("\x6f\x13\x80\x00\x00\x00\x00\x00\x00\x00"), rule: "reaches into"},
		{name: "array near overflow", doc: bplist("\xaf\x13\xff\xff\xff\xff\xff\xff\xff\xff"), rule: "reaches into"},
		{name: "string of 8 bits", doc: bplist("\x51\xe9"), rule: "ASCII"},
		{name: "string with NUL", doc: bplist("\x51\x00"), rule: "ASCII"},
		{name: "lone high surrogate", doc: bplist("\x61\xd8\x00"), rule: "surrogate"},
		{name: "lone low surrogate", doc: bplist("\x62\xdc\x00\x00a"), rule: "surrogate"},
		{name: "UTF-16 noncharacter", doc: bplist("\x61\xff\xfe"), rule: "surrogate"},
		{name: "key not a string", doc: bplist("\xd1\x01\x01", "\x09"), rule: "key that is not a string"},
		{name: "key outside of the objects", doc: patched(bplist("\xd1\x01\x01", "\x51a"), 33, 0), rule: "outside of the object area"},
		{name: "key into the table", doc: bplist("\xd1\x01\x01", "\x52a"), rule: "reaches into"},
		{name: "UTF-16 into the table", doc: bplist("\x61a"), rule: "reaches into"},
		{name: "date into the table", doc: bplist("\x33a"), rule: "reaches into"},
		{name: "same key twice", doc: bplist("\xd2\x01\x01\x01\x01", "\x51a"), rule: "same key twice"},
		{name: "same key in two encodings", doc: bplist("\xd2\x01\x02\x01\x01", "\x51a", "\x61\x00a"), rule: "same key twice"},
	}
}

func TestBinary(t *testing.T) {
	t.Parallel()
	for _, c := range binaries() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := plistx.Check(c.doc, plistx.Limits{})
			var v any
			if c.want == nil {
				require.ErrorIs(t, err, plistx.ErrSyntax)
				require.ErrorContains(t, err, c.rule)
				require.ErrorIs(t, plistx.Unmarshal(c.doc, &v), plistx.ErrSyntax)
				return
			}
			require.NoError(t, err)
			require.NoError(t, plistx.Unmarshal(c.doc, &v))
			require.Equal(t, c.want, v)
			agree(t, c.doc, v)
		})
	}
}

func TestBinaryHeader(t *testing.T) {
	t.Parallel()
	doc := bplist("\xd3\x01\x02\x03\x04\x05\x06", "\x54UDID", "\x6c\x00N\x00o\x00t\x00O\x00n\x00C\x00o\x00n\x00s\x00o\x00l\x00e",
		"\x5f\x10\x11UserConfiguration", "\x62\x00u\x00\xfc", "\x08", "\x09")
	header, err := plistx.Scan(doc, plistx.Limits{})
	require.NoError(t, err)
	require.Equal(t, plistx.Header{UDID: "uü", NotOnConsole: plistx.False, UserConfiguration: plistx.True,
		Elements: 7, Depth: 1}, header)
}

// TestBinaryIntoTypes goes where groob's own binary decoder goes wrong: negative numbers and floats of 4 bytes.
func TestBinaryIntoTypes(t *testing.T) {
	t.Parallel()
	doc := bplist("\xd2\x01\x02\x03\x04", "\x55Level", "\x56Offset", "\x22\x3f\x40\x00\x00", "\x13\xff\xff\xff\xff\xff\xff\xff\xf0")
	var v struct {
		Level  float64
		Offset int64
	}
	require.NoError(t, plistx.Unmarshal(doc, &v))
	require.Equal(t, 0.75, v.Level)
	require.Equal(t, int64(-16), v.Offset)
	var unsigned struct{ Offset uint64 }
	require.ErrorIs(t, plistx.Unmarshal(doc, &unsigned), plistx.ErrType)
}
