package plistx_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
)

func TestRepair(t *testing.T) {
	doc := func(text string) []byte {
		return []byte(`<plist version="1.0"><dict><key>Status</key><string>Idle</string><key>X</key><string>` + text + `</string></dict></plist>`)
	}
	for bad, good := range map[string]string{"a\x01b": "a\uFFFDb", "\x00\x1f": "\uFFFD\uFFFD", "a\xff": "a\uFFFD", "\uFFFE!": "\uFFFD!"} {
		_, err := plistx.Scan(doc(bad), plistx.Limits{})
		require.ErrorIs(t, err, plistx.ErrSyntax)
		fixed := plistx.Repair(doc(bad))
		assert.Equal(t, string(doc(good)), string(fixed))
		_, err = plistx.Scan(fixed, plistx.Limits{})
		require.NoError(t, err)
	}
	for _, fine := range []string{"plain", "ümlaut \t\n", "🙂"} {
		assert.Nil(t, plistx.Repair(doc(fine)))
	}
	assert.Nil(t, plistx.Repair([]byte("bplist00\x01")))
	assert.Equal(t, "\uFFFD", string(plistx.Repair([]byte{0})))
}

func FuzzRepair(f *testing.F) {
	f.Add([]byte("a\x01\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if fixed := plistx.Repair(data); fixed != nil {
			require.Nil(t, plistx.Repair(fixed), "repaired once is repaired")
			require.LessOrEqual(t, len(fixed), 3*len(data))
		}
	})
}
