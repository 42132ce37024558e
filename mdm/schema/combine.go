package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Condition is a rule about keys that go together, which Apple states in prose only. Make one with [OneOf], [AnyOf],
// [AtMostOne], [Needs], [Excludes] or [Not].
type Condition struct {
	keys   []string
	others []string // of Not: values
	at     string
	tests  []test
	kind   combination
	warn   bool
}

// test says for which dictionaries a condition is: those in which the key has one of the values, or is there at all.
type test struct {
	key    string
	values []string
	unless bool // the others
}

type combination uint8

const (
	oneOf combination = iota
	anyOf
	atMostOne
	needs
	excludes
	not
)

// OneOf wants exactly one of the keys.
func OneOf(keys ...string) Condition { return Condition{kind: oneOf, keys: keys} }

// AnyOf wants at least one of the keys.
func AnyOf(keys ...string) Condition { return Condition{kind: anyOf, keys: keys} }

// AtMostOne wants no two of the keys.
func AtMostOne(keys ...string) Condition { return Condition{kind: atMostOne, keys: keys} }

// Needs wants all of others wherever key is. With an empty key it wants them always, or as [Condition.If] says.
func Needs(key string, others ...string) Condition {
	return Condition{kind: needs, keys: []string{key}, others: others}
}

// Excludes wants none of others where key is.
func Excludes(key string, others ...string) Condition {
	return Condition{kind: excludes, keys: []string{key}, others: others}
}

// Not wants that key, if it is there, has none of these values, as text. Mostly it goes with [Condition.If]: a value that
// another key rules out. To forbid the wrong values, not to ask for the right one, leaves values of other types alone.
func Not(key string, values ...string) Condition {
	return Condition{kind: not, keys: []string{key}, others: values}
}

// In says which dictionaries a condition is about: a path from the top as "ReturnToService", with "[]" for every item of an
// array, as "Settings[]", and "*" for every key, as "Services.*[]". Without it is about the top.
func (c Condition) In(path string) Condition {
	c.at = path
	return c
}

// If restricts a condition to dictionaries in which a key has one of these values, as text: "true" for a boolean. An array
// has the values of its items. Without values it is enough that the key is there. Every If and Unless has to hold.
func (c Condition) If(key string, values ...string) Condition {
	return c.with(test{key: key, values: values})
}

// Unless restricts a condition to the dictionaries that [Condition.If] would leave out: the key is absent, or has another
// value.
func (c Condition) Unless(key string, values ...string) Condition {
	return c.with(test{key: key, values: values, unless: true})
}

// with copies the tests: conditions that come from the same one do not share them.
func (c Condition) with(t test) Condition {
	c.tests = append(slices.Clone(c.tests), t)
	return c
}

// Warn makes a condition one whose breach is only to be known.
func (c Condition) Warn() Condition {
	c.warn = true
	return c
}

// Combine checks the conditions of a dictionary. Values of another type than they ought to be of count as present, and what
// should be a dictionary or an array and is none is passed over: that is another rule's.
func Combine(dict map[string]any, conditions []Condition) Findings {
	var out Findings
	for _, c := range conditions {
		visit(dict, "", c.at, func(at string, inner map[string]any) {
			if c.applies(inner) {
				out = append(out, c.check(at, inner)...)
			}
		})
	}
	return out
}

// visit calls do for every dictionary that a path leads to.
func visit(v any, at, path string, do func(at string, dict map[string]any)) {
	dict, ok := v.(map[string]any)
	if !ok {
		return
	}
	if path == "" {
		do(at, dict)
		return
	}
	step, rest, _ := strings.Cut(path, ".")
	name, arrays := strings.TrimRight(step, "[]"), strings.Count(step, "[]")
	names := []string{name}
	if name == "*" {
		names = sortedKeys(dict)
	}
	for _, name := range names {
		items(dict[name], under(at, name), arrays, func(here string, item any) { visit(item, here, rest, do) })
	}
}

// items calls do for the items of an array of arrays that is so deep.
func items(v any, at string, deep int, do func(at string, item any)) {
	if deep == 0 {
		do(at, v)
		return
	}
	list, _ := v.([]any)
	for i, item := range list {
		items(item, at+bracket(i), deep-1, do)
	}
}

func under(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func (c Condition) applies(dict map[string]any) bool {
	for _, t := range c.tests {
		if t.holds(dict) == t.unless {
			return false
		}
	}
	return true
}

func (t test) holds(dict map[string]any) bool {
	value, ok := dict[t.key]
	return ok && (len(t.values) == 0 || isOneOf(value, t.values))
}

// isOneOf reports whether a value, or an item of an array, is one of these, as text.
func isOneOf(value any, texts []string) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(item any) bool { return slices.Contains(texts, textOf(item)) })
	}
	return slices.Contains(texts, textOf(value))
}

func (c Condition) check(at string, dict map[string]any) Findings {
	var there []string
	for _, key := range c.keys {
		if has(dict, key) {
			there = append(there, key)
		}
	}
	names := strings.Join(c.keys, ", ")
	switch {
	case c.kind == needs && (c.keys[0] == "" || len(there) > 0):
		return c.missing(at, dict)
	case c.kind == excludes && len(there) > 0:
		return c.surplus(at, dict)
	case c.kind == not && len(there) > 0 && isOneOf(dict[c.keys[0]], c.others):
		return Findings{c.finding(under(at, c.keys[0]), "the value cannot be there%s", c.reason())}
	case (c.kind == oneOf || c.kind == anyOf) && len(there) == 0:
		return Findings{c.finding(at, "one of %s is needed%s", names, c.reason())}
	case (c.kind == oneOf || c.kind == atMostOne) && len(there) > 1:
		return Findings{c.finding(at, "only one of %s can be there%s", names, c.reason())}
	}
	return nil
}

func (c Condition) missing(at string, dict map[string]any) Findings {
	var out Findings
	for _, key := range c.others {
		switch {
		case has(dict, key):
		case c.keys[0] == "":
			out = append(out, c.finding(under(at, key), "the key is needed%s", c.reason()))
		default:
			out = append(out, c.finding(under(at, key), "the key is needed beside %s%s", c.keys[0], c.reason()))
		}
	}
	return out
}

func (c Condition) surplus(at string, dict map[string]any) Findings {
	var out Findings
	for _, key := range c.others {
		if has(dict, key) {
			out = append(out, c.finding(under(at, key), "the key cannot be there beside %s%s", c.keys[0], c.reason()))
		}
	}
	return out
}

// reason names the keys of the tests and what the condition says of them; the values are the rule's own.
func (c Condition) reason() string {
	var parts []string
	for _, t := range c.tests {
		word := " is "
		if t.unless {
			word = " is not "
		}
		values := strings.Join(t.values, " or ")
		if values == "" {
			values = "there"
		}
		parts = append(parts, t.key+word+values)
	}
	if parts == nil {
		return ""
	}
	return " where " + strings.Join(parts, " and ")
}

func (c Condition) finding(at, format string, args ...any) Finding {
	return Finding{Rule: RuleCombination, Path: at, Text: fmt.Sprintf(format, args...), Warning: c.warn}
}
