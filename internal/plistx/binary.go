package plistx

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// The frame of a binary property list: a magic word, the objects, a table of their offsets and a trailer
// (CFBinaryPListTrailer in Apple's ForFoundationOnly.h).
const (
	binaryMagic   = "bplist00"
	binaryTrailer = 32
)

// objects gives bounded access to the objects of a binary property list.
type objects struct {
	data       []byte
	table      int // where the offset table begins; every object lies before it
	count      int // of objects
	root       int // index of the root object
	offsetSize int // width of an entry of the table
	refSize    int // width of a reference, which is an index into the table
}

// open reads the trailer. The offset table must fill the space between objects and trailer exactly.
func (o *objects) open(data []byte, limits Limits) error {
	at := len(data) - binaryTrailer
	if at <= len(binaryMagic) || string(data[:len(binaryMagic)]) != binaryMagic {
		return syntax(0, "not a binary property list of version 00")
	}
	trailer := data[at:]
	o.data = data
	o.offsetSize, o.refSize = int(trailer[6]), int(trailer[7])
	count := binary.BigEndian.Uint64(trailer[8:])
	root := binary.BigEndian.Uint64(trailer[16:])
	table := binary.BigEndian.Uint64(trailer[24:])
	switch {
	case o.offsetSize < 1 || o.offsetSize > 8 || o.refSize < 1 || o.refSize > 4:
		return syntax(at, "width of offsets or references out of range")
	case count > uint64(at):
		return syntax(at, "more objects than bytes")
	case count > uint64(limits.Elements):
		return &fault{ErrTooMany, "too many objects", at}
	case root >= count:
		return syntax(at, "root object out of range")
	case table <= uint64(len(binaryMagic)) || table >= uint64(at) || table+count*uint64(o.offsetSize) != uint64(at):
		return syntax(at, "offset table out of place")
	case count > 1<<(8*o.refSize) || o.offsetSize < 8 && table >= 1<<(8*o.offsetSize):
		return syntax(at, "references or offsets too narrow for the document")
	}
	o.count, o.root, o.table = int(count), int(root), int(table)
	return nil
}

// number reads a big-endian integer of up to 8 bytes; the caller has checked the bounds.
func (o *objects) number(at, width int) uint64 {
	n := uint64(0)
	for _, c := range o.data[at : at+width] {
		n = n<<8 | uint64(c)
	}
	return n
}

// offset returns where the object of the given index begins.
func (o *objects) offset(index int) (int, error) {
	entry := o.table + index*o.offsetSize
	at := o.number(entry, o.offsetSize)
	if at < uint64(len(binaryMagic)) || at >= uint64(o.table) {
		return 0, syntax(entry, "object outside of the object area")
	}
	return int(at), nil
}

// ref returns the i-th reference of the list at the given offset.
func (o *objects) ref(list, i int) (int, error) {
	at := list + i*o.refSize
	index := o.number(at, o.refSize)
	if index >= uint64(o.count) {
		return 0, syntax(at, "reference to an object that does not exist")
	}
	return int(index), nil
}

// fixed returns the content of an object of fixed width, after its marker.
func (o *objects) fixed(at, width int) ([]byte, error) {
	if width > o.table-at-1 {
		return nil, syntax(at, "object reaches into the offset table")
	}
	return o.data[at+1 : at+1+width], nil
}

// list returns how many units of the given width an object of counted length holds, and where they begin.
func (o *objects) list(at, width int) (from, count int, err error) {
	from, n := at+1, uint64(o.data[at]&0xf)
	if n == 0xf {
		// The count follows as an integer object of its own.
		if from >= o.table || o.data[from]&0xf0 != 0x10 || o.data[from]&0xf > 3 {
			return 0, 0, syntax(at, "malformed count")
		}
		size, err := o.fixed(from, 1<<(o.data[from]&0xf))
		if err != nil {
			return 0, 0, err
		}
		n = o.number(from+1, len(size))
		from += 1 + len(size)
	}
	if n > uint64((o.table-from)/width) {
		return 0, 0, syntax(at, "object reaches into the offset table")
	}
	return from, int(n), nil
}

// ascii returns the n bytes of an ASCII string.
func (o *objects) ascii(from, n int) ([]byte, error) {
	b := o.data[from : from+n]
	for i, c := range b {
		if c >= utf8.RuneSelf || !isChar(rune(c)) {
			return nil, syntax(from+i, "character that an ASCII string in XML does not allow")
		}
	}
	return b, nil
}

// utf16 returns the n units of a UTF-16 string as UTF-8.
func (o *objects) utf16(from, n int) ([]byte, error) {
	out := make([]byte, 0, n)
	for i := 0; i < n; i++ {
		r := rune(o.number(from+2*i, 2))
		if utf16.IsSurrogate(r) && i+1 < n {
			i++
			if r = utf16.DecodeRune(r, rune(o.number(from+2*i, 2))); r == utf8.RuneError {
				r = -1
			}
		}
		if !isChar(r) {
			return nil, syntax(from+2*i, "half of a surrogate pair, or a character that XML does not allow")
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}
