package profile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

// absent stands for no value.
type absent struct{}

// differ collects changes.
type differ struct {
	old, new *side
	at       Change // its payload
	path     []string
	out      []Change
}

// payload compares a payload of the new profile.
func (d *differ) payload(id string) {
	x, y := d.old.payloads[id], d.new.payloads[id]
	at := Change{Payload: id, PayloadType: kindOf(y)}
	if x == nil || kindOf(x) != kindOf(y) {
		at.Kind = Added
		d.out = append(d.out, at)
		return
	}
	d.keys(at, placeOf(&Raw{Type: kindOf(y)}, y), x, y)
}

// keys compares the keys of a payload or of the profile.
func (d *differ) keys(at Change, p place, x, y map[string]any) {
	d.at = at
	d.dictionary(p, x, y)
}

func (d *differ) dictionary(p place, x, y map[string]any) {
	names := slices.AppendSeq(slices.Collect(maps.Keys(x)), maps.Keys(y))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		d.step(name, p.key(name), valueAt(x, name), valueAt(y, name))
	}
}

func valueAt(dict map[string]any, key string) any {
	if v, ok := dict[key]; ok {
		return v
	}
	return absent{}
}

func (d *differ) step(step string, p place, x, y any) {
	d.path = append(d.path, step)
	d.value(p, x, y)
	d.path = d.path[:len(d.path)-1]
}

func (d *differ) value(p place, x, y any) {
	dictX, isDictX := x.(map[string]any)
	dictY, isDictY := y.(map[string]any)
	listX, isListX := x.([]any)
	listY, isListY := y.([]any)
	switch none := (absent{}); {
	case d.same(x, y):
	case isDictX && isDictY || len(dictX) > 0 && y == none || len(dictY) > 0 && x == none:
		d.dictionary(p, dictX, dictY)
	case isListX && isListY || len(listX) > 0 && y == none || len(listY) > 0 && x == none:
		d.list(p, listX, listY)
	case (isDictX || isListX || isDictY || isListY) && x != none && y != none: // one gives way to something else
		d.value(p, x, none)
		d.value(p, none, y)
	default:
		d.change(p, x, y)
	}
}

// list compares what is between the same beginning and the same end.
func (d *differ) list(p place, x, y []any) {
	from := 0
	for from < len(x) && from < len(y) && d.same(x[from], y[from]) {
		from++
	}
	for len(x) > from && len(y) > from && d.same(x[len(x)-1], y[len(y)-1]) {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	for i := from; i < max(len(x), len(y)); i++ {
		var itemX, itemY any = absent{}, absent{}
		if i < len(x) {
			itemX = x[i]
		}
		if i < len(y) {
			itemY = y[i]
		}
		d.step("["+strconv.Itoa(i)+"]", p.item(), itemX, itemY)
	}
}

// same reports whether two values say the same, each in its profile.
func (d *differ) same(x, y any) bool {
	switch x := x.(type) {
	case map[string]any:
		other, ok := y.(map[string]any)
		if !ok || len(x) != len(other) {
			return false
		}
		for key, value := range x {
			if otherValue, ok := other[key]; !ok || !d.same(value, otherValue) {
				return false
			}
		}
		return true
	case []any:
		other, ok := y.([]any)
		return ok && slices.EqualFunc(x, other, d.same)
	}
	return sameLeaf(d.old.leaf(x), d.new.leaf(y))
}

// change notes that a value has come, gone or changed.
func (d *differ) change(p place, x, y any) {
	c := d.at
	c.Kind, c.Path = Changed, joinPath(d.path)
	hide := p.secret() || d.old.holdsSecret(x) || d.new.holdsSecret(y)
	c.Old, c.New = shown(hide, d.old.leaf(x)), shown(hide, d.new.leaf(y))
	if x == (absent{}) {
		c.Kind = Added
	}
	if y == (absent{}) {
		c.Kind = Removed
	}
	d.out = append(d.out, c)
}

// shown returns a value as it stands in a Change: not absent, and not in the open if it is a secret.
func shown(hide bool, v any) any {
	if v == (absent{}) {
		return nil
	}
	if !hide {
		return v
	}
	switch v := v.(type) {
	case string:
		return mdm.SecretString(v)
	case []byte:
		return mdm.NewSecret(v)
	case uint64, int64, float64:
		return mdm.SecretString(fmt.Sprint(v))
	}
	return v // a truth or a date, a reference, or empty
}

// reordered notes that the payloads of both profiles are in another order.
func (d *differ) reordered() {
	common := func(order []string, other *side, own *side) []string {
		return slices.DeleteFunc(slices.Clone(order), func(id string) bool {
			return other.payloads[id] == nil || kindOf(other.payloads[id]) != kindOf(own.payloads[id])
		})
	}
	before, after := common(d.old.order, d.new, d.old), common(d.new.order, d.old, d.new)
	if !slices.Equal(before, after) {
		d.out = append(d.out, Change{Kind: Reordered, Path: "PayloadContent", Old: before, New: after})
	}
}

// String returns the change in a line. It never shows a secret, and of data only how long it is.
func (c Change) String() string {
	at := c.Path
	switch {
	case c.Kind == Reordered:
		return fmt.Sprintf("%s %s", c.Kind, c.Path)
	case c.Payload != "" && c.Path == "":
		return fmt.Sprintf("%s %s (%s)", c.Kind, c.Payload, c.PayloadType)
	case c.Payload != "":
		at = c.Payload + " " + c.Path
	}
	switch c.Kind {
	case Added:
		return fmt.Sprintf("%s %s: %s", c.Kind, at, inWords(c.New))
	case Removed:
		return fmt.Sprintf("%s %s: %s", c.Kind, at, inWords(c.Old))
	}
	return fmt.Sprintf("%s %s: %s -> %s", c.Kind, at, inWords(c.Old), inWords(c.New))
}

// inWords returns a value for a line of text.
func inWords(v any) string {
	switch v := v.(type) {
	case string:
		const most = 60
		if len(v) > most {
			cut := most
			for cut > 0 && !utf8.RuneStart(v[cut]) {
				cut--
			}
			return strconv.Quote(v[:cut]) + "…"
		}
		return strconv.Quote(v)
	case Reference:
		return "the payload " + string(v)
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case []any:
		return "an empty array"
	case map[string]any:
		return "an empty dictionary"
	}
	return fmt.Sprint(v)
}
