package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	commands "github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/setup"
	"github.com/gomdm/applemdm/profile"
)

// appleSchema returns a checkout of Apple's schema, which is not part of this module.
func appleSchema(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("APPLEMDM_SCHEMA")
	if dir == "" {
		t.Skip("needs APPLEMDM_SCHEMA, the path of a checkout of Apple's device-management schema")
	}
	return dir
}

func TestCommittedFilesAreCurrent(t *testing.T) {
	require.NoError(t, run(appleSchema(t), filepath.Join("..", ".."), true))
}

// Every key of every file is in the Go types, with its type. It is read by other code than the generator's.
func TestEveryKeyIsReachable(t *testing.T) {
	root := appleSchema(t)
	w := &walk{t: t}
	for _, dir := range []string{"declarative", "mdm", "other"} {
		require.NoError(t, fs.WalkDir(os.DirFS(root), dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && path.Ext(name) == ".yaml" {
				w.file(root, name)
			}
			return err
		}))
	}
	assert.Greater(t, w.files, 300)
	assert.Greater(t, w.keys, 4000)
	t.Logf("%d keys in %d files", w.keys, w.files)
}

// walk follows the schema and the Go types side by side.
type walk struct {
	t     *testing.T
	files int
	keys  int
	open  []*yaml.Node
}

// yamlKey is a key as the file has it.
type yamlKey struct {
	Key, Type string
	Rangelist []string
	inner     *yaml.Node
}

func (w *walk) file(root, name string) {
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	require.NoError(w.t, err)
	var doc struct {
		Payload      map[string]any
		PayloadKeys  yaml.Node `yaml:"payloadkeys"`
		ResponseKeys yaml.Node `yaml:"responsekeys"`
	}
	require.NoError(w.t, yaml.Unmarshal(data, &doc), name)
	w.files++
	kind := ""
	for _, attr := range []string{"requesttype", "payloadtype", "statusitemtype", "credentialtype", "declarationtype"} {
		if v, ok := doc.Payload[attr].(string); ok && kind == "" {
			kind = v
		}
	}
	switch dir := path.Dir(name); {
	case dir == "mdm/checkin":
		w.checkin(kind, &doc.PayloadKeys)
	case kind == "SkipKeys":
		for _, k := range w.list(&doc.PayloadKeys) {
			w.keys++
			assert.Contains(w.t, setup.Panes(), setup.Pane(k.Key))
		}
	case kind == "TopLevel":
		w.topLevel(&doc.PayloadKeys)
	case kind == "CommonPayloadKeys":
		w.dictionary(name, reflect.TypeFor[struct {
			profile.Common
			PayloadType    string `plist:"PayloadType"` // the method of each type
			PayloadVersion int64  `plist:"PayloadVersion"`
		}](), &doc.PayloadKeys)
	default:
		w.typed(name, kind, &doc.PayloadKeys, &doc.ResponseKeys)
	}
}

// typed finds the Go types of a file. Of several forms of a payload one must have every key.
func (w *walk) typed(name, kind string, keys, response *yaml.Node) {
	dir := path.Dir(name)
	var types []any
	switch {
	case dir == "mdm/commands":
		types = []any{commands.New(kind)}
		if response.Kind != 0 {
			w.dictionary(name+" response", structOf(commands.NewResponse(kind)), response)
		}
	case dir == "mdm/profiles":
		for _, p := range profile.New(kind) {
			types = append(types, p)
		}
	case dir == "mdm/errors":
		for code, v := range enroll.Errors() {
			if strings.Contains(code, strings.TrimSuffix(path.Base(name), ".yaml")) {
				types = []any{v}
			}
		}
	case dir == "declarative/status" && kind != "status-reason":
		w.status(name, kind, keys)
		return
	default:
		types = []any{map[string]any{
			"ManifestURL": &commands.Manifest{}, "passwordHash": &commands.PasswordHash{}, "MachineInfo": &enroll.MachineInfo{}, "ESSO": &enroll.SSODocument{},
			"TokensResponse": &ddm.TokensResponse{}, "DeclarationItemsResponse": &ddm.DeclarationItemsResponse{}, "StatusReport": &ddm.StatusReport{},
			"status-reason": &ddm.StatusReason{}, "com.apple.credential.acme": &ddm.CredentialACME{}, "com.apple.credential.identity": &ddm.CredentialIdentity{},
			"com.apple.credential.scep": &ddm.CredentialSCEP{}, "com.apple.credential.usernameandpassword": &ddm.CredentialUserNameAndPassword{},
			"any": &struct {
				Type, Identifier, ServerToken string
				Payload                       map[string]any
			}{}, // ddm.Declaration
		}[kind]}
		if types[0] == nil {
			types = []any{ddm.New(kind)}
		}
	}
	if !assert.NotEmpty(w.t, types, name) || !assert.NotNil(w.t, types[0], "%s: no type for %s", name, kind) {
		return
	}
	best := types[0]
	for _, v := range types {
		if len(w.missing(structOf(v), keys)) < len(w.missing(structOf(best), keys)) {
			best = v
		}
	}
	w.dictionary(name, structOf(best), keys)
}

