package plistx

import (
	"bytes"
	"unicode/utf8"
)

// Repair returns a copy of an XML document in which every character that XML does not allow, and every byte that is not
// UTF-8, reads U+FFFD; nil if there is none, or if data is a binary list. Apple's encoder writes control characters as
// they are, so an application with one in its name makes a report that no parser reads. Scan what Repair returns: it
// repairs characters and nothing else.
func Repair(data []byte) []byte {
	if bytes.HasPrefix(data, []byte("bplist")) || badChar(data) < 0 {
		return nil
	}
	out := make([]byte, 0, len(data)+64)
	for rest := data; len(rest) > 0; {
		bad := badChar(rest)
		if bad < 0 {
			return append(out, rest...)
		}
		out = append(out, rest[:bad]...)
		out = utf8.AppendRune(out, utf8.RuneError)
		_, n := utf8.DecodeRune(rest[bad:])
		rest = rest[bad+n:]
	}
	return out
}
