package schema

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Check holds a dictionary against its description and a target. See [Inspect] for what it does without a target.
func Check(o *Object, dict map[string]any, t Target) Findings { return Inspect(o, dict).Check(t) }

// Inspection is what [Inspect] found in a dictionary: what is wrong for everybody, and what its keys ask of a target. It
// is made once and then held against any number of targets, at little cost. It does not change.
type Inspection struct {
	found      Findings
	conditions []condition
}

// condition is what one key asks of a target.
type condition struct {
	path    string
	parent  int     // the condition around it; -1 for the first
	support Support // with all that is inherited
	missing bool    // the key is required and absent: wrong where it is supported
	passed  bool    // devices pass over it where it is not supported: to be known, no more
}

// Inspect reads a dictionary, as [Encode] makes it or as a property list decodes. It follows every key that is described;
// one that is not gives a warning, because systems are sometimes newer than their description.
func Inspect(o *Object, dict map[string]any) *Inspection {
	i := inspector{out: &Inspection{}}
	at := i.condition(-1, nil, o.Support, false)
	if !o.Free {
		i.dictionary(o.Keys, dict, at)
	}
	return i.out
}

// Add returns the inspection with further findings that hold for every target, as those about keys that go together.
func (i *Inspection) Add(found Findings) *Inspection {
	return &Inspection{found: slices.Concat(i.found, found), conditions: i.conditions}
}

// Check returns the findings for one target: first those that hold for every target.
func (i *Inspection) Check(t Target) Findings {
	t = t.completed()
	out := slices.Clone(i.found)
	failed := make([]Rules, len(i.conditions))
	for n := range i.conditions {
		c := &i.conditions[n]
		above := Rules(0)
		if c.parent >= 0 {
			above = failed[c.parent]
		}
		if c.missing {
			if above&^RuleDeprecated == 0 && c.required(t, &i.conditions[c.parent].support) {
				out = append(out, Finding{Rule: RuleRequired, Path: c.path, Text: "the key is missing"})
			}
			continue
		}
		failed[n] = above
		for _, f := range c.judge(t) {
			if above&f.Rule == 0 {
				f.Path, f.Warning = c.path, f.Warning || c.passed
				out = append(out, f)
			}
			failed[n] |= f.Rule
		}
	}
	return out
}

// inspector walks a dictionary along its description.
type inspector struct {
	out  *Inspection
	path []string
	keys []*Key // the keys that are open, outermost first
}

// condition adds a condition and returns its place, or that of the enclosing one if nothing differs from it.
func (i *inspector) condition(parent int, inherited *Support, own Support, missing bool) int {
	if parent >= 0 && own == (Support{}) && !missing {
		return parent
	}
	support := own
	if inherited != nil {
		support = inherit(inherited, &own)
	}
	i.out.conditions = append(i.out.conditions, condition{path: join(i.path), parent: parent, support: support, missing: missing})
	return len(i.out.conditions) - 1
}

func (i *inspector) note(rule Rules, format string, args ...any) {
	i.out.found = append(i.out.found, Finding{Rule: rule, Path: join(i.path), Text: fmt.Sprintf(format, args...)})
}

func (i *inspector) at(step string, do func()) {
	i.path = append(i.path, step)
	do()
	i.path = i.path[:len(i.path)-1]
}

func (i *inspector) dictionary(keys []Key, dict map[string]any, at int) {
	known := 0
	for n := range keys {
		k := &keys[n]
		value, ok := dict[k.Name]
		if ok {
			known++
		}
		if !ok && !k.Required {
			continue
		}
		i.at(k.Name, func() {
			if !ok || k.Required && !k.Empty && value == "" {
				i.condition(at, &i.out.conditions[at].support, k.Support, true)
				return
			}
			i.key(k, value, at)
		})
	}
	if known == len(dict) {
		return
	}
	for _, name := range sortedKeys(dict) {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
			i.at(name, func() {
				i.out.found = append(i.out.found, Finding{Rule: RuleUnknown, Path: join(i.path), Text: "the schema does not know the key", Warning: true})
			})
		}
	}
}

