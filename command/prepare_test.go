package command_test

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	howett "howett.net/plist"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

func TestPrepareMalformed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ok := command.ProfileList{}
	const text = "<string>TOP-SECRET</string>"
	tests := map[string]struct {
		order command.Order
		names string // what the error must name
	}{
		"no command":               {command.Order{}, "no command"},
		"nil pointer":              {command.Order{Command: (*command.ProfileList)(nil)}, "no command"},
		"nil pointer with secrets": {command.Order{Command: (*command.DeviceLock)(nil)}, "no command"},
		"nil raw pointer":          {command.Order{Command: (*command.Raw)(nil)}, "no command"},
		"empty raw":                {command.Order{Command: command.Raw(nil)}, "not a valid property list"},
		"raw text":                 {command.Order{Command: command.Raw("TOP-SECRET")}, "not a valid property list"},
		"raw array":                {command.Order{Command: command.Raw(plist("<array>" + text + "</array>"))}, "does not fit"},
		"raw without RequestType":  {command.Order{Command: raw("<key>A</key>" + text)}, "RequestType"},
		"RequestType of a number":  {command.Order{Command: raw("<key>RequestType</key><integer>1</integer>")}, "RequestType"},
		"RequestType empty":        {command.Order{Command: raw("<key>RequestType</key><string></string>")}, "RequestType"},
		"RequestType too long":     {command.Order{Command: raw("<key>RequestType</key><string>" + strings.Repeat("x", 256) + "</string>")}, "RequestType"},
		"whole without Command":    {command.Order{Command: raw("<key>CommandUUID</key>" + text)}, "no Command dictionary"},
		"Command is no dictionary": {command.Order{Command: raw("<key>Command</key>" + text)}, "no Command dictionary"},
		"inner without kind":       {command.Order{Command: whole("", "<key>A</key>"+text)}, "RequestType"},
		"own type without kind":    {command.Order{Command: named{}}, "RequestType"},
		"own type no dictionary":   {command.Order{Command: list{"TOP-SECRET"}}, "does not fit"},
		"two UUIDs":                {command.Order{Command: whole(text, kind), UUID: "other"}, "different UUIDs"},
		"UUID of a number":         {command.Order{Command: whole("<integer>1</integer>", kind)}, "CommandUUID"},
		"UUID too long":            {command.Order{Command: ok, UUID: strings.Repeat("x", 256)}, "UUID"},
		"UUID with a newline":      {command.Order{Command: ok, UUID: "a\nb"}, "UUID"},
		"UUID not UTF-8":           {command.Order{Command: ok, UUID: "a\xffb"}, "UUID"},
		"UUID not ASCII":           {command.Order{Command: ok, UUID: "ü"}, "UUID"},
		"raw UUID not ASCII":       {command.Order{Command: whole("<string>ü</string>", kind)}, "UUID"},
		"NotAfter too early":       {command.Order{Command: ok, NotBefore: at, NotAfter: at.Add(-1)}, "NotAfter"},
		"Supersede of nothing":     {command.Order{Command: ok, Supersede: true}, "Supersede"},
		"Collapse too long":        {command.Order{Command: ok, Collapse: strings.Repeat("x", 256)}, "collapse key has 256 bytes"},
		"raw over 16 MiB":          {command.Order{Command: command.Raw(strings.Repeat(" ", command.MaxBody+1))}, "too large"},
		"body over 16 MiB":         {command.Order{Command: command.InstallProfile{Payload: make([]byte, 13<<20)}}, "over the limit"},
		"data over 16 MiB":         {command.Order{Command: command.DeclarativeManagement{Data: make([]byte, 13<<20)}}, "over the limit"},
		"no profile":               {command.Order{Command: command.InstallProfile{}}, "Payload"},
		"no identifier":            {command.Order{Command: command.RemoveProfile{}}, "Identifier"},
		"no queries":               {command.Order{Command: command.DeviceInformation{}}, "Queries"},
		"no unlock token":          {command.Order{Command: &command.ClearPasscode{}}, "UnlockToken"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			item, err := command.Prepare(tt.order)
			require.ErrorContains(t, err, tt.names)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			assert.NotContains(t, err.Error(), "TOP-SECRET")
			assert.Equal(t, command.Item{}, item)
		})
	}
}

