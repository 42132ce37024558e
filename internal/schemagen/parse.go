package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parser reads one file. It stops at the first thing that it does not know.
type parser struct {
	file string
	open []*yaml.Node // lists of keys that are being read, outermost first: a list that holds itself is a recursion
	keys []*key       // the keys that are open
	owns []*key       // the key that each open list belongs to
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, n.Line, fmt.Sprintf(format, args...))
}

// parse reads every file of the schema, ordered by path.
func parse(fsys fs.FS) ([]*document, error) {
	var docs []*document
	for _, dir := range []string{"declarative", "mdm", "other"} {
		err := fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
				return err
			}
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			doc, err := parseFile(name, data)
			docs = append(docs, doc)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return docs, nil
}

func parseFile(name string, data []byte) (*document, error) {
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&root); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &parser{file: name}
	doc := &document{path: name}
	err := p.each(root.Content[0], func(attr string, v *yaml.Node) (err error) {
		switch attr {
		case "title", "description", "notes", "examples", "related-status-items": // prose, and hints for people
		case "payload":
			err = p.payload(doc, v)
		case "payloadkeys":
			doc.keys, err = p.list(v, nil)
		case "responsekeys":
			doc.response, err = p.list(v, nil)
		case "reasons":
			doc.reasons, err = p.reasons(v)
		default:
			err = p.fail(v, "unknown attribute %q", attr)
		}
		return err
	})
	return doc, err
}

// each calls do for every attribute of a mapping, which may not have one twice.
func (p *parser) each(n *yaml.Node, do func(attr string, v *yaml.Node) error) error {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return p.fail(n, "not a mapping")
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || seen[k.Value] {
			return p.fail(k, "attribute %q is there twice, or is no word", k.Value)
		}
		seen[k.Value] = true
		if err := do(k.Value, v); err != nil {
			return err
		}
	}
	return nil
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func (p *parser) payload(doc *document, n *yaml.Node) error {
	return p.each(n, func(attr string, v *yaml.Node) (err error) {
		switch attr {
		case "content":
		case "requesttype", "payloadtype", "declarationtype", "statusitemtype", "credentialtype":
			if doc.name != "" && doc.kind == "credentialtype" { // files of credentials name themselves twice
				return nil
			}
			doc.kind, doc.name = attr, v.Value
		case "apply":
			doc.apply, err = p.oneOf(v, "single", "multiple", "combined")
		case "supportedOS":
			doc.support, err = p.support(v)
		case "beta":
			_, err = p.truth(v)
		default:
			err = p.fail(v, "unknown attribute %q of payload", attr)
		}
		return err
	})
}

func (p *parser) oneOf(n *yaml.Node, words ...string) (string, error) {
	if !slices.Contains(words, n.Value) {
		return "", p.fail(n, "%q is not one of %v", n.Value, words)
	}
	return n.Value, nil
}

func (p *parser) truth(n *yaml.Node) (string, error) {
	word, err := p.oneOf(n, "true", "false")
	if word == "true" {
		return "schema.True", err
	}
	return "schema.False", err
}