func sortedKeys(dict map[string]any) []string {
	names := make([]string, 0, len(dict))
	for name := range dict {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// key inspects one value, at the path of which the walk stands.
func (i *inspector) key(k *Key, value any, at int) {
	at = i.condition(at, &i.out.conditions[at].support, k.Support, false)
	i.keys = append(i.keys, k)
	defer func() { i.keys = i.keys[:len(i.keys)-1] }()
	if !fits(k.Kind, value) {
		i.note(RuleType, "not of the type %s", k.Kind)
		return
	}
	i.limits(k, value, at)
	form := Form(i.keys)
	switch v := value.(type) {
	case map[string]any:
		i.inside(form, v, at)
	case []any:
		i.items(form, v, at)
	}
}

// Form returns the key that says how the last one of open is formed: itself, or an enclosing one. open are the keys from the
// outermost on.
func Form(open []*Key) *Key {
	at := len(open) - 1
	for open[at].Up > 0 {
		at -= open[at].Up
	}
	return open[at]
}

func (i *inspector) inside(k *Key, dict map[string]any, at int) {
	switch {
	case k.Value != nil:
		for _, name := range sortedKeys(dict) {
			i.at(name, func() { i.key(k.Value, dict[name], at) })
		}
	case k.Keys != nil:
		i.dictionary(k.Keys, dict, at)
	}
}

func (i *inspector) items(k *Key, list []any, at int) {
	if len(list) < k.MinItems || k.MaxItems > 0 && len(list) > k.MaxItems {
		i.note(RuleRange, "it has %d items, not %s", len(list), between(k.MinItems, k.MaxItems))
	}
	for n, item := range list {
		switch {
		case k.Union != nil:
			i.at(bracket(n), func() { i.union(k, item, at) })
		case k.Item != nil:
			i.at(bracket(n), func() { i.key(k.Item, item, at) })
		}
	}
}

func between(lo, hi int) string {
	if hi == 0 {
		return "at least " + strconv.Itoa(lo)
	}
	return strconv.Itoa(lo) + " to " + strconv.Itoa(hi)
}

// union inspects an item that is one of several dictionaries.
func (i *inspector) union(k *Key, item any, at int) {
	dict, ok := item.(map[string]any)
	if !ok {
		i.note(RuleType, "not of the type dictionary")
		return
	}
	name, _ := dict["Item"].(string)
	for n := range k.Union {
		if k.Union[n].Name == name {
			keys := maps.Clone(dict)
			delete(keys, "Item") // it belongs to the union
			i.key(&k.Union[n], keys, at)
			return
		}
	}
	if name == "" {
		i.at("Item", func() { i.note(RuleRequired, "the key is missing") })
		return
	}
	i.out.found = append(i.out.found, Finding{Rule: RuleUnknown, Path: join(i.path), Text: "the schema does not know the Item", Warning: true})
}

// limits inspects what a single value may be.
func (i *inspector) limits(k *Key, value any, at int) {
	text := textOf(value)
	x, isNumber := number(value)
	if k.Kind == Real {
		text = wordOf(k.Enum, x)
	}
	inList := slices.Contains(k.Enum, text)
	switch {
	case inList: // a list beside a range has what is allowed besides, as 0 for never
	case k.Range != nil && isNumber:
		if !k.Range.Holds(x) {
			i.note(RuleRange, "not %s", k.Range)
		}
	case len(k.Enum) > 0:
		i.note(RuleEnum, "not one of %s", listed(k.Enum))
	}
	for n := range k.Values {
		if k.Values[n].Value == text { // as a query of DeviceInformation: what a device does not have, it leaves out of its answer
			own := i.condition(at, &i.out.conditions[at].support, k.Values[n].Support, false)
			i.out.conditions[own].passed = own != at
		}
	}
	if s, ok := value.(string); ok && k.Format != "" && !pattern(k.Format).MatchString(s) {
		i.note(RuleFormat, "it does not match %s", k.Format)
	}
}

// listed shows the first of many words.
func listed(words []string) string {
	const most = 12
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", …"
	}
	return strings.Join(words, ", ")
}

// Holds reports whether x is in the range, the ends included.
func (r *Range) Holds(x float64) bool { return (r.NoMin || x >= r.Min) && (r.NoMax || x <= r.Max) }

// String is the range in words, as "1 to 5" or "at least 0".
func (r *Range) String() string {
	lo, hi := strconv.FormatFloat(r.Min, 'g', -1, 64), strconv.FormatFloat(r.Max, 'g', -1, 64)
	switch {
	case r.NoMin:
		return "at most " + hi
	case r.NoMax:
		return "at least " + lo
	}
	return lo + " to " + hi
}

var patterns sync.Map // string → *regexp.Regexp; the formats of the schema are few

// pattern compiles a format, which must match from end to end.
func pattern(format string) *regexp.Regexp {
	if re, ok := patterns.Load(format); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(`^(?:` + format + `)$`) // the generator compiled it before
	patterns.Store(format, re)
	return re
}

// textOf returns a scalar as the tables have it.
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case uint64:
		return strconv.FormatUint(v, 10)
	}
	if n, ok := integer(v); ok {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// wordOf returns the word for a real, which a list may write in more than one way, as "1.0".
func wordOf(words []string, x float64) string {
	for _, word := range words {
		if y, err := strconv.ParseFloat(word, 64); err == nil && x == y {
			return word
		}
	}
	return ""
}

// fits reports whether v is of kind k. A whole number is a real, too.
func fits(k Kind, v any) bool {
	ok := true
	switch k {
	case String:
		_, ok = v.(string)
	case Integer:
		if _, ok = v.(uint64); !ok {
			_, ok = integer(v)
		}
	case Real:
		_, ok = number(v)
	case Boolean:
		_, ok = v.(bool)
	case Date:
		_, ok = v.(time.Time)
	case Data:
		_, ok = v.([]byte)
	case Array:
		_, ok = v.([]any)
	case Dictionary:
		_, ok = v.(map[string]any)
	}
	return ok
}
