package plistx

import "bytes"

// xmlScanner walks an XML property list. It accepts a subset of what encoding/xml accepts, the one that
// PropertyList-1.0.dtd describes, and reads that subset exactly as encoding/xml does.
type xmlScanner struct {
	tree *tree
	data []byte
	i    int // the next byte
}

// skip moves over s if it comes next.
func (x *xmlScanner) skip(s string) bool {
	if len(x.data)-x.i < len(s) || string(x.data[x.i:x.i+len(s)]) != s {
		return false
	}
	x.i += len(s)
	return true
}

// space moves over whitespace and reports whether there was any.
func (x *xmlScanner) space() bool {
	from := x.i
	for x.i < len(x.data) && isSpace(x.data[x.i]) {
		x.i++
	}
	return x.i > from
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (x *xmlScanner) fail(rule string) error { return syntax(x.i, rule) }

func (x *xmlScanner) document() error {
	if err := x.prolog(); err != nil {
		return err
	}
	for !x.tree.done() {
		if err := x.next(); err != nil {
			return err
		}
	}
	if err := x.comments(); err != nil {
		return err
	}
	if !x.skip("</") || !x.endTag("plist") {
		return x.fail("the plist element does not end after its one value")
	}
	if err := x.comments(); err != nil {
		return err
	}
	if x.i < len(x.data) {
		return x.fail("content after the plist element")
	}
	return nil
}

// next takes one tag or comment of the body, with the content of a leaf.
func (x *xmlScanner) next() error {
	x.space()
	switch {
	case x.skip("<!--"):
		return x.comment()
	case x.skip("</"):
		return x.end()
	case x.skip("<"):
		return x.element()
	case x.i == len(x.data):
		return x.fail("the document ends early")
	}
	return x.fail("text outside of a value")
}

func (x *xmlScanner) element() error {
	at := x.i - 1
	name := x.name()
	k := kindOf(name)
	if k == kindUnknown {
		return syntax(at, "unknown element")
	}
	empty, err := x.tagEnd()
	if err != nil {
		return err
	}
	switch k {
	case kindDict, kindArray:
		if err := x.tree.enter(k, at); err != nil || !empty {
			return err
		}
		return x.tree.leave(at)
	case kindKey:
		raw, plain, err := x.text(kindKey, empty)
		if err != nil {
			return err
		}
		return x.tree.key(decodeText(raw, plain), at)
	}
	return x.leaf(k, empty, at)
}

// end takes the end tag of the innermost container, after its "</".
func (x *xmlScanner) end() error {
	at := x.i - 2
	k := kindArray
	switch {
	case x.tree.depth == 0:
		return syntax(at, "end tag without a value")
	case x.tree.open[x.tree.depth-1].dict:
		k = kindDict
	}
	if !x.endTag(elements[k]) {
		return syntax(at, "end tag of another element")
	}
	return x.tree.leave(at)
}

// name moves over an element's name, which in property lists is of lower-case letters.
func (x *xmlScanner) name() []byte {
	from := x.i
	for x.i < len(x.data) && 'a' <= x.data[x.i] && x.data[x.i] <= 'z' {
		x.i++
	}
	return x.data[from:x.i]
}

// elements are the names of the elements by kind.
var elements = [...]string{
	kindDict: "dict", kindArray: "array", kindString: "string", kindInteger: "integer", kindReal: "real",
	kindTrue: "true", kindFalse: "false", kindDate: "date", kindData: "data", kindKey: "key",
}

func kindOf(name []byte) kind {
	switch string(name) {
	case "key":
		return kindKey
	case "string":
		return kindString
	case "dict":
		return kindDict
	case "array":
		return kindArray
	case "integer":
		return kindInteger
	case "real":
		return kindReal
	case "true":
		return kindTrue
	case "false":
		return kindFalse
	case "date":
		return kindDate
	case "data":
		return kindData
	}
	return kindUnknown
}

// tagEnd moves over the end of a start tag and reports whether the element is empty, as in <true/>.
func (x *xmlScanner) tagEnd() (empty bool, err error) {
	x.space()
	switch {
	case x.skip(">"):
		return false, nil
	case x.skip("/>"):
		return true, nil
	}
	return false, x.fail("attribute or malformed tag")
}

// endTag moves over the rest of an end tag, after its "</".
func (x *xmlScanner) endTag(name string) bool {
	if !x.skip(name) {
		return false
	}
	x.space()
	return x.skip(">")
}

// comments moves over whitespace and comments.
func (x *xmlScanner) comments() error {
	for x.space(); x.skip("<!--"); x.space() {
		if err := x.comment(); err != nil {
			return err
		}
	}
	return nil
}

// comment takes a comment after its "<!--". It counts as an element: the decoder allocates for it.
func (x *xmlScanner) comment() error {
	n := bytes.Index(x.data[x.i:], []byte("--"))
	if n < 0 {
		return x.fail("comment without an end")
	}
	if bad := badChar(x.data[x.i : x.i+n]); bad >= 0 {
		return syntax(x.i+bad, "character that XML does not allow")
	}
	x.i += n + len("--")
	if !x.skip(">") {
		return x.fail("comment that contains two hyphens")
	}
	return x.tree.count(x.i)
}
