// Package synth makes instances of what Apple's schema describes, for tests: with every key, with the required ones only,
// with one place at a time changed, and with every value of the wrong type in turn. It is deterministic.
package synth

import (
	"fmt"
	"iter"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/gomdm/applemdm/mdm/schema"
)

// Full returns an instance with every key: arrays have two items, or one of each kind where there are several; recursion
// goes three levels deep.
func Full(o *schema.Object) map[string]any {
	s := synth{full: true}
	if o.Free {
		return map[string]any{"AnyKey": "text", "Another": int64(1)}
	}
	return s.dictionary(o.Keys)
}

// Minimal returns an instance with the required keys only.
func Minimal(o *schema.Object) map[string]any { return (&synth{}).dictionary(o.Keys) }

// firstKey is the name of a free key.
const firstKey = "first"

// maxUp is how often a recursion is followed.
const maxUp = 3

type synth struct {
	full bool
	open []*schema.Key
	ups  int
	n    int // so that values differ
}

func (s *synth) dictionary(keys []schema.Key) map[string]any {
	dict := map[string]any{}
	for i := range keys {
		k := &keys[i]
		if s.full && s.ends(k) || !s.full && !k.Required {
			continue
		}
		dict[k.Name] = s.value(k)
	}
	return dict
}

// ends reports whether a key leads into a recursion that has gone on for long enough.
func (s *synth) ends(k *schema.Key) bool {
	return s.ups >= maxUp && (k.Up > 0 || k.Item != nil && k.Item.Up > 0)
}

func (s *synth) value(k *schema.Key) any {
	s.open = append(s.open, k)
	defer func() { s.open = s.open[:len(s.open)-1] }()
	if k.Up > 0 {
		s.ups++
		defer func() { s.ups-- }()
	}
	form := schema.Form(s.open)
	switch k.Kind {
	case schema.Dictionary:
		return s.inside(form)
	case schema.Array:
		return s.array(form)
	}
	return s.scalar(k)
}

func (s *synth) inside(k *schema.Key) any {
	switch {
	case k.Keys != nil:
		return s.dictionary(k.Keys)
	case k.Value != nil:
		return map[string]any{firstKey: s.value(k.Value), "second key": s.value(k.Value)}
	}
	return map[string]any{"Any": []any{"text", int64(7), map[string]any{"Deep": true}}}
}

func (s *synth) array(k *schema.Key) any {
	var list []any
	for i := range k.Union {
		dict := s.value(&k.Union[i]).(map[string]any)
		dict["Item"] = k.Union[i].Name
		list = append(list, dict)
	}
	if k.Union != nil {
		return list
	}
	n := max(2, k.MinItems)
	if k.MaxItems > 0 {
		n = min(n, k.MaxItems)
	}
	for range n {
		if k.Item == nil {
			list = append(list, "item")
			continue
		}
		list = append(list, s.value(k.Item))
	}
	return list
}

func (s *synth) scalar(k *schema.Key) any {
	s.n++
	if len(k.Enum) > 0 {
		return typed(k.Kind, k.Enum[s.n%len(k.Enum)])
	}
	switch k.Kind {
	case schema.String:
		return text(k, s.n)
	case schema.Integer:
		return int64(math.Ceil(within(k.Range, float64(s.n))))
	case schema.Real:
		return within(k.Range, float64(s.n)+0.5)
	case schema.Boolean:
		return s.n%2 == 0
	case schema.Date:
		return time.Date(2026, 1, 2, 3, 4, s.n%60, 0, time.UTC)
	case schema.Data:
		return []byte{0, 0xff, byte(s.n)}
	}
	return []any{"any", int64(s.n), true}[s.n%3]
}

func within(r *schema.Range, x float64) float64 {
	switch {
	case r == nil || r.Holds(x):
		return x
	case !r.NoMin:
		return r.Min
	}
	return r.Max
}

// candidates are strings that match the formats of the schema.
var candidates = []string{
	"text", "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF", "https://example.com/path", "http://example.com", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05",
	"18.1", "18.1.1", "AABBCC", "AABBCCDDEE", "310410", "12:34", "com.example.app", "user@example.com", "en_US", "A1B2C3D4E5", "00:11:22:33:44:55",
	"0011223344556677", "ABCDEFGHIJ", "12345", "1", "a", "22A3351", "192.0.2.1", "1.2.3.4/24", "123", "AB",
}

// text returns a string that the format allows.
func text(k *schema.Key, n int) string {
	if k.Format == "" {
		return "text " + strconv.Itoa(n)
	}
	re := regexp.MustCompile("^(?:" + k.Format + ")$")
	i := slices.IndexFunc(candidates, re.MatchString)
	if i < 0 {
		panic(fmt.Sprintf("synth: no candidate matches %s of the key %s", k.Format, k.Name))
	}
	return candidates[i]
}

// typed returns a value of an enumeration.
func typed(k schema.Kind, word string) any {
	switch k {
	case schema.Integer:
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	case schema.Real:
		x, err := strconv.ParseFloat(word, 64)
		if err != nil {
			panic(err)
		}
		return x
	}
	return word
}

