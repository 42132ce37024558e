package plistx

import (
	"bytes"
	"strconv"
	"time"
)

// leaf takes the content and end tag of a value that is no container.
func (x *xmlScanner) leaf(k kind, empty bool, at int) error {
	text, flag, err := x.tree.value(k, at)
	if err != nil {
		return err
	}
	switch k {
	case kindString:
		raw, plain, err := x.text(k, empty)
		if text != nil {
			*text = string(decodeText(raw, plain))
		}
		return err
	case kindTrue, kindFalse:
		if flag != nil && k == kindTrue {
			*flag = True
		} else if flag != nil {
			*flag = False
		}
		if !empty && (!x.skip("</") || !x.endTag(elements[k])) {
			return syntax(at, "boolean with content")
		}
		return nil
	}
	var raw []byte
	if !empty {
		n := bytes.IndexByte(x.data[x.i:], '<')
		if n < 0 {
			return x.fail("the document ends early")
		}
		raw = x.data[x.i : x.i+n]
		x.i += n
		if !x.skip("</") || !x.endTag(elements[k]) {
			return syntax(x.i, "markup in a number, date or data")
		}
	}
	if !validLeaf(k, raw) {
		return syntax(at, "malformed number, date or data")
	}
	return nil
}

func validLeaf(k kind, raw []byte) bool {
	switch k {
	case kindInteger:
		return validInteger(raw)
	case kindReal:
		return validReal(raw)
	case kindDate:
		return new(time.Time).UnmarshalText(raw) == nil
	}
	return validBase64(raw)
}

// maxNumber is the length of the longest number accepted. The largest float64 has 309 digits when written in full.
const maxNumber = 400

// validInteger allows decimal digits that fit 64 bits, signed if negative, with whitespace around them.
func validInteger(raw []byte) bool {
	b := trimSpace(raw)
	if len(b) == 0 || len(b) > maxNumber {
		return false
	}
	if b[0] == '-' {
		_, err := strconv.ParseInt(string(b), 10, 64)
		return err == nil
	}
	_, err := strconv.ParseUint(string(b), 10, 64)
	return err == nil
}

// validReal allows decimal numbers that fit a float64, inf and nan, with whitespace around them. Of what
// strconv.ParseFloat reads it leaves out hexadecimal and underscores.
func validReal(raw []byte) bool {
	b := trimSpace(raw)
	if len(b) > maxNumber || bytes.ContainsAny(b, "xXpP_") {
		return false
	}
	_, err := strconv.ParseFloat(string(b), 64)
	return err == nil
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

const (
	base64Bad = iota
	base64Space
	base64Pad
	base64Digit
)

var base64Class = func() (t [256]byte) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = base64Digit
	}
	for _, c := range []byte(" \t\r\n") {
		t[c] = base64Space
	}
	t['='] = base64Pad
	return t
}()

// validBase64 allows whole groups of four, the last one padded, with whitespace anywhere.
func validBase64(raw []byte) bool {
	digits, pads := 0, 0
	for _, c := range raw {
		switch class := base64Class[c]; {
		case class == base64Digit && pads == 0:
			digits++
		case class == base64Space:
		case class == base64Pad:
			pads++
		default:
			return false
		}
	}
	return pads <= 2 && (digits+pads)%4 == 0
}
