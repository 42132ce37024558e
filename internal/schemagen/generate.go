package main

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Generate returns the files that the schema gives, by their path in the module.
func Generate(fsys fs.FS) (map[string][]byte, error) {
	docs, err := parse(fsys)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("no files of the schema here")
	}
	for _, doc := range docs {
		if err := correct(doc); err != nil {
			return nil, err
		}
	}
	g := &generator{out: map[string][]byte{}, pkgs: map[string]*pkg{}}
	for _, doc := range docs {
		if err := g.place(doc); err != nil {
			return nil, err
		}
	}
	if err := g.status(docs); err != nil {
		return nil, err
	}
	return g.out, g.write()
}

// generator puts documents into packages.
type generator struct {
	out  map[string][]byte
	pkgs map[string]*pkg
}

func (g *generator) pkg(dir string) *pkg {
	if g.pkgs[dir] == nil {
		g.pkgs[dir] = &pkg{dir: dir, name: path.Base(dir), taken: taken[dir]}
	}
	return g.pkgs[dir]
}

func (g *generator) add(dir, root, wire string, doc *document) *unit {
	p := g.pkg(dir)
	file := strings.ToLower(root)
	if root == "" {
		file = strings.ToLower(goName(doc.name))
	}
	u := &unit{pkg: p, file: file, doc: doc, root: root, wire: wire}
	p.units = append(p.units, u)
	return u
}

// place says which package a document goes to, and what its type is called.
func (g *generator) place(doc *document) error {
	base := strings.TrimSuffix(path.Base(doc.path), ".yaml")
	switch dir := path.Dir(doc.path); {
	case dir == "mdm/commands":
		g.add("command", doc.name, "RequestType", doc)
	case dir == "mdm/checkin": // the types are written by hand: they are decoded as they are routed
		g.add("checkin", "", "", doc).file = strings.ToLower(doc.name)
	case dir == "mdm/errors":
		u := g.add("mdm/enroll", "Error"+errorName(doc, base), "", doc)
		u.plain = true
	case dir == "mdm/profiles" && (base == "TopLevel" || base == "CommonPayloadKeys"):
		g.add("profile", "", "", doc)
	case dir == "mdm/profiles":
		g.add("profile", payloadName(base), "PayloadType", doc)
	case doc.name == "SkipKeys":
		g.out["mdm/setup/panes_gen.go"] = nil
		return g.panes(doc)
	case doc.name == "ManifestURL":
		g.add("command", "Manifest", "", doc)
	case doc.name == "passwordHash":
		g.add("command", "PasswordHash", "", doc)
	case doc.name == "MachineInfo":
		g.add("mdm/enroll", "MachineInfo", "", doc)
	case doc.name == "ESSO":
		g.add("mdm/enroll", "SSODocument", "", doc).plain = true
	case doc.path == "declarative/declarations/declarationbase.yaml":
		return g.reasons(doc)
	case strings.HasPrefix(dir, "declarative/declarations/assets/credentials"):
		g.add("mdm/ddm", "Credential"+goName(base), "", doc).plain = true
	case strings.HasPrefix(dir, "declarative/declarations"):
		g.add("mdm/ddm", declarationName(doc.name), "DeclarationType", doc).plain = true
	case dir == "declarative/protocol":
		g.add("mdm/ddm", doc.name, "", doc).plain = true
	case doc.path == "declarative/status/statusreason.yaml":
		g.add("mdm/ddm", "StatusReason", "", doc).plain = true
	case dir == "declarative/status": // all of them are one type
	default:
		return fmt.Errorf("%s: no package for this file", doc.path)
	}
	return nil
}

func errorName(doc *document, base string) string {
	for _, k := range doc.keys {
		if k.name == "code" && len(k.enum) == 1 {
			doc.name = k.enum[0]
		}
	}
	return goName(base)
}

// payloadName makes a Go name of the file of a payload.
func payloadName(base string) string {
	if name := payloadNames[base]; name != "" {
		return name
	}
	name := strings.TrimPrefix(base, "com.apple.")
	for _, end := range []string{".managed", ".account", ".preferences"} {
		name = strings.TrimSuffix(name, end)
	}
	return goName(name)
}

var declarationEnd = regexp.MustCompile(`^com\.apple\.(configuration|activation|asset|management)\.`)

// declarationName makes a Go name of a declaration: configurations go by their own name, others by their kind too.
func declarationName(kind string) string {
	group := declarationEnd.FindStringSubmatch(kind)
	rest := strings.TrimPrefix(kind, declarationEnd.FindString(kind))
	name := goName(rest)
	if n := declarationNames[rest]; n != "" {
		name = n
	}
	if group != nil && group[1] != "configuration" {
		name = title(group[1]) + name
	}
	return name
}

