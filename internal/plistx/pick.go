package plistx

// Pick checks a property list as [Check] does, and takes some values of one dictionary in it on the way: the one that is
// reached from the root by the keys of path. Text and flag say where the value of a key goes, nil if it is not wanted; one
// of another type is passed over. It costs a tenth of decoding all.
func Pick(data []byte, l Limits, path []string, text func(key []byte) *string, flag func(key []byte) *Tristate) error {
	t := newTree(l)
	t.picks = &picks{path: path, text: text, flag: flag}
	_, err := t.read(data, false)
	return err
}

// picks is what Pick looks for.
type picks struct {
	path []string
	text func(key []byte) *string
	flag func(key []byte) *Tristate
}

// pick returns where the value of the innermost dictionary's last key goes.
func (t *tree) pick(k kind) (text *string, flag *Tristate) {
	if t.depth != len(t.picks.path)+1 {
		return nil, nil
	}
	for i, key := range t.picks.path { // the last key of a dictionary stands before the keys of what is open in it
		if !t.open[i].dict || string(t.keys[t.open[i+1].keys-1]) != key {
			return nil, nil
		}
	}
	key := t.keys[len(t.keys)-1]
	switch k {
	case kindString:
		return t.picks.text(key), nil
	case kindTrue, kindFalse:
		return nil, t.picks.flag(key)
	}
	return nil, nil
}