func (p *parser) reasons(n *yaml.Node) ([]string, error) {
	var out []string
	for _, one := range resolve(n).Content {
		err := p.each(one, func(attr string, v *yaml.Node) error {
			switch attr {
			case "description", "details":
			case "value":
				out = append(out, v.Value)
			default:
				return p.fail(v, "unknown attribute %q of a reason", attr)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// list reads the keys of owner, nil for a document.
func (p *parser) list(n *yaml.Node, owner *key) ([]*key, error) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		return nil, p.fail(n, "not a list of keys")
	}
	p.open, p.owns = append(p.open, n), append(p.owns, owner)
	defer func() { p.open, p.owns = p.open[:len(p.open)-1], p.owns[:len(p.owns)-1] }()
	var out []*key
	seen := map[string]bool{}
	for _, one := range n.Content {
		k, err := p.key(resolve(one))
		if err != nil {
			return nil, err
		}
		if seen[k.name] {
			return nil, p.fail(one, "the key %q is there twice", k.name)
		}
		seen[k.name] = true
		out = append(out, k)
	}
	return out, nil
}

func (p *parser) key(n *yaml.Node) (*key, error) {
	k := &key{at: fmt.Sprintf("%s:%d", p.file, n.Line)}
	p.keys = append(p.keys, k)
	defer func() { p.keys = p.keys[:len(p.keys)-1] }()
	var inner *yaml.Node
	repetition := false
	err := p.each(n, func(attr string, v *yaml.Node) (err error) {
		switch attr {
		case "title", "content", "subtype", "valuetype":
		case "key":
			k.name = v.Value
			if v.Tag != "!!str" {
				err = p.fail(v, "a key that is no string")
			}
		case "type":
			k.kind, err = p.oneOf(v, "<string>", "<integer>", "<real>", "<boolean>", "<date>", "<data>", "<array>", "<dictionary>", "<any>")
			k.kind = strings.Trim(k.kind, "<>")
		case "presence":
			var word string
			word, err = p.oneOf(v, "required", "optional")
			k.required = word == "required"
		case "default":
			k.def = v.Value
		case "rangelist":
			k.enum, err = p.words(v)
		case "range":
			k.rng, err = p.bounds(v)
		case "repetition":
			repetition = true
			err = p.repetition(k, v)
		case "format":
			k.format, err = p.pattern(v)
		case "combinetype":
			k.combine, err = p.oneOf(v, "boolean-or", "boolean-and", "number-min", "number-max", "enum-first", "enum-last",
				"enum-lowest", "enum-highest", "first",
				"array-append", "set-union", "set-intersection")
		case "assettypes":
			k.assets, err = p.words(v)
		case "asset-content-types":
			k.contents, err = p.words(v)
		case "subkeytype":
			k.typeName = v.Value
		case "supportedOS":
			k.support, err = p.support(v)
		case "subkeys":
			inner = v
		default:
			err = p.fail(v, "unknown attribute %q of a key", attr)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case k.name == "" || k.kind == "":
		return nil, p.fail(n, "a key without name or type")
	case repetition && len(p.owns) > 0 && p.owns[len(p.owns)-1] == nil:
		return nil, p.fail(n, "a repetition outside of an array")
	}
	k.secret = isSecret(k)
	if inner != nil {
		err = p.subkeys(k, inner)
	}
	return k, err
}

// subkeys reads what is inside of a key.
func (p *parser) subkeys(k *key, n *yaml.Node) error {
	list := resolve(n)
	if at := slices.Index(p.open, list); at >= 0 {
		k.same = p.owns[at]
		k.up = len(p.keys) - 1 - slices.Index(p.keys, k.same)
		if k.same == nil || k.same.kind != k.kind {
			return p.fail(n, "a recursion that is not to a key of the same type")
		}
		return nil
	}
	inner, err := p.list(list, k)
	if err != nil {
		return err
	}
	k.node = list
	switch k.kind {
	case "dictionary":
		return p.dictionary(k, inner, n)
	case "array":
		return p.array(k, inner, n)
	case "string", "integer": // the values that it may have
		k.values = map[string]support{}
		for _, one := range inner {
			k.enum = append(k.enum, one.name)
			if one.support != nil {
				k.values[one.name] = one.support
			}
		}
		return nil
	}
	return p.fail(n, "keys inside of a %s", k.kind)
}

func (p *parser) dictionary(k *key, inner []*key, n *yaml.Node) error {
	free := slices.IndexFunc(inner, func(k *key) bool { return isFree(k.name) })
	switch {
	case free < 0:
		k.keys = inner
	case len(inner) == 1:
		k.value = inner[0]
	default:
		return p.fail(n, "a dictionary with both named and free keys")
	}
	return nil
}

// isFree reports whether a key stands for any key.
func isFree(name string) bool { return name == "ANY" || strings.HasPrefix(name, "ANY ") }

func (p *parser) array(k *key, inner []*key, n *yaml.Node) error {
	if len(inner) == 1 {
		k.item = inner[0]
		k.minItems, k.maxItems = k.item.repeat[0], k.item.repeat[1]
		return nil
	}
	told := false
	for _, one := range inner {
		at := slices.IndexFunc(one.keys, func(k *key) bool { return k.name == "Item" })
		switch {
		case one.kind != "dictionary" || at >= 0 && !slices.Equal(one.keys[at].enum, []string{one.name}):
			return p.fail(n, "an array of several kinds of items that no key Item tells apart")
		case at >= 0: // one of Apple's lacks it, which its documentation has
			one.keys = slices.Delete(one.keys, at, at+1)
			told = true
		}
	}
	if !told {
		return p.fail(n, "an array of several kinds of items without a key Item")
	}
	k.union = inner
	return nil
}

func (p *parser) words(n *yaml.Node) ([]string, error) {
	var out []string
	for _, one := range resolve(n).Content {
		if one.Kind != yaml.ScalarNode {
			return nil, p.fail(one, "not a word")
		}
		out = append(out, one.Value)
	}
	if out == nil {
		out = []string{}
	}
	return out, nil
}

func (p *parser) bounds(n *yaml.Node) (*rng, error) {
	r := &rng{noMin: true, noMax: true}
	err := p.each(n, func(attr string, v *yaml.Node) error {
		switch attr {
		case "min":
			r.min, r.noMin = v.Value, false
		case "max":
			r.max, r.noMax = v.Value, false
		default:
			return p.fail(v, "unknown attribute %q of a range", attr)
		}
		return nil
	})
	return r, err
}

func (p *parser) repetition(k *key, n *yaml.Node) error {
	r, err := p.bounds(n)
	if err != nil {
		return err
	}
	for to, text := range map[*int]string{&k.repeat[0]: r.min, &k.repeat[1]: r.max} {
		if text == "" {
			continue
		}
		if _, err := fmt.Sscan(text, to); err != nil {
			return p.fail(n, "a repetition that is no number")
		}
	}
	return nil
}

// pattern reads a regular expression. It will have to match from end to end; one of Apple's has its anchors inside.
func (p *parser) pattern(n *yaml.Node) (string, error) {
	text := strings.TrimSuffix(strings.TrimPrefix(n.Value, "^"), "$")
	if _, err := regexp.Compile("^(?:" + text + ")$"); err != nil {
		return "", p.fail(n, "not a regular expression: %v", err)
	}
	if strings.Contains(text, ")$|^(") || strings.Contains(text, "$|^") {
		text = strings.ReplaceAll(text, "$|^", "|")
	}
	return text, nil
}
