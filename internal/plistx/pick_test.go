package plistx_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
)

func TestPick(t *testing.T) {
	const inner = `<dict><key>Name</key><string>a &amp; b</string><key>Odd</key><integer>1</integer><key>Yes</key><true/><key>No</key><false/>
		<key>Deep</key><dict><key>Name</key><string>deeper</string></dict><key>List</key><array><dict><key>Name</key><string>listed</string></dict></array></dict>`
	doc := `<plist version="1.0"><dict><key>Name</key><string>outer</string><key>Other</key>` + inner + `<key>A</key><dict><key>X</key>` + inner +
		`<key>B</key>` + inner + `</dict></dict></plist>`
	pick := func(doc []byte, path ...string) (name string, yes, no plistx.Tristate, err error) {
		var odd string
		err = plistx.Pick(doc, plistx.Limits{}, path, func(key []byte) *string {
			return map[string]*string{"Name": &name, "Odd": &odd, "Yes": &odd}[string(key)]
		}, func(key []byte) *plistx.Tristate {
			return map[string]*plistx.Tristate{"Yes": &yes, "No": &no}[string(key)]
		})
		assert.Empty(t, odd, "of another type")
		return name, yes, no, err
	}
	for path, want := range map[string]string{"": "outer", "A/B": "a & b", "Other": "a & b", "A/B/Deep": "deeper", "A/B/List": "", "A": "", "B": "", "A/B/Name": ""} {
		var keys []string
		if path != "" {
			keys = strings.Split(path, "/")
		}
		name, yes, no, err := pick([]byte(doc), keys...)
		require.NoError(t, err)
		assert.Equal(t, want, name, path)
		if want == "a & b" {
			assert.Equal(t, plistx.True, yes)
			assert.Equal(t, plistx.False, no)
		}
	}
	binary := toBinary(t, []byte(`<plist><dict><key>A</key><dict><key>Name</key><string>n</string><key>Yes</key><true/><key>No</key><false/>
		<key>Odd</key><integer>2</integer></dict></dict></plist>`))
	name, yes, no, err := pick(binary, "A")
	require.NoError(t, err)
	assert.Equal(t, []any{"n", plistx.True, plistx.False}, []any{name, yes, no})
	_, _, _, err = pick([]byte("<plist><dict><key>A</key></dict></plist>"), "A")
	require.Error(t, err)
}
