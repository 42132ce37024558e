// Package plistx is the one door through which property lists enter: it checks that a document is harmless and means
// one thing only, and then decodes it.
//
// Devices send property lists (XML, or binary "bplist00") to a server that cannot yet know who they are. The decoder
// underneath, groob/plist, follows a document by recursion and trusts its counts: a cyclic binary list of 43 bytes or
// a few megabytes of bare nesting end the process, which no recover can prevent. So every document first passes a scan
// that walks it without recursion, within [Limits], and accepts only what has one possible reading:
//
//   - XML is accepted in the subset that Apple writes: no entity definitions, processing instructions, namespaces or
//     stray attributes, only UTF-8, the values well-formed for their type, keys and values in turn.
//   - Binary lists must have every reachable object, offset and count in range, and no cycle. They are rewritten as
//     XML on the way, so that both forms hold the same values and only one decoder has to be trusted. What XML cannot
//     express is refused: control characters in strings, dates beyond the year 9999, sets, null and keyed-archiver
//     UIDs. Shared objects count as often as they are referred to.
//   - A key that occurs twice in one dictionary is refused: two readers could each see another value.
//   - OpenStep, GNUstep and JSON property lists are refused.
//
// [Scan] also picks out the [Header]: the top-level keys by which the protocol routes and authorizes a message. What
// it picked is what [Unmarshal] would decode.
package plistx

import "bytes"

// The defaults of [Limits].
const (
	DefaultBytes    = 8 << 20
	DefaultDepth    = 32
	DefaultElements = 200_000
)

// MaxDepth is the deepest nesting that any [Limits] can allow. Decoding recurses once per level.
const MaxDepth = 128

// Limits bounds what a property list may hold. A field that is zero or less takes its default.
type Limits struct {
	// Bytes is the largest document, in bytes; 8 MiB by default. The strings and data that a binary list holds, counted
	// as often as they are referred to, stay under it too.
	Bytes int
	// Depth is how many dictionaries and arrays may be nested in each other; 32 by default, [MaxDepth] at most.
	Depth int
	// Elements is how many values, keys and XML comments there may be; 200,000 by default.
	Elements int
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Elements <= 0 {
		l.Elements = DefaultElements
	}
	l.Depth = min(l.Depth, MaxDepth)
	return l
}

// Scan checks an XML or binary property list against l in one pass and returns its [Header]. The root must be a
// dictionary. The error is one of [ErrTooLarge], [ErrTooDeep], [ErrTooMany] and [ErrSyntax]; it names the offset and
// the rule, never the content. After a nil error [UnmarshalLimits] with the same limits fails only where the document
// does not fit the Go type.
func Scan(data []byte, l Limits) (Header, error) {
	t := newTree(l)
	t.isMessage = true
	if _, err := t.read(data, false); err != nil {
		return Header{}, err
	}
	t.header.Elements, t.header.Depth = t.elements, t.deepest
	return t.header, nil
}

// Check is [Scan] for documents that are not messages: the root may be of any type, and no key has a special meaning.
func Check(data []byte, l Limits) error {
	t := newTree(l)
	_, err := t.read(data, false)
	return err
}

// read scans data in either form. It returns the document as XML if asXML is set: data itself, or a binary list
// rewritten.
func (t *tree) read(data []byte, asXML bool) ([]byte, error) {
	if len(data) > t.limits.Bytes {
		return nil, &fault{ErrTooLarge, "the document ends too late", len(data)}
	}
	if bytes.HasPrefix(data, []byte("bplist")) {
		w := walker{tree: t, asXML: asXML}
		err := w.document(data)
		return w.out, err
	}
	x := xmlScanner{tree: t, data: data}
	return data, x.document()
}
