package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// table is the name of the description of a type.
func (u *unit) table(s *structType) string { return lowerFirst(s.name) + "Schema" }

func (u *unit) tables(w *writer) {
	first, answer := lowerFirst(u.file)+"Schema", lowerFirst(u.file)+"ReplySchema"
	if u.root != "" {
		first, answer = u.table(u.tops[0]), u.table(&structType{candidate: &candidate{name: u.root + "Response"}})
	}
	support := u.doc.support.lines()
	if u.doc.response == nil {
		w.object(first, u.doc, support, u.doc.keys)
		return
	}
	shared := strings.TrimSuffix(first, "Schema") + "Support"
	w.line("\nvar %s = %s", shared, support)
	w.object(first, u.doc, shared, u.doc.keys)
	w.object(answer, u.doc, shared, u.doc.response)
}

// lines writes the support of a document, with a line for each system and without what is the rule.
func (s support) lines() string {
	var b strings.Builder
	b.WriteString("schema.Support{\n")
	for _, p := range platforms {
		if s[p] != nil {
			o := *s[p]
			for _, truth := range []*string{&o.supervised, &o.requiresDEP, &o.userApproved, &o.userChannel, &o.sharedUser, &o.beta} {
				if *truth == "schema.False" {
					*truth = ""
				}
			}
			for _, truth := range []*string{&o.deviceChannel, &o.sharedDevice} {
				if *truth == "schema.True" {
					*truth = ""
				}
			}
			b.WriteString(fields[p] + ": &schema.OS{" + o.literal() + "},\n")
		}
	}
	return b.String() + "}"
}

func (w *writer) object(name string, doc *document, support string, keys []*key) {
	w.line("\nvar %s = schema.Object{", name)
	w.line("Type: %q,", doc.name)
	if doc.apply != "" {
		w.line("Apply: %q,", doc.apply)
	}
	if len(doc.support) > 0 {
		w.line("Support: %s,", support)
	}
	switch {
	case len(keys) == 1 && isFree(keys[0].name):
		w.line("Free: true,")
	case len(keys) > 0:
		w.keys("Keys", keys)
	}
	w.line("}")
}

func (w *writer) keys(field string, keys []*key) {
	w.line("%s: []schema.Key{", field)
	for _, k := range keys {
		w.WriteString("{")
		w.key(k, true)
		w.line("},")
	}
	w.line("},")
}

var kinds = map[string]string{
	"any": "Any", "string": "String", "integer": "Integer", "real": "Real", "boolean": "Boolean", "date": "Date", "data": "Data",
	"array": "Array", "dictionary": "Dictionary",
}

// key writes the attributes of a key on one line, and then what is inside of it.
func (w *writer) key(k *key, named bool) {
	var parts []string
	add := func(when bool, format string, args ...any) {
		if when {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(named, "Name: %q", k.name)
	add(true, "Kind: schema.%s", kinds[k.kind])
	add(k.required, "Required: true")
	add(k.secret, "Secret: true")
	add(k.empty, "Empty: true")
	add(k.def != "", "Default: %q", k.def)
	add(k.rng != nil, "Range: %s", k.rng.literal())
	add(k.minItems > 0, "MinItems: %d", k.minItems)
	add(k.maxItems > 0, "MaxItems: %d", k.maxItems)
	add(k.format != "", "Format: %q", k.format)
	add(k.combine != "", "Combine: %q", k.combine)
	add(k.enum != nil, "Enum: %s", stringList(k.enum))
	add(k.assets != nil, "AssetTypes: %s", stringList(k.assets))
	add(k.contents != nil, "ContentTypes: %s", stringList(k.contents))
	add(k.up > 0, "Up: %d", k.up)
	add(len(k.support) > 0, "Support: %s", k.support.literal())
	w.WriteString(strings.Join(parts, ", "))
	inner := len(k.values)+len(k.keys)+len(k.union) > 0 || k.item != nil || k.value != nil
	if !inner {
		return
	}
	w.line(",")
	w.values(k.values)
	if len(k.keys) > 0 {
		w.keys("Keys", k.keys)
	}
	if len(k.union) > 0 {
		w.keys("Union", k.union)
	}
	w.inside("Item", k.item)
	w.inside("Value", k.value)
}

func (w *writer) inside(field string, k *key) {
	if k == nil {
		return
	}
	w.WriteString(field + ": &schema.Key{")
	w.key(k, false)
	w.line("},")
}

func (r *rng) literal() string {
	if r == nil {
		return ""
	}
	var parts []string
	for name, v := range map[string]string{"Min": r.min, "Max": r.max} {
		if v != "" {
			parts = append(parts, name+": "+v)
		} else {
			parts = append(parts, "No"+name+": true")
		}
	}
	slices.Sort(parts)
	return "&schema.Range{" + strings.Join(parts, ", ") + "}"
}

func stringList(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = strconv.Quote(word)
	}
	return "[]string{" + strings.Join(quoted, ", ") + "}"
}

// literal writes a support on one line.
func (s support) literal() string {
	var parts []string
	for _, p := range platforms {
		if s[p] != nil {
			parts = append(parts, fields[p]+": &schema.OS{"+s[p].literal()+"}")
		}
	}
	return "schema.Support{" + strings.Join(parts, ", ") + "}"
}

// fields are those of schema.Support.
var fields = map[string]string{"iOS": "IOS", "macOS": "MacOS", "tvOS": "TvOS", "visionOS": "VisionOS", "watchOS": "WatchOS"}

func (o *system) literal() string {
	var parts []string
	for _, one := range []struct{ field, text string }{
		{"Introduced", o.introduced}, {"Deprecated", o.deprecated}, {"Removed", o.removed}, {"Rights", o.rights},
	} {
		if one.text != "" {
			parts = append(parts, one.field+": "+strconv.Quote(one.text))
		}
	}
	for _, one := range []struct{ field, expr string }{
		{"DeviceChannel", o.deviceChannel}, {"UserChannel", o.userChannel}, {"Supervised", o.supervised}, {"RequiresDEP", o.requiresDEP},
		{"UserApproved", o.userApproved}, {"ManualInstall", o.manual}, {"Multiple", o.multiple}, {"AlwaysSkippable", o.skippable}, {"Beta", o.beta},
		{"UserEnrollment", o.userEnrollment}, {"SharedIPad", o.sharedIPad}, {"SharedIPadDevice", o.sharedDevice}, {"SharedIPadUser", o.sharedUser},
	} {
		if one.expr != "" {
			parts = append(parts, one.field+": "+one.expr)
		}
	}
	for _, one := range []struct {
		field string
		list  []string
	}{{"Enrollments", o.enrollments}, {"Scopes", o.scopes}, {"SharedIPadScopes", o.sharedScopes}} {
		if one.list != nil {
			parts = append(parts, one.field+": "+stringList(one.list))
		}
	}
	return strings.Join(parts, ", ")
}

func (w *writer) values(values map[string]support) {
	if len(values) == 0 {
		return
	}
	w.line("Values: []schema.Value{")
	for _, v := range sorted(values) {
		w.line("{Value: %q, Support: %s},", v, values[v].literal())
	}
	w.line("},")
}
