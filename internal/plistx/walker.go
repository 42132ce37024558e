package plistx

// walker walks a binary property list as the tree it describes: an object that is referred to twice is walked twice,
// and counted twice. If asXML is set it writes the same document as XML to out.
type walker struct {
	objects
	tree  *tree
	asXML bool
	out   []byte

	open [MaxDepth]container // in step with tree.open
	size int                 // bytes of strings and data so far
}

// container is a dictionary or array on the way to the current object.
type container struct {
	kind        kind
	index, refs int // its own index, and where its references begin
	count, next int // how many values it has, and which one comes next
}

func (w *walker) document(data []byte) error {
	if err := w.objects.open(data, w.tree.limits); err != nil {
		return err
	}
	if w.asXML {
		w.out = make([]byte, 0, 2*len(data))
	}
	w.write("<plist>")
	if err := w.visit(w.root); err != nil {
		return err
	}
	for !w.tree.done() {
		if err := w.next(&w.open[w.tree.depth-1]); err != nil {
			return err
		}
	}
	w.write("</plist>")
	return nil
}

// next walks one entry of the innermost container, or leaves it. In a dictionary the references to the keys come
// first, then those to the values.
func (w *walker) next(c *container) error {
	if c.next == c.count {
		w.write("</", elements[c.kind], ">")
		return w.tree.leave(c.refs)
	}
	i := c.next
	c.next++
	if c.kind == kindDict {
		if err := w.key(c.refs, i); err != nil {
			return err
		}
		i += c.count
	}
	index, err := w.ref(c.refs, i)
	if err != nil {
		return err
	}
	return w.visit(index)
}

func (w *walker) key(refs, i int) error {
	index, err := w.ref(refs, i)
	if err != nil {
		return err
	}
	at, err := w.offset(index)
	if err != nil {
		return err
	}
	if w.data[at]>>4 != 0x5 && w.data[at]>>4 != 0x6 {
		return syntax(at, "key that is not a string")
	}
	name, err := w.string(at)
	if err != nil {
		return err
	}
	w.escaped("key", name)
	return w.tree.key(name, at)
}

// visit walks one object; of a container only the beginning.
func (w *walker) visit(index int) error {
	at, err := w.offset(index)
	if err != nil {
		return err
	}
	switch marker := w.data[at]; marker >> 4 {
	case 0x0:
		return w.boolean(at, marker)
	case 0x1:
		return w.integer(at, marker)
	case 0x2:
		return w.real(at, marker)
	case 0x3:
		return w.date(at, marker)
	case 0x4:
		return w.bytes(at)
	case 0x5, 0x6:
		return w.text(at)
	case 0xA:
		return w.enter(kindArray, index, at)
	case 0xD:
		return w.enter(kindDict, index, at)
	}
	return syntax(at, "object of a type that property lists do not have")
}

func (w *walker) enter(k kind, index, at int) error {
	for _, c := range w.open[:w.tree.depth] {
		if c.index == index {
			return syntax(at, "container that contains itself")
		}
	}
	width := w.refSize
	if k == kindDict {
		width *= 2
	}
	refs, count, err := w.list(at, width)
	if err != nil {
		return err
	}
	if err := w.tree.enter(k, at); err != nil {
		return err
	}
	w.open[w.tree.depth-1] = container{kind: k, index: index, refs: refs, count: count}
	w.write("<", elements[k], ">")
	return nil
}

func (w *walker) write(parts ...string) {
	if !w.asXML {
		return
	}
	for _, s := range parts {
		w.out = append(w.out, s...)
	}
}

// escaped writes an element with text.
func (w *walker) escaped(name string, text []byte) {
	if !w.asXML {
		return
	}
	w.write("<", name, ">")
	for _, c := range text {
		switch c {
		case '&':
			w.write("&amp;")
		case '<':
			w.write("&lt;")
		case '>':
			w.write("&gt;")
		case '\r':
			w.write("&#13;")
		default:
			w.out = append(w.out, c)
		}
	}
	w.write("</", name, ">")
}
