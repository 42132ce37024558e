package main

import (
	"flag"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// The schema in testdata has every construct that Apple's has. What comes of it is in testdata/golden, to be read.
func TestGolden(t *testing.T) {
	files, err := Generate(os.DirFS("testdata/schema"))
	require.NoError(t, err)
	again, err := Generate(os.DirFS("testdata/schema"))
	require.NoError(t, err)
	assert.Equal(t, files, again, "the same schema gives the same bytes")
	if *update {
		require.NoError(t, os.RemoveAll("testdata/golden"))
	}
	found := map[string]bool{}
	for name, data := range files {
		if strings.HasSuffix(name, ".go") {
			formatted, err := format.Source(data)
			require.NoError(t, err, name)
			assert.Equal(t, string(formatted), string(data), "%s is gofmt's", name)
		}
		golden := filepath.Join("testdata", "golden", filepath.FromSlash(name)+".golden") // not .go: it is no code of this module
		found[golden] = true
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
			require.NoError(t, os.WriteFile(golden, data, 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(data), name)
	}
	require.NoError(t, filepath.WalkDir("testdata/golden", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			assert.True(t, found[path], "%s is not generated", path)
		}
		return err
	}))
}

// Run writes, sees that nothing changed, notices a change, and removes what is no longer generated.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, run("testdata/schema", dir, false))
	require.NoError(t, run("testdata/schema", dir, true))
	path := filepath.Join(dir, "command", "testnothing_gen.go")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(data, '\n'), 0o644))
	stale := filepath.Join(dir, "command", "old_gen.go")
	require.NoError(t, os.WriteFile(stale, []byte(header+"\n"), 0o644))
	other := filepath.Join(dir, "command", "other_gen.go")
	require.NoError(t, os.WriteFile(other, []byte("// somebody else's\n"), 0o644))
	err = run("testdata/schema", dir, true)
	require.ErrorContains(t, err, "command/testnothing_gen.go")
	require.ErrorContains(t, err, "command/old_gen.go")
	require.NoError(t, run("testdata/schema", dir, false))
	require.NoError(t, run("testdata/schema", dir, true))
	assert.NoFileExists(t, stale)
	assert.FileExists(t, other)
	require.ErrorContains(t, run("", dir, false), "APPLEMDM_SCHEMA")
	require.Error(t, run(t.TempDir(), dir, false), "no schema there")
}

// command is a file of a schema with these lines after its payload.
func command(lines string) string {
	return "title: t\npayload:\n  requesttype: TestBad\n" + lines
}

