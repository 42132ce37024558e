package main

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// unit is a file of Go: the types of one file of the schema.
type unit struct {
	pkg   *pkg
	file  string // without _gen.go
	doc   *document
	root  string // the name of the main type; empty for tables only
	start string // what the names of inner types begin with, if not root
	wire  string // Method() string that names it: RequestType, PayloadType, DeclarationType, Code
	plain bool   // its JSON is that of the wire

	tops  []*structType // the main type, and that of the answer
	inner []*structType
	enums []*enumType
}

// structType is a dictionary that becomes a struct.
type structType struct {
	*candidate
	keys   []*key
	union  bool
	embed  string // the struct of keys that it shares with others
	answer bool
}

// enumType is a list of values that becomes a type with constants.
type enumType struct {
	*candidate
	kind   string
	values []string
}

// pkg is a Go package that gets generated files.
type pkg struct {
	dir, name string
	taken     []string // names that its hand-written files have
	units     []*unit
}

func (u *unit) prefix() string {
	if u.start != "" {
		return u.start
	}
	return u.root
}

// builder finds the types of one unit.
type builder struct {
	u       *unit
	structs map[*yaml.Node]*structType
	enums   map[string]*enumType
}

// build finds all types of a package and names them.
func (p *pkg) build() error {
	taken := map[string]bool{}
	for _, name := range p.taken {
		taken[name] = true
	}
	var all []*candidate
	for _, u := range p.units {
		b := &builder{u: u, structs: map[*yaml.Node]*structType{}, enums: map[string]*enumType{}}
		if u.root != "" {
			if taken[u.root] {
				return fmt.Errorf("%s: the name %s is taken in %s", u.doc.path, u.root, p.dir)
			}
			taken[u.root] = true
			u.tops = append(u.tops, &structType{candidate: &candidate{name: u.root}, keys: u.doc.keys})
			if u.doc.response != nil {
				taken[u.root+"Response"] = true
				u.tops = append(u.tops, &structType{candidate: &candidate{name: u.root + "Response"}, keys: u.doc.response, answer: true})
			}
			b.keys(u.doc.keys, nil)
			b.keys(u.doc.response, nil)
		}
		for _, s := range u.inner {
			all = append(all, s.candidate)
		}
		for _, e := range u.enums {
			all = append(all, e.candidate)
		}
	}
	if err := settle(all, taken); err != nil {
		return err
	}
	for _, u := range p.units {
		if err := u.fields(); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) keys(keys []*key, path []string) {
	for _, k := range keys {
		b.visit(k, path, goName(orName(k.typeName, k.name)), goName(k.name))
	}
}

// orName prefers a name that the schema gives to a type, unless it says nothing.
func orName(a, b string) string {
	if a != "" && a != "Dictionary" && a != "Array" {
		return a
	}
	return b
}

// visit finds the types of a key. name is what a type of its own would be called; plain is the name of the key.
func (b *builder) visit(k *key, path []string, name, plain string) {
	here := slices.Clone(path)
	if name != plain {
		here = append(here, plain) // to tell it apart, if need be
	}
	here = append(here, name)
	switch {
	case k.same != nil:
	case len(k.enum) > 0 && (k.kind == "string" || k.kind == "integer"):
		b.enum(k, append(slices.Clone(path), plain))
	case k.keys != nil:
		b.structure(k, here, k.keys, false)
	case k.union != nil:
		b.union(k, here)
	case k.item != nil:
		b.visit(k.item, append(slices.Clone(path), plain), b.item(k), b.placeholder(k))
	case k.value != nil:
		b.visit(k.value, append(slices.Clone(path), plain), goName(orName(k.value.typeName, orName(k.typeName, singular(plain)))), singular(plain))
	}
}

// item names the items of an array.
func (b *builder) item(k *key) string {
	return itemName(orName(k.typeName, orName(k.item.typeName, b.placeholder(k))))
}

// placeholder is the name that the schema gives to the items of an array; that of the array if it says nothing.
func (b *builder) placeholder(k *key) string {
	if k.item.name == "status_value" {
		return itemName(k.name)
	}
	return itemName(k.item.name)
}

func (b *builder) structure(k *key, path []string, keys []*key, union bool) *structType {
	if s := b.structs[k.node]; s != nil { // the same list of keys again
		k.goType = "*"
		return s
	}
	s := &structType{candidate: &candidate{root: b.u.prefix(), path: path, at: k.at}, keys: keys, union: union}
	b.structs[k.node] = s
	b.u.inner = append(b.u.inner, s)
	b.keys(keys, path)
	return s
}

// union makes the struct of which one field is set, and those of the fields.
func (b *builder) union(k *key, path []string) {
	s := &structType{candidate: &candidate{root: b.u.prefix(), path: append(path[:len(path)-1:len(path)-1], singular(path[len(path)-1])), at: k.at}, keys: k.union, union: true}
	b.structs[k.node] = s
	b.u.inner = append(b.u.inner, s)
	for _, one := range k.union {
		b.structure(one, append(path[:len(path)-1:len(path)-1], goName(one.name)), one.keys, false)
	}
}

func (b *builder) enum(k *key, path []string) {
	id := path[len(path)-1] + "\x00" + k.kind + "\x00" + strings.Join(k.enum, "\x00")
	if b.enums[id] == nil {
		e := &enumType{candidate: &candidate{root: b.u.prefix(), path: path, at: k.at}, kind: k.kind, values: k.enum}
		b.enums[id] = e
		b.u.enums = append(b.u.enums, e)
	}
	k.goType = id
}

// fields names the fields and their types, now that the types have names.
func (u *unit) fields() error {
	r := resolver{structs: map[*yaml.Node]*structType{}, enums: map[string]*enumType{}}
	r.collect(u)
	for _, s := range slices.Concat(u.tops, u.inner) {
		seen := map[string]string{"Extra": "the keys that are not known"}
		for _, k := range s.keys {
			k.goName = goName(k.name)
			if other, twice := seen[k.goName]; twice {
				return fmt.Errorf("%s: the fields of %q and %q would both be called %s", k.at, k.name, other, k.goName)
			}
			seen[k.goName] = k.name
			if s.union {
				k.goType = "*" + r.structs[k.node].name
				continue
			}
			k.goType = r.field(k)
		}
	}
	return nil
}

// resolver finds the Go types of keys.
type resolver struct {
	structs map[*yaml.Node]*structType
	enums   map[string]*enumType
}

func (r *resolver) collect(u *unit) {
	byKeys := map[*key]*structType{}
	for _, s := range u.inner {
		if len(s.keys) > 0 {
			byKeys[s.keys[0]] = s
		}
	}
	var walk func(k *key)
	walk = func(k *key) {
		if len(k.keys) > 0 {
			if s := byKeys[k.keys[0]]; s != nil {
				r.structs[k.node] = s
			}
		}
		if k.union != nil {
			r.structs[k.node] = byKeys[k.union[0]]
		}
		for _, one := range slices.Concat(k.keys, k.union) {
			walk(one)
		}
		if k.item != nil {
			walk(k.item)
		}
		if k.value != nil {
			walk(k.value)
		}
	}
	for _, k := range slices.Concat(u.doc.keys, u.doc.response) {
		walk(k)
	}
	for _, e := range u.enums {
		id := e.path[len(e.path)-1] + "\x00" + e.kind + "\x00" + strings.Join(e.values, "\x00")
		r.enums[id] = e
	}
}

// field returns the type of a field: a pointer where absent must be told from zero.
func (r *resolver) field(k *key) string {
	t := r.plain(k, k.goType)
	switch {
	case k.required, t == "any", strings.HasPrefix(t, "[]"), strings.HasPrefix(t, "map["), t == "mdm.Secret":
		return t
	}
	return "*" + t
}

// plain returns the type of a value that is there. id names an enumeration.
func (r *resolver) plain(k *key, id string) string {
	if k.same != nil {
		return r.plain(k.same, "")
	}
	if e := r.enums[id]; e != nil && id != "" && len(e.values) > 1 {
		return e.name
	}
	switch k.kind {
	case "string", "data":
		switch {
		case k.secret:
			return "mdm.Secret"
		case k.kind == "data":
			return "[]byte"
		}
		return "string"
	case "integer":
		return "int64"
	case "real":
		return "float64"
	case "boolean":
		return "bool"
	case "date":
		return "time.Time"
	case "array":
		switch {
		case k.union != nil:
			return "[]" + r.structs[k.node].name
		case k.item != nil:
			return "[]" + r.plain(k.item, k.item.goType)
		}
		return "[]any"
	case "dictionary":
		switch {
		case k.keys != nil:
			return r.structs[k.node].name
		case k.value != nil:
			return "map[string]" + r.plain(k.value, k.value.goType)
		}
		return "map[string]any"
	}
	return "any"
}
