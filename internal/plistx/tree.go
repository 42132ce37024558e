package plistx

import (
	"bytes"
	"slices"
)

// kind is the type of a value; kindKey is the key of a dictionary, which is no value.
type kind uint8

const (
	kindUnknown kind = iota
	kindDict
	kindArray
	kindString
	kindInteger
	kindReal
	kindTrue
	kindFalse
	kindDate
	kindData
	kindKey
)

// tree follows the shape of a document while a scanner of either form walks it: what is open, what may come next, how
// much there was. It keeps the rules that both forms share.
type tree struct {
	limits    Limits
	isMessage bool // the root is a dictionary and fills the header
	header    Header
	picks     *picks // nil: nothing is picked

	open     [MaxDepth]level
	depth    int // how many of open are in use
	deepest  int
	elements int
	rooted   bool     // the root has been seen
	keys     [][]byte // the decoded keys of all open dictionaries, outermost first
}

// level is an open dictionary or array.
type level struct {
	dict    bool
	waiting bool // a key has been read, its value has not
	keys    int  // where the keys of the dictionary begin in tree.keys
}

func newTree(l Limits) tree {
	return tree{limits: l.withDefaults(), keys: make([][]byte, 0, 48)}
}

// done reports whether the root value is complete.
func (t *tree) done() bool { return t.rooted && t.depth == 0 }

func (t *tree) count(at int) error {
	if t.elements++; t.elements > t.limits.Elements {
		return &fault{ErrTooMany, "one element too many", at}
	}
	return nil
}

// key takes a dictionary's next key, decoded. The slice is kept until the dictionary is closed.
func (t *tree) key(name []byte, at int) error {
	if t.depth == 0 || !t.open[t.depth-1].dict {
		return syntax(at, "key outside of a dictionary")
	}
	top := &t.open[t.depth-1]
	if top.waiting {
		return syntax(at, "key without a value")
	}
	top.waiting = true
	t.keys = append(t.keys, name)
	return t.count(at)
}

// value takes the beginning of a value that is no container. Where the value belongs into the header, text or flag
// say where.
func (t *tree) value(k kind, at int) (text *string, flag *Tristate, err error) {
	if err := t.count(at); err != nil {
		return nil, nil, err
	}
	if t.depth == 0 {
		return nil, nil, t.root(k, at)
	}
	top := &t.open[t.depth-1]
	if !top.dict {
		return nil, nil, nil
	}
	if !top.waiting {
		return nil, nil, syntax(at, "value without a key")
	}
	top.waiting = false
	if t.picks != nil {
		text, flag = t.pick(k)
		return text, flag, nil
	}
	if t.depth > 1 || !t.isMessage {
		return nil, nil, nil
	}
	key := t.keys[len(t.keys)-1]
	text, flag = t.header.text(key), t.header.flag(key)
	if text != nil && k != kindString || flag != nil && k != kindTrue && k != kindFalse {
		return nil, nil, syntax(at, "top-level key of the protocol with a value of another type")
	}
	return text, flag, nil
}

// root takes the beginning of the root value. Scanners stop after it.
func (t *tree) root(k kind, at int) error {
	t.rooted = true
	if t.isMessage && k != kindDict {
		return syntax(at, "the root of a message is not a dictionary")
	}
	return nil
}

// enter takes the beginning of a dictionary or array.
func (t *tree) enter(k kind, at int) error {
	if _, _, err := t.value(k, at); err != nil {
		return err
	}
	if t.depth >= t.limits.Depth {
		return &fault{ErrTooDeep, "one level too many", at}
	}
	t.open[t.depth] = level{dict: k == kindDict, keys: len(t.keys)}
	t.depth++
	t.deepest = max(t.deepest, t.depth)
	return nil
}

// leave takes the end of the innermost dictionary or array.
func (t *tree) leave(at int) error {
	t.depth--
	top := t.open[t.depth]
	if top.waiting {
		return syntax(at, "key without a value")
	}
	if repeats(t.keys[top.keys:]) {
		return syntax(at, "dictionary with the same key twice")
	}
	t.keys = t.keys[:top.keys]
	return nil
}

// repeats reports whether a key occurs twice. It may reorder keys.
func repeats(keys [][]byte) bool {
	if len(keys) > 16 {
		slices.SortFunc(keys, bytes.Compare)
		for i := 1; i < len(keys); i++ {
			if bytes.Equal(keys[i-1], keys[i]) {
				return true
			}
		}
		return false
	}
	for i := range keys {
		for j := range i {
			if bytes.Equal(keys[i], keys[j]) {
				return true
			}
		}
	}
	return false
}
