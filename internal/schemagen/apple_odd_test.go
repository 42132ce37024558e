package main

import (
	"fmt"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/gomdm/applemdm/checkin"
	commands "github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// status follows the dots of a status item.
func (w *walk) status(at, kind string, keys *yaml.Node) {
	w.keys++
	t := reflect.TypeFor[ddm.StatusItems]()
	for step := range strings.SplitSeq(kind, ".") {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		field, ok := fieldOf(t, step)
		if !assert.True(w.t, ok, "%s: %s is not in %s", at, step, t) {
			return
		}
		t = field
	}
	w.value(at, t, w.list(keys)[0])
}

// topLevel tries each key of a profile: it must not land in Extra.
func (w *walk) topLevel(keys *yaml.Node) {
	for _, k := range w.list(keys) {
		w.keys++
		value, ok := map[string]any{"string": "text", "boolean": true, "date": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "real": 1.5, "integer": 5,
			"data": []byte{1}}[k.Type]
		switch {
		case k.Key == "ConsentText":
			value = map[string]any{"default": "text"}
		case !ok || k.Key == "PayloadType" || k.Key == "PayloadVersion":
			continue // what makes it a profile
		}
		top := map[string]any{"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "i", "PayloadUUID": "u", "PayloadContent": []any{}}
		top[k.Key] = value
		data, err := plistx.Marshal(top)
		require.NoError(w.t, err)
		parsed, err := profile.Parse(data)
		require.NoError(w.t, err, k.Key)
		assert.NotContains(w.t, parsed.Profile.Extra, k.Key)
	}
}

// checkin tries each key of a check-in message: the types are written by hand, and must know it.
func (w *walk) checkin(kind string, keys *yaml.Node) {
	message := map[string]any{"UDID": "D"}
	for _, k := range w.list(keys) {
		w.keys++
		switch k.Key {
		case "EnrollmentID", "EnrollmentUserID": // in place of UDID and UserID
			continue
		}
		message[k.Key] = map[string]any{"string": "text", "boolean": true, "data": []byte{1}, "dictionary": map[string]any{"SecurityToken": "t"}}[k.Type]
		require.NotNil(w.t, message[k.Key], "%s: %s is a %s", kind, k.Key, k.Type)
	}
	message["MessageType"] = kind
	data, err := plistx.Marshal(message)
	require.NoError(w.t, err)
	decoded, err := checkin.Decode(data)
	require.NoError(w.t, err, kind)
	assert.Equal(w.t, kind, decoded.MessageType())
	assert.NotEqual(w.t, "*checkin.Unknown", fmt.Sprintf("%T", decoded), kind)
	extra := reflect.ValueOf(decoded).Elem().FieldByName("Extra")
	assert.Zero(w.t, extra.Len(), "%s: not known are %v", kind, extra.Interface())
}

// Every value of every enumeration is in the tables.
func TestEveryValueIsListed(t *testing.T) {
	root := appleSchema(t)
	docs, err := parse(os.DirFS(root))
	require.NoError(t, err)
	listed := 0
	for _, doc := range docs {
		if path.Dir(doc.path) != "mdm/commands" {
			continue
		}
		object, answer := commands.SchemaOf(doc.name)
		listed += sameValues(t, doc.path, doc.keys, object.Keys)
		if answer != nil && doc.path != "mdm/commands/settings.yaml" {
			listed += sameValues(t, doc.path, doc.response, answer.Keys)
		}
	}
	assert.Greater(t, listed, 100)
}

func sameValues(t *testing.T, at string, keys []*key, table []schema.Key) int {
	n := 0
	for i, k := range keys {
		if !assert.Less(t, i, len(table), at) {
			return n
		}
		assert.Equal(t, k.name, table[i].Name, at)
		assert.Equal(t, len(k.enum), len(table[i].Enum), "%s: %s", at, k.name)
		n += len(k.enum)
		if k.item != nil {
			n += len(table[i].Item.Enum)
			assert.Equal(t, k.item.enum, table[i].Item.Enum, "%s: %s", at, k.name)
		}
		n += sameValues(t, at+": "+k.name, k.keys, table[i].Keys)
	}
	return n
}
