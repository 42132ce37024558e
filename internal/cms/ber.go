package cms

const (
	octetString  = 0x04
	constructed  = 0x20
	endOfContent = 0x00
)

// node is an element of a message, in the order of their beginnings.
type node struct {
	tag     byte
	content []byte // of a primitive element
	parent  int    // index, -1 for the root
	size    int    // of the content in DER
	end     int    // where a constructed element of definite length ends; -1 for an indefinite one
	limit   int    // where its content must end at the latest
	joined  bool   // a constructed OCTET STRING, rewritten as a primitive one
	bare    bool   // part of a joined one: only its bytes count
}

// Check checks a message, BER or DER, against l. Its errors are those of ToDER.
func Check(ber []byte, l Limits) error {
	_, err := scan(ber, l.withDefaults())
	return err
}

// ToDER checks a message, BER or DER, against l, and returns it with definite lengths of the shortest form and with
// its OCTET STRINGs in one piece (X.690, sections 10.1 and 10.2). Nothing may follow the message. It does not recurse
// and takes time and memory in proportion to the message. The error is ErrTooLarge, ErrTooDeep, ErrTooMany or ErrSyntax.
func ToDER(ber []byte, l Limits) ([]byte, error) {
	nodes, err := scan(ber, l.withDefaults())
	if err != nil {
		return nil, err
	}
	for i := len(nodes) - 1; i > 0; i-- { // children come after their parents
		n := &nodes[i]
		p := &nodes[n.parent]
		p.size += n.size
		if !n.bare {
			p.size += headerSize(n.size)
		}
	}
	out := make([]byte, 0, headerSize(nodes[0].size)+nodes[0].size)
	for i := range nodes {
		n := &nodes[i]
		if !n.bare {
			tag := n.tag
			if n.joined {
				tag = octetString
			}
			out = appendHeader(out, tag, n.size)
		}
		out = append(out, n.content...)
	}
	return out, nil
}

// scan reads the elements of a message.
func scan(ber []byte, l Limits) ([]node, error) {
	if len(ber) > l.Bytes {
		return nil, ErrTooLarge
	}
	nodes := make([]node, 0, min(l.Elements, len(ber)/8+1, 128))
	parent, depth, pos := -1, 0, 0
	for {
		// Leave the elements that end here.
		for parent >= 0 && nodes[parent].end == pos {
			parent, depth = nodes[parent].parent, depth-1
			if parent < 0 {
				return nodes, trailing(ber, pos)
			}
		}
		if parent >= 0 && nodes[parent].end < 0 && pos+1 < len(ber) && ber[pos] == endOfContent && ber[pos+1] == 0 {
			pos += 2
			parent, depth = nodes[parent].parent, depth-1
			if parent < 0 {
				return nodes, trailing(ber, pos)
			}
			continue
		}
		limit := len(ber)
		if parent >= 0 {
			limit = nodes[parent].limit
		}
		n, next, err := element(ber, pos, limit)
		if err != nil {
			return nil, err
		}
		if len(nodes) == l.Elements {
			return nil, ErrTooMany
		}
		n.parent = parent
		if err := n.place(nodes); err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		pos = next
		if n.tag&constructed == 0 {
			if parent < 0 {
				return nodes, trailing(ber, pos)
			}
			continue
		}
		parent, depth = len(nodes)-1, depth+1
		if depth > l.Depth {
			return nil, ErrTooDeep
		}
	}
}

func trailing(ber []byte, pos int) error {
	if pos != len(ber) {
		return syntax("bytes after the message")
	}
	return nil
}

// element reads the header of the element at pos, and its content if it is primitive. It must not reach beyond end.
func element(ber []byte, pos, end int) (node, int, error) {
	if end-pos < 2 {
		return node{}, 0, syntax("cut off at byte %d", pos)
	}
	n := node{tag: ber[pos]}
	if n.tag&0x1f == 0x1f || n.tag == endOfContent {
		return node{}, 0, syntax("unexpected tag at byte %d", pos)
	}
	length, pos, err := readLength(ber, pos+1, end)
	if err != nil {
		return node{}, 0, err
	}
	switch {
	case length < 0 && n.tag&constructed == 0:
		return node{}, 0, syntax("a primitive element of indefinite length at byte %d", pos)
	case length < 0:
		n.end, n.limit = -1, end
	case length > end-pos:
		return node{}, 0, syntax("an element is longer than what holds it at byte %d", pos)
	case n.tag&constructed != 0:
		n.end = pos + length
		n.limit = n.end
	default:
		n.content, n.size = ber[pos:pos+length], length
		pos += length
	}
	return n, pos, nil
}

// readLength reads a length; -1 is the indefinite one.
func readLength(ber []byte, pos, end int) (int, int, error) {
	first := ber[pos]
	pos++
	switch {
	case first < 0x80:
		return int(first), pos, nil
	case first == 0x80:
		return -1, pos, nil
	case first > 0x84 || int(first&0x7f) > end-pos:
		return 0, 0, syntax("a length of more than four bytes at byte %d", pos)
	}
	length := 0
	for range first & 0x7f {
		length = length<<8 | int(ber[pos])
		pos++
	}
	if length < 0 || length > len(ber) {
		return 0, 0, syntax("a length beyond the message at byte %d", pos)
	}
	return length, pos, nil
}

// place settles how a node is rewritten, by what it stands in: the pieces of an OCTET STRING may be in pieces themselves.
func (n *node) place(nodes []node) error {
	if n.parent >= 0 {
		if p := &nodes[n.parent]; p.joined || p.bare {
			if n.tag&^constructed != octetString {
				return syntax("an OCTET STRING made of something else")
			}
			n.bare = true
			return nil
		}
	}
	n.joined = n.tag == octetString|constructed
	return nil
}
