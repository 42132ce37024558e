package plistx

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

func (w *walker) boolean(at int, marker byte) error {
	k, state := kindFalse, False
	switch marker {
	case 0x08:
	case 0x09:
		k, state = kindTrue, True
	default:
		return syntax(at, "null or fill")
	}
	_, flag, err := w.tree.value(k, at)
	if flag != nil {
		*flag = state
	}
	w.write("<", elements[k], "/>")
	return err
}

// integer walks an integer: unsigned below 8 bytes, signed with 8, and with 16 one of 64 bits with or without sign,
// which is how Apple writes numbers above the largest int64.
func (w *walker) integer(at int, marker byte) error {
	if marker&0xf > 4 {
		return syntax(at, "integer of more than 16 bytes")
	}
	b, err := w.fixed(at, 1<<(marker&0xf))
	if err != nil {
		return err
	}
	low := w.number(at+1+len(b)-min(len(b), 8), min(len(b), 8))
	negative := len(b) == 8 && int64(low) < 0
	if len(b) == 16 {
		high := binary.BigEndian.Uint64(b)
		if negative = high == math.MaxUint64 && int64(low) < 0; high != 0 && !negative {
			return syntax(at, "integer of more than 64 bits")
		}
	}
	if negative {
		return w.leaf(kindInteger, strconv.FormatInt(int64(low), 10), at)
	}
	return w.leaf(kindInteger, strconv.FormatUint(low, 10), at)
}

func (w *walker) real(at int, marker byte) error {
	if marker != 0x22 && marker != 0x23 {
		return syntax(at, "real of neither 4 nor 8 bytes")
	}
	b, err := w.fixed(at, 1<<(marker&0xf))
	if err != nil {
		return err
	}
	f := 0.0
	if len(b) == 4 {
		f = float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	} else {
		f = math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return w.leaf(kindReal, strconv.FormatFloat(f, 'g', -1, 64), at)
}

// appleEpoch is 2001-01-01 in Unix time, from which binary property lists count seconds.
const appleEpoch = 978307200

func (w *walker) date(at int, marker byte) error {
	b, err := w.fixed(at, 8)
	if err != nil {
		return err
	}
	seconds := appleEpoch + math.Float64frombits(binary.BigEndian.Uint64(b))
	if marker != 0x33 || !(math.Abs(seconds) < 1e12) {
		return syntax(at, "malformed date")
	}
	whole, fraction := math.Modf(seconds)
	t := time.Unix(int64(whole), int64(fraction*float64(time.Second))).UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return syntax(at, "date outside of the years 0 to 9999")
	}
	return w.leaf(kindDate, t.Format(time.RFC3339Nano), at)
}

// leaf takes a value whose XML form is content.
func (w *walker) leaf(k kind, content string, at int) error {
	if _, _, err := w.tree.value(k, at); err != nil {
		return err
	}
	w.write("<", elements[k], ">", content, "</", elements[k], ">")
	return nil
}

func (w *walker) bytes(at int) error {
	from, n, err := w.list(at, 1)
	if err != nil {
		return err
	}
	if err := w.spend(n, at); err != nil {
		return err
	}
	if _, _, err = w.tree.value(kindData, at); err != nil || !w.asXML {
		return err
	}
	w.write("<data>")
	w.out = base64.StdEncoding.AppendEncode(w.out, w.data[from:from+n])
	w.write("</data>")
	return nil
}

func (w *walker) text(at int) error {
	s, err := w.string(at)
	if err != nil {
		return err
	}
	text, _, err := w.tree.value(kindString, at)
	if text != nil {
		*text = string(s)
	}
	w.escaped("string", s)
	return err
}

// string returns a string object as UTF-8, once the sum of all strings and data stays within the limit.
func (w *walker) string(at int) ([]byte, error) {
	width, read := 1, w.ascii
	if w.data[at]>>4 == 0x6 {
		width, read = 2, w.utf16
	}
	from, n, err := w.list(at, width)
	if err != nil {
		return nil, err
	}
	if err := w.spend(n*width, at); err != nil {
		return nil, err
	}
	return read(from, n)
}

// spend counts the bytes of strings and data. Without it a long string that is referred to often would make a small
// document large.
func (w *walker) spend(n, at int) error {
	if w.size += n; w.size > w.tree.limits.Bytes {
		return &fault{ErrTooLarge, "strings and data are referred to too often", at}
	}
	return nil
}