func TestPrepareAtTheLimits(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	long := strings.Repeat("x", 255)
	_, item := prepared(t, command.Order{Command: command.ProfileList{}, UUID: long, Collapse: long, Supersede: true, NotBefore: at, NotAfter: at})
	assert.Equal(t, long, item.UUID)
}

func TestPrepareUUID(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		order command.Order
		want  string
	}{
		"of the order":           {command.Order{Command: command.ProfileList{}, UUID: "Order-1"}, "Order-1"},
		"of the message":         {command.Order{Command: whole("<string>Raw-1</string>", kind)}, "Raw-1"},
		"of both, equal":         {command.Order{Command: whole("<string>Same</string>", kind), UUID: "Same"}, "Same"},
		"of the order, raw bare": {command.Order{Command: raw(kind), UUID: "Order-1"}, "Order-1"},
		"message's is empty":     {command.Order{Command: whole("<string></string>", kind), UUID: "Order-1"}, "Order-1"},
		"with markup":            {command.Order{Command: command.ProfileList{}, UUID: ` <a>&"'~ `}, ` <a>&"'~ `},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, item := prepared(t, tt.order)
			assert.Equal(t, tt.want, item.UUID)
			header, err := plistx.Scan(item.Body, plistx.Limits{})
			require.NoError(t, err)
			assert.Equal(t, tt.want, header.CommandUUID, "as a device would send it back")
		})
	}
}

func TestPrepareRandomUUID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range []command.Command{command.ProfileList{}, raw(kind), whole("", kind), whole("<string></string>", kind)} {
		_, item := prepared(t, command.Order{Command: c})
		assert.Regexp(t, regexp.MustCompile(`^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`), item.UUID)
		assert.False(t, seen[item.UUID])
		seen[item.UUID] = true
	}
}

func TestPrepareDigest(t *testing.T) {
	t.Parallel()
	digest := func(c command.Command, id string) [32]byte {
		_, item := prepared(t, command.Order{Command: c, UUID: id})
		return item.Digest
	}
	typed := digest(command.RemoveProfile{Identifier: "a"}, "1")
	const removal = "<key>RequestType</key><string>RemoveProfile</string><key>Identifier</key><string>a</string>"
	assert.Equal(t, typed, digest(command.RemoveProfile{Identifier: "a"}, "2"), "under another UUID")
	assert.Equal(t, typed, digest(&command.RemoveProfile{Identifier: "a"}, ""), "by pointer")
	assert.Equal(t, typed, digest(raw("\n "+removal), ""), "as a dictionary")
	assert.Equal(t, typed, digest(whole("<string>3</string>", removal), ""), "as a message")
	assert.Equal(t, typed, digest(binary(t, map[string]any{"Identifier": "a", "RequestType": "RemoveProfile"}), ""), "in binary")
	assert.NotEqual(t, typed, digest(command.RemoveProfile{Identifier: "b"}, "1"))
	assert.NotEqual(t, typed, digest(raw(removal+"<key>RequestRequiresNetworkTether</key><true/>"), "1"))
}

func binary(t *testing.T, v any) command.Raw {
	t.Helper()
	data, err := howett.Marshal(v, howett.BinaryFormat)
	require.NoError(t, err)
	return data
}

// Every value comes through as it is, in any form.
func TestPrepareRawValues(t *testing.T) {
	t.Parallel()
	dict := map[string]any{
		"RequestType": "Test", "RequestRequiresNetworkTether": true, "No": false, "Data": []byte{0, 1, 0xff}, "NoData": []byte(nil),
		"Big": uint64(math.MaxUint64), "Small": int64(math.MinInt64), "Zero": uint64(0), "Real": 0.1, "Whole": 1.0, "Huge": 1e300,
		"Date": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "Text": "  <&>\"' ü\n\t\U0001F34E ", "Empty": "",
		"Array": []any{}, "Dict": map[string]any{}, "Deep": []any{map[string]any{"A": []any{"x", uint64(1), []byte("d")}}},
		"": "empty key", "Command": map[string]any{"RequestType": "Inner"},
	}
	xml, err := howett.Marshal(dict, howett.XMLFormat)
	require.NoError(t, err)
	inMessage, err := howett.Marshal(map[string]any{"Command": dict, "CommandUUID": "u", "New": "kept"}, howett.BinaryFormat)
	require.NoError(t, err)
	for name, r := range map[string]command.Raw{"xml": xml, "binary": binary(t, dict), "message": inMessage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, "Test", r.RequestType())
			got, item := prepared(t, command.Order{Command: r})
			assert.Equal(t, dict, got)
			if name == "message" {
				assert.Equal(t, "kept", decoded(t, item.Body)["New"])
			}
			_, again := prepared(t, command.Order{Command: command.Raw(item.Body)})
			assert.Equal(t, string(item.Body), string(again.Body), "what was prepared once stays as it is")
			assert.Equal(t, item.Digest, again.Digest)
		})
	}
}

