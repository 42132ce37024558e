package cms_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

func unhex(s string) []byte { return must(hex.DecodeString(strings.ReplaceAll(s, " ", ""))) }

func TestToDER(t *testing.T) {
	for ber, want := range map[string]string{
		"3003020101":                           "3003020101",
		"3080020101 0000":                      "3003020101",
		"308103020101":                         "3003020101", // a longer length than needed
		"30840000000302 8400000001 01":         "",           // beyond what holds it
		"3084000000 08 02 8400000001 01":       "",
		"3084000000 07 02 8400000001 01":       "3003020101",
		"2480 040141 040142 0000":              "04024142",       // a string in pieces
		"2406 040141 040142":                   "04024142",       // of definite length
		"2480 2403040141 040142 0000":          "04024142",       // pieces of pieces
		"2480 0000":                            "0400",           // no pieces
		"3080 a080 2480 040141 0000 0000 0000": "3005a003040141", // as devices nest it
		"3080 3080 0000 3080 0000 0000":        "300430003000",
		"3004 3080 0000":                       "30023000",
		"0500":                                 "0500",
		"3000":                                 "3000",
		"a080 040141 040142 0000":              "a006040141040142", // the content may be anything: left in pieces
		"":                                     "",
		"30":                                   "",
		"3000 00":                              "", // a byte too many
		"3080 0000 0000":                       "", // end-of-contents of nothing
		"3080 00":                              "",
		"3080 0001":                            "",
		"3004 3080 00 00":                      "30023000",
		"3003 3080 0000":                       "", // ends behind what holds it
		"3002 0000":                            "", // end-of-contents in an element of definite length
		"0480 0000":                            "", // a primitive element of indefinite length
		"2480 020101 0000":                     "", // a string of something else
		"2480 2480 020101 0000 0000":           "",
		"1f80":                                 "", // the short ones that break parsers
		"1f05":                                 "",
		"3f81":                                 "",
		"3081":                                 "",
		"308401":                               "",
		"3080":                                 "",
		"2480":                                 "",
		"248000":                               "",
		"24802480":                             "",
		"2480 0480":                            "",
		"30ff":                                 "",
		"3085 0000000000":                      "",
		"30847fffffff":                         "",
		"3084ffffffff":                         "",
		"3084 ffffffff " + strings.Repeat("00", 1000): "",
	} {
		out, err := cms.ToDER(unhex(ber), cms.Limits{})
		checked := cms.Check(unhex(ber), cms.Limits{})
		if want == "" {
			require.ErrorIs(t, err, cms.ErrSyntax, ber)
			require.ErrorIs(t, checked, cms.ErrSyntax, ber)
			continue
		}
		require.NoError(t, err, ber)
		require.NoError(t, checked, ber)
		assert.Equal(t, want, hex.EncodeToString(out), ber)
	}
}

// TestToDERLengths crosses the sizes at which a length takes another byte.
func TestToDERLengths(t *testing.T) {
	for _, n := range []int{0, 1, 0x7d, 0x7e, 0x7f, 0x80, 0xfd, 0xfe, 0xff, 0x100, 0xfffe, 0xffff, 0x10000} {
		content := bytes.Repeat([]byte{7}, n)
		out, err := cms.ToDER(open(0x30, open(0x24, el(4, content[:n/2]), el(4, content[n/2:]))), cms.Limits{})
		require.NoError(t, err)
		assert.True(t, bytes.Equal(el(0x30, el(4, content)), out), "%d bytes", n)
	}
}

func TestLimits(t *testing.T) {
	message := unhex("3006 3004 0500 0500") // 8 bytes, 2 deep, 4 elements
	for name, tt := range map[string]struct {
		limits cms.Limits
		want   error
	}{
		"exactly":   {cms.Limits{Bytes: 8, Depth: 2, Elements: 4}, nil},
		"default":   {cms.Limits{Bytes: -1}, nil},
		"large":     {cms.Limits{Bytes: 7}, cms.ErrTooLarge},
		"deep":      {cms.Limits{Depth: 1}, cms.ErrTooDeep},
		"many":      {cms.Limits{Elements: 3}, cms.ErrTooMany},
		"ample":     {cms.Limits{Bytes: 1 << 30, Depth: 1 << 30, Elements: 1 << 30}, nil},
		"one of it": {cms.Limits{Bytes: 1, Depth: 1, Elements: 1}, cms.ErrTooLarge},
	} {
		_, err := cms.ToDER(message, tt.limits)
		require.ErrorIs(t, err, tt.want, name)
		require.ErrorIs(t, cms.Check(message, tt.limits), tt.want, name)
	}
}

// TestBombs gives each door what would take a careless parser down.
func TestBombs(t *testing.T) {
	nested := []byte{5, 0}
	for range 2000 {
		nested = el(0x30, nested)
	}
	for name, tt := range map[string]struct {
		message []byte
		want    error
	}{
		"nested, indefinite":        {bytes.Repeat([]byte{0x30, 0x80}, 100_000), cms.ErrTooDeep},
		"nested strings":            {bytes.Repeat([]byte{0x24, 0x80}, 100_000), cms.ErrTooDeep},
		"nested, definite":          {nested, cms.ErrTooDeep},
		"many":                      {el(0x30, bytes.Repeat([]byte{5, 0}, 500_000)), cms.ErrTooMany},
		"many, indefinite":          {open(0x30, bytes.Repeat([]byte{0x30, 0x80, 0, 0}, 200_000)), cms.ErrTooMany},
		"many pieces":               {open(0x24, bytes.Repeat([]byte{4, 1, 7}, 300_000)), cms.ErrTooMany},
		"too large":                 {make([]byte, 2<<20), cms.ErrTooLarge},
		"a high tag":                {[]byte{0x1f, 0x80}, cms.ErrSyntax},
		"half a length":             {[]byte{0x30, 0x84, 0x01}, cms.ErrSyntax},
		"nothing":                   {nil, cms.ErrSyntax},
		"a number":                  {version1, cms.ErrSyntax},
		"no content info":           {el(0x30, oidSignedData), cms.ErrSyntax},
		"an empty one":              {el(0x30, oidSignedData, el(0xa0)), cms.ErrSyntax},
		"an empty SignedData":       {el(0x30, oidSignedData, el(0xa0, el(0x30))), cms.ErrSyntax},
		"an empty EnvelopedData":    {el(0x30, oidEnveloped, el(0xa0, el(0x30))), cms.ErrSyntax},
		"an unknown kind":           {el(0x30, oidOther, el(0xa0, el(0x30))), cms.ErrSyntax},
		"something after the kind":  {el(0x30, oidSignedData, el(0xa0, el(0x30)), null), cms.ErrSyntax},
		"something beside the data": {el(0x30, oidSignedData, el(0xa0, el(0x30), null)), cms.ErrSyntax},
	} {
		_, err := cms.ParseSigned(tt.message, cms.Limits{})
		require.ErrorIs(t, err, tt.want, name)
		_, err = cms.ParseCerts(tt.message, cms.Limits{})
		require.ErrorIs(t, err, tt.want, name)
		_, err = cms.Decrypt(tt.message, rsaSigner().cert, rsaSigner().key, cms.Limits{})
		require.ErrorIs(t, err, tt.want, name)
	}
}