// Wrong yields the full instance with one value at a time put in place by one of another type, with the path of that value.
// It goes into dictionaries and into the first item of arrays.
func Wrong(o *schema.Object) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		if o.Free {
			return
		}
		w := wrong{yield: yield, whole: Full(o)}
		w.dictionary(o.Keys, w.whole, "")
	}
}

type wrong struct {
	yield func(string, map[string]any) bool
	whole map[string]any
	done  bool
}

func (w *wrong) dictionary(keys []schema.Key, dict map[string]any, path string) {
	for i := range keys {
		k := &keys[i]
		value, ok := dict[k.Name]
		if !ok || w.done {
			continue
		}
		at := k.Name
		if path != "" {
			at = path + "." + k.Name
		}
		if k.Kind != schema.Any {
			dict[k.Name] = another(k.Kind)
			w.done = !w.yield(at, w.whole)
			dict[k.Name] = value
		}
		w.inside(k, value, at)
	}
}

func (w *wrong) inside(k *schema.Key, value any, path string) {
	if k.Up > 0 {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if k.Keys != nil {
			w.dictionary(k.Keys, v, path)
		}
	case []any:
		if k.Item != nil && len(v) > 0 {
			w.inside(k.Item, v[0], path+"[0]")
		}
		for i := range k.Union {
			w.inside(&k.Union[i], v[i], path+"["+strconv.Itoa(i)+"]")
		}
	}
}

// another is a value that is not of the kind.
func another(k schema.Kind) any {
	if k == schema.String {
		return int64(5)
	}
	return "of another type"
}

// Variants yields the full instance with one place at a time changed within what the schema allows, and what has changed: an
// optional key is left out, every value of a list is taken, a number is at an end of its range, something is empty or false.
// It goes where [Wrong] goes, and into the first of free keys. The tree changes with the next one.
func Variants(o *schema.Object) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		if o.Free {
			return
		}
		v := variants{yield: yield, whole: Full(o)}
		v.dictionary(o.Keys, v.whole, "")
	}
}

type variants struct {
	yield func(string, map[string]any) bool
	whole map[string]any
	done  bool
}

func (v *variants) offer(what string) { v.done = v.done || !v.yield(what, v.whole) }

func (v *variants) dictionary(keys []schema.Key, dict map[string]any, path string) {
	for i := range keys {
		k := &keys[i]
		value, ok := dict[k.Name]
		if !ok {
			continue
		}
		at := k.Name
		if path != "" {
			at = path + "." + k.Name
		}
		if !k.Required {
			delete(dict, k.Name)
			v.offer(at + " left out")
		}
		v.value(k, value, at, func(x any) { dict[k.Name] = x })
	}
}

// value changes a value, which set puts in its place.
func (v *variants) value(k *schema.Key, value any, at string, set func(any)) {
	for _, x := range allowed(k) {
		if reflect.DeepEqual(x, value) {
			continue
		}
		set(x)
		v.offer(fmt.Sprintf("%s is %v", at, x))
	}
	set(value)
	if k.Up > 0 {
		return
	}
	switch in := value.(type) {
	case map[string]any:
		if k.Keys != nil {
			v.dictionary(k.Keys, in, at)
		} else if k.Value != nil {
			v.value(k.Value, in[firstKey], at+"."+firstKey, func(x any) { in[firstKey] = x })
		}
	case []any:
		if k.Item != nil && len(in) > 0 {
			v.value(k.Item, in[0], at+"[0]", func(x any) { in[0] = x })
		}
		for i := range k.Union {
			v.dictionary(k.Union[i].Keys, in[i].(map[string]any), at+"["+strconv.Itoa(i)+"]")
		}
	}
}

// allowed are values of a key that encodings may take for others: those of its list and the ends of its range, or what is empty,
// zero or large.
func allowed(k *schema.Key) []any {
	var out []any
	for _, word := range k.Enum {
		out = append(out, typed(k.Kind, word))
	}
	listed := len(k.Enum) > 0 && k.Range == nil
	switch {
	case listed:
	case k.Kind == schema.Boolean:
		out = append(out, false, true)
	case k.Kind == schema.Integer:
		lo, hi := bounds(k.Range, math.MinInt64, 1<<62)
		out = append(out, int64(lo), int64(hi))
	case k.Kind == schema.Real:
		lo, hi := bounds(k.Range, -1, 1e15)
		out = append(out, lo, hi)
	case k.Kind == schema.String && !k.Secret && k.Format == "" && (k.Empty || !k.Required):
		out = append(out, "")
	case k.Kind == schema.Data && !k.Secret:
		out = append(out, []byte{})
	case k.Kind == schema.Array && k.MinItems == 0:
		out = append(out, []any{})
	case k.Kind == schema.Dictionary && k.Keys == nil && k.Up == 0:
		out = append(out, map[string]any{})
	}
	return out
}

func bounds(r *schema.Range, lo, hi float64) (float64, float64) {
	if r != nil && !r.NoMin {
		lo = r.Min
	}
	if r != nil && !r.NoMax {
		hi = r.Max
	}
	return lo, hi
}