func structOf(v any) reflect.Type {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// missing lists the keys of the first level that a type does not have.
func (w *walk) missing(t reflect.Type, keys *yaml.Node) []string {
	var out []string
	for _, k := range w.list(keys) {
		if _, ok := fieldOf(t, k.Key); !ok {
			out = append(out, k.Key)
		}
	}
	return out
}

// list reads a list of keys, without what is inside of them.
func (w *walk) list(n *yaml.Node) []yamlKey {
	var out []yamlKey
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for _, one := range n.Content {
		var k yamlKey
		for i := 0; i+1 < len(one.Content); i += 2 {
			switch value := one.Content[i+1]; one.Content[i].Value {
			case "key":
				k.Key = value.Value
			case "type":
				k.Type = strings.Trim(value.Value, "<>")
			case "subkeys":
				k.inner = value
				for k.inner.Kind == yaml.AliasNode {
					k.inner = k.inner.Alias
				}
			case "rangelist":
				for _, v := range value.Content {
					k.Rangelist = append(k.Rangelist, v.Value)
				}
			}
		}
		out = append(out, k)
	}
	return out
}

func (w *walk) dictionary(at string, t reflect.Type, keys *yaml.Node) {
	for _, k := range w.list(keys) {
		w.keys++
		if k.Key == "ANY" || strings.HasPrefix(k.Key, "ANY ") { // a payload of anything: all of it is in Extra
			continue
		}
		field, ok := fieldOf(t, k.Key)
		if !assert.True(w.t, ok, "%s: the key %s is not in %s", at, k.Key, t) {
			continue
		}
		w.value(at+": "+k.Key, field, k)
	}
}

// fieldOf finds the field of a key, in embedded structs, too.
func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("plist"), ",")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			if inner, ok := fieldOf(f.Type, key); ok {
				return inner, true
			}
		case name == key || name == "" && f.Name == key:
			return f.Type, true
		}
	}
	return nil, false
}

// corrected are keys whose type the generator corrects; curated.go says why.
var corrected = []string{
	"mdm/commands/settings.yaml response: Settings",
	"mdm/profiles/com.apple.security.scep.yaml: PayloadContent: SubjectAltName: rfc822Name", "mdm/profiles/com.apple.security.scep.yaml: PayloadContent: SubjectAltName: dNSName",
	"mdm/profiles/com.apple.security.scep.yaml: PayloadContent: SubjectAltName: uniformResourceIdentifier",
	"mdm/profiles/com.apple.security.acme.yaml: SubjectAltName: rfc822Name", "mdm/profiles/com.apple.security.acme.yaml: SubjectAltName: dNSName",
	"mdm/profiles/com.apple.security.acme.yaml: SubjectAltName: uniformResourceIdentifier",
}

var scalars = map[string][]reflect.Kind{
	"string": {reflect.String}, "integer": {reflect.Int64}, "real": {reflect.Float64}, "boolean": {reflect.Bool}, "any": {reflect.Interface},
	"array": {reflect.Slice}, "dictionary": {reflect.Struct, reflect.Map},
}

func (w *walk) value(at string, t reflect.Type, k yamlKey) {
	if slices.Contains(corrected, at) {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[mdm.Secret]():
		assert.Contains(w.t, []string{"string", "data"}, k.Type, at)
		return
	case k.Type == "date":
		assert.Equal(w.t, reflect.TypeFor[time.Time](), t, at)
		return
	case k.Type == "data":
		assert.Equal(w.t, reflect.TypeFor[[]byte](), t, at)
		return
	case !assert.Contains(w.t, scalars[k.Type], t.Kind(), "%s: a %s is a %s", at, k.Type, t):
		return
	}
	if k.inner == nil || slices.Contains(w.open, k.inner) {
		return
	}
	w.open = append(w.open, k.inner)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	w.inside(at, t, k)
}

func (w *walk) inside(at string, t reflect.Type, k yamlKey) {
	inner := w.list(k.inner)
	switch {
	case t.Kind() == reflect.Struct:
		w.dictionary(at, t, k.inner)
	case t.Kind() == reflect.Map:
		w.keys++
		w.value(at+"{}", t.Elem(), inner[0])
	case t.Kind() == reflect.Slice && len(inner) == 1:
		w.keys++
		w.value(at+"[]", t.Elem(), inner[0])
	case t.Kind() == reflect.Slice: // one of several dictionaries, told apart by Item
		for _, one := range inner {
			w.keys++
			field, ok := fieldOf(t.Elem(), one.Key)
			if assert.True(w.t, ok, "%s: %s is not in %s", at, one.Key, t) {
				w.union(at+": "+one.Key, field.Elem(), one)
			}
		}
	case t.Kind() == reflect.String: // the values that it may have: see TestEveryValueIsListed
		w.keys += len(inner)
	default:
		assert.Fail(w.t, "what is this", "%s: keys inside of a %s", at, t)
	}
}

func (w *walk) union(at string, t reflect.Type, one yamlKey) {
	for _, k := range w.list(one.inner) {
		w.keys++
		if k.Key == "Item" {
			continue
		}
		field, ok := fieldOf(t, k.Key)
		if assert.True(w.t, ok, "%s: the key %s is not in %s", at, k.Key, t) {
			w.value(at+": "+k.Key, field, k)
		}
	}
}
