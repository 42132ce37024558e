package plistx

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// special marks the bytes of character data that need a closer look.
var special = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' && c != '\t' && c != '\n' || c >= utf8.RuneSelf
	}
	t['<'], t['&'], t[']'] = true, true, true
	return t
}()

// text takes the content and end tag of a string or key. It returns the content as it stands in the document; plain
// says that it reads as it stands, without references, CDATA sections or carriage returns.
func (x *xmlScanner) text(k kind, empty bool) (raw []byte, plain bool, err error) {
	if empty {
		return nil, true, nil
	}
	data, from := x.data, x.i
	plain = true
	for i := from; i < len(data); {
		c := data[i]
		if !special[c] {
			i++
			continue
		}
		n := 0
		switch c {
		case '<':
			if !bytes.HasPrefix(data[i:], []byte(cdataBegin)) {
				return x.textEnd(k, from, i, plain)
			}
			n, plain = cdata(data[i:]), false
		case '&':
			_, n = reference(data[i:])
			plain = false
		case '\r':
			n, plain = 1, false
		case ']':
			if !bytes.HasPrefix(data[i:], []byte(cdataEnd)) {
				n = 1
			}
		default:
			n = charLen(data[i:])
		}
		if n == 0 {
			return nil, false, syntax(i, "character or reference that XML does not allow")
		}
		i += n
	}
	return nil, false, syntax(len(data), "the document ends early")
}

func (x *xmlScanner) textEnd(k kind, from, to int, plain bool) ([]byte, bool, error) {
	x.i = to
	if !x.skip("</") || !x.endTag(elements[k]) {
		return nil, false, syntax(to, "markup in a string or key")
	}
	return x.data[from:to], plain, nil
}

const cdataBegin, cdataEnd = "<![CDATA[", "]]>"

// cdata returns the length of the CDATA section at the beginning of b, or 0.
func cdata(b []byte) int {
	content := b[len(cdataBegin):]
	n := bytes.Index(content, []byte(cdataEnd))
	if n < 0 || badChar(content[:n]) >= 0 {
		return 0
	}
	return len(cdataBegin) + n + len(cdataEnd)
}

// badChar returns where b holds something other than a character that XML allows, or -1.
func badChar(b []byte) int {
	for i := 0; i < len(b); {
		n := 1
		if special[b[i]] {
			n = charLen(b[i:])
		}
		if n == 0 {
			return i
		}
		i += n
	}
	return -1
}

// charLen returns the length of the character at the beginning of b, or 0 if it is not valid UTF-8 or not one that XML
// allows.
func charLen(b []byte) int {
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n == 1 || !isChar(r) {
		return 0
	}
	return n
}

// isChar is the production Char of XML 1.0.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		' ' <= r && r <= 0xD7FF || 0xE000 <= r && r <= 0xFFFD || 0x10000 <= r && r <= utf8.MaxRune
}

// reference decodes the character or entity reference at the beginning of b and returns its length, or 0.
func reference(b []byte) (rune, int) {
	end := bytes.IndexByte(b[:min(len(b), 12)], ';')
	if end < 0 {
		return 0, 0
	}
	name, n := b[1:end], end+1
	switch string(name) {
	case "amp":
		return '&', n
	case "lt":
		return '<', n
	case "gt":
		return '>', n
	case "quot":
		return '"', n
	case "apos":
		return '\'', n
	}
	base := 10
	digits, ok := bytes.CutPrefix(name, []byte("#x"))
	if ok {
		base = 16
	} else if digits, ok = bytes.CutPrefix(name, []byte("#")); !ok {
		return 0, 0
	}
	r, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || r > utf8.MaxRune || !isChar(rune(r)) {
		return 0, 0
	}
	return rune(r), n
}

// decodeText returns what the content of a string or key means: references replaced, CDATA sections unwrapped, and
// line ends as encoding/xml reads them.
func decodeText(raw []byte, plain bool) []byte {
	if plain {
		return raw
	}
	out := make([]byte, 0, len(raw))
	inCDATA := false
	for i := 0; i < len(raw); {
		switch {
		case inCDATA && bytes.HasPrefix(raw[i:], []byte(cdataEnd)):
			inCDATA = false
			i += len(cdataEnd)
		case !inCDATA && raw[i] == '<':
			inCDATA = true
			i += len(cdataBegin)
		case !inCDATA && raw[i] == '&':
			r, n := reference(raw[i:])
			out = utf8.AppendRune(out, r)
			i += n
		case raw[i] == '\r':
			out = append(out, '\n')
			if i++; i < len(raw) && raw[i] == '\n' {
				i++
			}
		default:
			out = append(out, raw[i])
			i++
		}
	}
	return out
}