func TestPrepareRawForms(t *testing.T) {
	t.Parallel()
	const inner = "<dict>" + kind + "</dict>"
	tests := map[string]struct {
		raw  command.Raw
		want map[string]any
	}{
		"bare, with a key Command":  {raw(kind + "<key>Command</key>" + inner), map[string]any{"RequestType": "Test", "Command": map[string]any{"RequestType": "Test"}}},
		"bare, with a text Command": {raw(kind + "<key>Command</key><string>ls</string>"), map[string]any{"RequestType": "Test", "Command": "ls"}},
		"message":                   {whole("<string>u</string>", kind), map[string]any{"RequestType": "Test"}},
		"message without UUID":      {whole("", kind), map[string]any{"RequestType": "Test"}},
		"message with RequestType": {raw("<key>CommandUUID</key><string>u</string><key>RequestType</key><string>Other</string><key>Command</key>" + inner),
			map[string]any{"RequestType": "Test"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dict, item := prepared(t, command.Order{Command: tt.raw})
			assert.Equal(t, tt.want, dict)
			assert.Equal(t, "Test", item.RequestType)
			assert.Equal(t, "Test", tt.raw.RequestType())
			_, byPointer := prepared(t, command.Order{Command: &tt.raw, UUID: item.UUID})
			assert.Equal(t, item, byPointer)
		})
	}
	for _, bad := range []command.Raw{nil, command.Raw("x"), raw(""), raw("<key>CommandUUID</key><string>u</string>"), whole("", "")} {
		assert.Empty(t, bad.RequestType())
	}
}

// Preparing must not change what the caller keeps.
func TestPrepareLeavesTheCommand(t *testing.T) {
	t.Parallel()
	own := bag{"Key": "value"}
	r := whole("", kind)
	before := string(r)
	for range 2 {
		dict, _ := prepared(t, command.Order{Command: own})
		assert.Equal(t, map[string]any{"Key": "value", "RequestType": "Bag"}, dict)
		prepared(t, command.Order{Command: r})
	}
	assert.Equal(t, bag{"Key": "value"}, own)
	assert.Equal(t, before, string(r))
}

// The types that a caller may bring.
type (
	named struct{ Name string }
	list  []string
	bag   map[string]any
	lock  struct { // embeds a command with secrets, and adds a key
		command.DeviceLock
		Extra string
	}
	vault struct{ password mdm.Secret }
	sorry struct{}
)

func (n named) RequestType() string { return n.Name }
func (list) RequestType() string    { return "List" }
func (bag) RequestType() string     { return "Bag" }
func (vault) RequestType() string   { return "Vault" }
func (v vault) MarshalPlist() (any, error) {
	return map[string]string{"Password": string(v.password.Reveal())}, nil
}
func (sorry) RequestType() string        { return "Sorry" }
func (sorry) MarshalPlist() (any, error) { return nil, errSorry }

var errSorry = errors.New("sorry")

func TestPrepareOwnTypes(t *testing.T) {
	t.Parallel()
	dict, _ := prepared(t, command.Order{Command: named{"Own"}})
	assert.Equal(t, map[string]any{"Name": "Own", "RequestType": "Own"}, dict)
	dict, _ = prepared(t, command.Order{Command: vault{mdm.SecretString("open")}})
	assert.Equal(t, map[string]any{"Password": "open", "RequestType": "Vault"}, dict)
	dict, _ = prepared(t, command.Order{Command: &command.DeviceLock{Message: new("by pointer")}})
	assert.Equal(t, map[string]any{"Message": "by pointer", "RequestType": "DeviceLock"}, dict)
	_, err := command.Prepare(command.Order{Command: sorry{}})
	require.ErrorIs(t, err, errSorry)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	_, err = command.Prepare(command.Order{Command: lock{command.DeviceLock{PIN: mdm.SecretString("1")}, "would be lost"}})
	require.ErrorIs(t, err, mdm.ErrSecret)
}
