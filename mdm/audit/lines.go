package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"github.com/gomdm/applemdm/mdm"
)

// MaxLine is the longest line that [ReadLines] takes, in bytes. The longest entry, with every character escaped, is shorter.
const MaxLine = 512 << 10

// WriteLines writes entries as JSON, one a line. The error is that of entries or of w.
func WriteLines(w io.Writer, entries iter.Seq2[Entry, error]) error {
	b := bufio.NewWriter(w)
	encoder := json.NewEncoder(b)
	for e, err := range entries {
		if err == nil {
			err = encoder.Encode(e)
		}
		if err != nil {
			return errors.Join(err, b.Flush())
		}
	}
	return b.Flush()
}

// ReadLines yields the entries that [WriteLines] wrote; empty lines are passed over. Nothing of them is checked but their form:
// that is for [Verify]. The error is a Malformed one with the number of the line, TooLarge for a line over [MaxLine], or r's.
func ReadLines(r io.Reader) iter.Seq2[Entry, error] {
	const op = "audit.ReadLines"
	return func(yield func(Entry, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, MaxLine)
		n := 0
		for lines.Scan() {
			n++
			if len(lines.Bytes()) == 0 {
				continue
			}
			var e Entry
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				yield(Entry{}, mdm.Errorf(mdm.Malformed, op, "line %d: %w", n, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(Entry{}, mdm.Errorf(mdm.TooLarge, op, "line %d has more than %d bytes", n+1, MaxLine))
		case err != nil:
			yield(Entry{}, err)
		}
	}
}