func (g *generator) write() error {
	for _, dir := range sorted(g.pkgs) {
		p := g.pkgs[dir]
		if err := p.build(); err != nil {
			return err
		}
		for _, u := range p.units {
			src, err := u.source()
			if err != nil {
				return fmt.Errorf("%s: %w", u.doc.path, err)
			}
			name := path.Join(dir, u.file+"_gen.go")
			if g.out[name] != nil {
				return fmt.Errorf("%s: another file of the schema goes to %s, too", u.doc.path, name)
			}
			g.out[name] = src
		}
		if err := g.registry(p); err != nil {
			return err
		}
	}
	g.out["docs/commands.md"] = commandTable(g.pkgs["command"])
	return nil
}

// panes writes the panes of Setup Assistant.
func (g *generator) panes(doc *document) error {
	var w writer
	w.line("\n// The panes that the schema lists.\nconst (")
	for _, k := range doc.keys {
		if note := strings.Join(systemLines(k.support), "; "); note != "" {
			w.line("// %s: %s.", goName(k.name), note)
		}
		w.line("%s Pane = %q", goName(k.name), k.name)
	}
	w.line(")")
	w.object("panesSchema", doc, doc.support.lines(), doc.keys)
	src, err := finish("setup", w.String())
	g.out["mdm/setup/panes_gen.go"] = src
	return err
}

// reasons writes the codes of the reasons that devices give, and the keys of every declaration.
func (g *generator) reasons(doc *document) error {
	var w writer
	w.line("\n// The codes of the reasons that devices give for declarations.\nconst (")
	for _, code := range doc.reasons {
		w.line("Reason%s = %q", goName(code), code)
	}
	w.line(")")
	w.object("declarationSchema", doc, doc.support.lines(), doc.keys)
	src, err := finish("ddm", w.String())
	g.out["mdm/ddm/reasons_gen.go"] = src
	return err
}

// status makes one tree of all status items: dots in their names are levels on the wire.
func (g *generator) status(docs []*document) error {
	root := &document{path: "declarative/status", kind: "statusitemtype", name: "StatusItems", support: support{}}
	var items []*document
	for _, doc := range docs {
		if doc.kind != "statusitemtype" || doc.name == "" || path.Dir(doc.path) != "declarative/status" {
			continue
		}
		if len(doc.keys) != 1 || doc.keys[0].name != doc.name {
			return fmt.Errorf("%s: a status item without a key of its name", doc.path)
		}
		items = append(items, doc)
		leaf := doc.keys[0]
		leaf.required = false
		leaf.support = doc.support
		for p, s := range doc.support {
			if root.support[p] == nil || s.introduced != "n/a" && newer(root.support[p].introduced, s.introduced) {
				root.support[p] = &system{introduced: s.introduced}
			}
		}
		if err := hang(&root.keys, strings.Split(doc.name, "."), leaf); err != nil {
			return fmt.Errorf("%s: %w", doc.path, err)
		}
	}
	if len(items) == 0 {
		return nil
	}
	u := g.add("mdm/ddm", "StatusItems", "", root)
	u.plain, u.start = true, "Status"
	var w writer
	w.line("\n// The status items that the schema lists.\nconst (")
	for _, doc := range items {
		if note := strings.Join(systemLines(doc.support), "; "); note != "" {
			w.line("// Item%s: %s.", goName(doc.name), note)
		}
		w.line("Item%s StatusItem = %q", goName(doc.name), doc.name)
	}
	w.line(")")
	src, err := finish("ddm", w.String())
	g.out["mdm/ddm/statusnames_gen.go"] = src
	return err
}

// newer reports whether version a is after b, or is none.
func newer(a, b string) bool {
	if a == "n/a" {
		return true
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := at(as, i), at(bs, i)
		if len(x) != len(y) {
			return len(x) > len(y)
		}
		if x != y {
			return x > y
		}
	}
	return false
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "0"
}

// hang puts a leaf into the tree of dictionaries.
func hang(keys *[]*key, steps []string, leaf *key) error {
	i := slices.IndexFunc(*keys, func(k *key) bool { return k.name == steps[0] })
	if len(steps) == 1 {
		if i >= 0 {
			return fmt.Errorf("the item %q is a level of another, too", leaf.name)
		}
		leaf.name = steps[0]
		*keys = append(*keys, leaf)
		return nil
	}
	if i < 0 {
		*keys = append(*keys, &key{at: leaf.at, name: steps[0], kind: "dictionary", node: newNode()})
		i = len(*keys) - 1
	}
	if (*keys)[i].keys == nil && (*keys)[i].kind != "dictionary" {
		return fmt.Errorf("the level %q is an item, too", steps[0])
	}
	return hang(&(*keys)[i].keys, steps[1:], leaf)
}
