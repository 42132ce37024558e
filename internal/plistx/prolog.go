package plistx

import "bytes"

// prolog takes everything up to the root value: byte order mark, XML declaration, document type and the start tag of
// the plist element.
func (x *xmlScanner) prolog() error {
	x.skip("\ufeff")
	if x.skip("<?xml") {
		if err := x.declaration(); err != nil {
			return err
		}
	}
	if err := x.comments(); err != nil {
		return err
	}
	if x.skip("<!DOCTYPE") {
		if err := x.doctype(); err != nil {
			return err
		}
		if err := x.comments(); err != nil {
			return err
		}
	}
	if !x.skip("<plist") {
		return x.fail("the root element is not plist")
	}
	if version, ok := x.attribute("version"); ok && len(bytes.Trim(version, "0123456789.")) > 0 {
		return x.fail("version that is not a number")
	}
	if empty, err := x.tagEnd(); err != nil || empty {
		return x.fail("attribute in the plist element, or no value in it")
	}
	return nil
}

// declaration takes the XML declaration after its "<?xml".
func (x *xmlScanner) declaration() error {
	if version, ok := x.attribute("version"); !ok || string(version) != "1.0" {
		return x.fail("XML declaration without version 1.0")
	}
	if encoding, ok := x.attribute("encoding"); ok && !bytes.EqualFold(encoding, []byte("utf-8")) {
		return x.fail("encoding other than UTF-8")
	}
	if standalone, ok := x.attribute("standalone"); ok && string(standalone) != "yes" && string(standalone) != "no" {
		return x.fail("malformed XML declaration")
	}
	x.space()
	if !x.skip("?>") {
		return x.fail("malformed XML declaration")
	}
	return nil
}

// doctype takes a document type declaration after its "<!DOCTYPE". It may name an external definition, which nobody
// fetches. An internal one, the place for entity definitions, is refused.
func (x *xmlScanner) doctype() error {
	if !x.space() || !x.skip("plist") {
		return x.fail("document type other than plist")
	}
	literals := 0
	if x.space() {
		switch {
		case x.skip("PUBLIC"):
			literals = 2
		case x.skip("SYSTEM"):
			literals = 1
		}
	}
	for range literals {
		if !x.space() {
			return x.fail("malformed document type")
		}
		if _, ok := x.literal(); !ok {
			return x.fail("malformed document type")
		}
	}
	x.space()
	if !x.skip(">") {
		return x.fail("document type with definitions of its own")
	}
	return nil
}

// attribute moves over whitespace and an attribute of the given name, if they come next.
func (x *xmlScanner) attribute(name string) (value []byte, ok bool) {
	from := x.i
	if !x.space() || !x.skip(name) {
		x.i = from
		return nil, false
	}
	x.space()
	if ok = x.skip("="); ok {
		x.space()
		value, ok = x.literal()
	}
	if !ok {
		x.i = from
	}
	return value, ok
}

// literal moves over a short quoted text of printable ASCII without markup.
func (x *xmlScanner) literal() ([]byte, bool) {
	if x.i == len(x.data) || x.data[x.i] != '"' && x.data[x.i] != '\'' {
		return nil, false
	}
	rest := x.data[x.i+1:]
	for n, c := range rest[:min(len(rest), 256)] {
		switch {
		case c == x.data[x.i]:
			x.i += n + 2
			return rest[:n], true
		case c < ' ' || c > '~' || bytes.IndexByte([]byte("<>&\"'"), c) >= 0:
			return nil, false
		}
	}
	return nil, false
}