// What the generator does not know stops it, with the file and the line.
func TestBadSchemas(t *testing.T) {
	const key = "payloadkeys:\n- key: A\n  type: <string>\n"
	tests := map[string]struct{ text, want string }{
		"not YAML":                       {"{", "bad.yaml"},
		"an attribute of a file":         {command("news: x\n"), "bad.yaml:4: unknown attribute \"news\""},
		"an attribute of the payload":    {"payload:\n  requesttype: T\n  news: x\n", "bad.yaml:3: unknown attribute \"news\" of payload"},
		"an attribute of a key":          {command(key + "  news: x\n"), "bad.yaml:7: unknown attribute \"news\" of a key"},
		"an attribute of a system":       {command(key + "  supportedOS:\n    iOS:\n      news: x\n"), "bad.yaml:9: unknown attribute \"news\" of a system"},
		"an attribute of sharedipad":     {command(key + "  supportedOS:\n    iOS:\n      sharedipad:\n        news: x\n"), "bad.yaml:10: unknown attribute \"news\" of sharedipad"},
		"an attribute of userenrollment": {command(key + "  supportedOS:\n    iOS:\n      userenrollment:\n        news: x\n"), "bad.yaml:10: unknown attribute \"news\" of userenrollment"},
		"an attribute of a range":        {command(key + "  range:\n    mean: 1\n"), "bad.yaml:8: unknown attribute \"mean\" of a range"},
		"an attribute of a reason":       {command("reasons:\n- news: x\n"), "bad.yaml:5: unknown attribute \"news\" of a reason"},
		"a system":                       {command(key + "  supportedOS:\n    carOS:\n      introduced: '1'\n"), "bad.yaml:9: unknown system \"carOS\""},
		"an access right":                {command(key + "  supportedOS:\n    iOS:\n      accessrights: All\n"), "bad.yaml:9: unknown access right \"All\""},
		"a mode":                         {command(key + "  supportedOS:\n    iOS:\n      userenrollment:\n        mode: maybe\n"), "bad.yaml:10: \"maybe\" is not one of"},
		"a truth":                        {command(key + "  supportedOS:\n    iOS:\n      supervised: perhaps\n"), "bad.yaml:9: \"perhaps\" is not one of"},
		"a type":                         {command("payloadkeys:\n- key: A\n  type: <colour>\n"), "bad.yaml:6: \"<colour>\" is not one of"},
		"a presence":                     {command(key + "  presence: sometimes\n"), "bad.yaml:7: \"sometimes\" is not one of"},
		"a combinetype":                  {command(key + "  combinetype: shuffle\n"), "bad.yaml:7: \"shuffle\" is not one of"},
		"a key without a type":           {command("payloadkeys:\n- key: A\n"), "bad.yaml:5: a key without name or type"},
		"a key that is a number":         {command("payloadkeys:\n- key: 802\n  type: <string>\n"), "bad.yaml:5: a key that is no string"},
		"a key twice":                    {command(key + "- key: A\n  type: <integer>\n"), "bad.yaml:7: the key \"A\" is there twice"},
		"an attribute twice":             {command("payloadkeys:\n- key: A\n  type: <string>\n  key: B\n"), "bad.yaml"},
		"keys that are no list":          {command("payloadkeys: 5\n"), "bad.yaml:4: not a list of keys"},
		"a key that is no mapping":       {command("payloadkeys:\n- text\n"), "bad.yaml:5: not a mapping"},
		"a bad regular expression":       {command(key + "  format: '('\n"), "bad.yaml:7: not a regular expression"},
		"a repetition of words":          {command("payloadkeys:\n- key: A\n  type: <array>\n  subkeys:\n  - key: B\n    type: <string>\n    repetition:\n      min: two\n"), "bad.yaml:11: a repetition that is no number"},
		"a repetition outside":           {command(key + "  repetition:\n    min: 1\n"), "bad.yaml:5: a repetition outside of an array"},
		"free and named keys":            {command("payloadkeys:\n- key: A\n  type: <dictionary>\n  subkeys:\n  - key: ANY\n    type: <any>\n  - key: B\n    type: <string>\n"), "bad.yaml:8: a dictionary with both"},
		"keys inside of a date":          {command("payloadkeys:\n- key: A\n  type: <date>\n  subkeys:\n  - key: B\n    type: <string>\n"), "bad.yaml:8: keys inside of a date"},
		"several kinds without an Item":  {command("payloadkeys:\n- key: A\n  type: <array>\n  subkeys:\n  - key: B\n    type: <dictionary>\n  - key: C\n    type: <dictionary>\n"), "bad.yaml:8: an array of several kinds"},
		"several kinds, one a string":    {command("payloadkeys:\n- key: A\n  type: <array>\n  subkeys:\n  - key: B\n    type: <string>\n  - key: C\n    type: <dictionary>\n"), "bad.yaml:8: an array of several kinds"},
		"a recursion to another type":    {command("payloadkeys:\n- key: A\n  type: <array>\n  subkeys: &a\n  - key: B\n    type: <dictionary>\n    subkeys: *a\n"), "bad.yaml:10: a recursion"},
		"fields of one name":             {command("payloadkeys:\n- key: a-b\n  type: <string>\n- key: aB\n  type: <string>\n"), "would both be called AB"},
		"a field that is taken":          {command("payloadkeys:\n- key: extra\n  type: <string>\n"), "would both be called Extra"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Generate(schemaOf(map[string]string{"mdm/commands/bad.yaml": tt.text}))
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

func schemaOf(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for _, dir := range []string{"declarative", "mdm", "other"} {
		out[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// Files that do not fit together stop it, too.
func TestBadFiles(t *testing.T) {
	status := func(name string) string {
		return "payload:\n  statusitemtype: " + name + "\npayloadkeys:\n- key: " + name + "\n  type: <string>\n"
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":                     {nil, "no files"},
		"a folder":                    {map[string]string{"mdm/gadgets/a.yaml": command("")}, "no package for this file"},
		"two commands of one name":    {map[string]string{"mdm/commands/a.yaml": command(""), "mdm/commands/b.yaml": command("")}, "the name TestBad is taken"},
		"a name of ours":              {map[string]string{"mdm/commands/a.yaml": "payload:\n  requesttype: Order\n"}, "the name Order is taken"},
		"an item in an item":          {map[string]string{"declarative/status/a.yaml": status("a.b"), "declarative/status/b.yaml": status("a.b.c")}, "the level \"b\" is an item, too"},
		"an item that is a level":     {map[string]string{"declarative/status/a.yaml": status("a.b.c"), "declarative/status/b.yaml": status("a.b")}, "a level of another, too"},
		"an item of another name":     {map[string]string{"declarative/status/a.yaml": "payload:\n  statusitemtype: a\npayloadkeys:\n- key: b\n  type: <string>\n"}, "without a key of its name"},
		"an outdated correction":      {map[string]string{"mdm/commands/settings.yaml": command("")}, "a correction does not apply any more"},
		"a correction that was taken": {map[string]string{"declarative/protocol/tokensresponse.yaml": "payload:\n  requesttype: T\npayloadkeys:\n- key: SyncTokens\n  type: <dictionary>\n  subkeys:\n  - key: A\n    type: <string>\n"}, "has keys now"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Generate(schemaOf(tt.files))
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

func TestGoNames(t *testing.T) {
	for from, want := range map[string]string{
		"declaration-identifier": "DeclarationIdentifier", "userId": "UserID", "iTunesStoreID": "ITunesStoreID", "SSID_STR": "SSIDStr",
		"HIDDEN_NETWORK": "HiddenNetwork", "FDE_Enabled": "FDEEnabled", "md5-size": "MD5Size", "802.1X": "X802_1X", "_removed": "Removed",
		"Key Type": "KeyType", "com.apple.EnergySaver.desktop": "ComAppleEnergySaverDesktop", "18.1": "X18_1", "": "Empty",
		"is-awaiting-configuration": "IsAwaitingConfiguration", "softwareupdate.failure-reason": "SoftwareUpdateFailureReason",
	} {
		assert.Equal(t, want, goName(from), from)
	}
	for from, want := range map[string]string{"QueriesItem": "Query", "_Errors": "Error", "items-item": "Item", "StatusItem": "StatusItem", "ServerCapabilitiesItems": "ServerCapability", "Process": "Process"} {
		assert.Equal(t, want, itemName(from), from)
	}
	for from, want := range map[string]string{"DeviceLock": "deviceLock", "MDM": "mdm", "LOMDeviceRequest": "lomDeviceRequest", "lower": "lower", "A": "a"} {
		assert.Equal(t, want, lowerFirst(from), from)
	}
}
