package sqlstore

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Dialect says how a database wants its SQL.
type Dialect struct {
	Name string
	// Words replaces the words in braces of the statements and of the schema: types, locks, and what to do about a key
	// that is there.
	Words map[string]string
	// Dollar: parameters are $1, $2 …, and rows of parameters travel as arrays.
	Dollar bool
	// Values: an insert may have several rows of values.
	Values bool
	// Excluded is how an upsert names a new value; %s is the column.
	Excluded string
	// Upsert begins the second half of an upsert; %s are the columns of the key.
	Upsert string
	// Copies is how many rows of parameters a select may be repeated for, joined by UNION ALL; 0: one at a time.
	Copies int

	texts sync.Map // rendered ops
}

// locks reports whether rows are locked one by one. A database of one writer needs no locks.
func (d *Dialect) locks() bool { return d.Words["lock"] != "" }

var (
	upsertPart   = regexp.MustCompile(`\{upsert ([a-z_, ]+):`)
	excludedPart = regexp.MustCompile(`\{new ([a-z_]+)\}`)
	keepPart     = regexp.MustCompile(`\{keep ([a-z_]+)\}`)
	wordPart     = regexp.MustCompile(`\{[a-z]+( [a-z]+)?\}`)
	paramPart    = regexp.MustCompile(`:[a-z][a-z_]*`)
	valuesPart   = regexp.MustCompile(`\{values ([^}]*)\}`)
)

// common replaces what does not depend on the number of rows.
func (d *Dialect) common(text string) string {
	text = excludedPart.ReplaceAllStringFunc(text, func(m string) string {
		return fmt.Sprintf(d.Excluded, excludedPart.FindStringSubmatch(m)[1])
	})
	text = keepPart.ReplaceAllStringFunc(text, func(m string) string {
		if !strings.Contains(d.Upsert, "%s") {
			name := keepPart.FindStringSubmatch(m)[1]
			return d.Upsert + " " + name + " = " + name
		}
		return "ON CONFLICT DO NOTHING"
	})
	upserts := upsertPart.MatchString(text)
	text = upsertPart.ReplaceAllStringFunc(text, func(m string) string {
		if !strings.Contains(d.Upsert, "%s") {
			return d.Upsert
		}
		return fmt.Sprintf(d.Upsert, upsertPart.FindStringSubmatch(m)[1])
	})
	if upserts { // its closing brace
		end := strings.LastIndexByte(text, '}')
		text = text[:end] + text[end+1:]
	}
	return wordPart.ReplaceAllStringFunc(text, func(m string) string {
		if word, ok := d.Words[m[1:len(m)-1]]; ok {
			return word
		}
		return m
	})
}

// text renders a statement with ? for its parameters.
func (d *Dialect) text(query string) string {
	if done, ok := d.texts.Load(query); ok {
		return done.(string)
	}
	text := d.common(query)
	if d.Dollar {
		var b strings.Builder
		n := 0
		for _, r := range text {
			if r != '?' {
				b.WriteRune(r)
				continue
			}
			n++
			fmt.Fprintf(&b, "$%d", n)
		}
		text = b.String()
	}
	d.texts.Store(query, text)
	return text
}

// Schema renders a migration.
func (d *Dialect) Schema(text string) string { return strings.TrimSpace(d.common(text)) }

// op is a statement for many rows of parameters. Its text is written for one row, with :name for a parameter, and
// - {values :a, :b} for the values of an insert,
// - {from}, {using} or {also} where a set of parameters is joined, if the dialect does that,
// - {i} for the number of the row, as the first column of a select,
// - {caller} for the id of the enrollment that tenant, device and usr name, in a select.
type op struct {
	params []param
	text   string
	once   bool // one transaction's visit must not have two rows in one statement
}

type param struct {
	name   string
	kind   byte // 0: integer, '$': text, '#': bytes
	shared bool // all rows have the same
}

// newOp makes an op. Parameters are listed in order; a text one ends with $, one of bytes with #, and = after that means
// that all rows have the same.
func newOp(params, text string) *op {
	o := &op{text: text}
	for _, p := range strings.Fields(params) {
		name, shared := strings.CutSuffix(p, "=")
		made := param{name: name, shared: shared}
		if last := name[len(name)-1]; last == '$' || last == '#' {
			made.name, made.kind = name[:len(name)-1], last
		}
		o.params = append(o.params, made)
	}
	return o
}

func (o *op) onceEach() *op {
	o.once = true
	return o
}

func (o *op) selects() bool { return strings.Contains(o.text, "{i}") }

// calls returns the calls that run o for these rows.
func (o *op) calls(d *Dialect, rows [][]any) []*Call {
	if d.Dollar {
		return []*Call{{Text: o.asSet(d), Args: o.columns(rows)}}
	}
	single := o.single(d)
	var out []*Call
	switch {
	case o.selects() && d.Copies > 0:
		for from := 0; from < len(rows); from += d.Copies {
			part := rows[from:min(from+d.Copies, len(rows))]
			texts := make([]string, len(part))
			c := &Call{}
			for i, row := range part {
				texts[i] = strings.ReplaceAll(single.text, "{i}", fmt.Sprint(from+i))
				c.Args = single.arguments(c.Args, row)
			}
			c.Text = strings.Join(texts, "\nUNION ALL\n")
			out = append(out, c)
		}
	case d.Values && single.values != "":
		c := &Call{Text: strings.Replace(single.text, single.values, strings.Repeat(single.values+", ", len(rows)-1)+single.values, 1)}
		for _, row := range rows {
			c.Args = single.arguments(c.Args, row)
		}
		out = append(out, c)
	default:
		for i, row := range rows {
			text := single.text
			args := single.arguments(nil, row)
			if o.selects() {
				text = single.numbered
				args = make([]any, 0, len(args)+1)
				for _, p := range single.numberedOrder {
					if p < 0 {
						args = append(args, int64(i))
					} else {
						args = append(args, row[p])
					}
				}
			}
			out = append(out, &Call{Text: text, Args: args})
		}
	}
	return out
}

// rendered is an op for one row, with ? for its parameters.
type rendered struct {
	text          string
	order         []int // which parameter each ? is
	values        string
	numbered      string // with {i} a parameter, too: its number in numberedOrder is -1
	numberedOrder []int
}

func (r *rendered) arguments(args []any, row []any) []any {
	for _, n := range r.order {
		args = append(args, row[n])
	}
	return args
}

func (o *op) single(d *Dialect) *rendered {
	if done, ok := d.texts.Load(o); ok {
		return done.(*rendered)
	}
	r := &rendered{}
	text := strings.NewReplacer("{from}", "", "{using}", "", "{also}", "", "{caller}", "("+callerID+")").Replace(d.common(o.text))
	text = valuesPart.ReplaceAllString(text, "VALUES ($1)")
	numbered := strings.ReplaceAll(text, "{i}", ":i")
	r.numbered = paramPart.ReplaceAllStringFunc(numbered, func(m string) string {
		if m == ":i" {
			r.numberedOrder = append(r.numberedOrder, -1)
		} else {
			r.numberedOrder = append(r.numberedOrder, o.index(m))
		}
		return "?"
	})
	r.text = paramPart.ReplaceAllStringFunc(text, func(m string) string {
		r.order = append(r.order, o.index(m))
		return "?"
	})
	if m := regexp.MustCompile(`VALUES (\([^)]*\))`).FindStringSubmatch(r.text); m != nil {
		r.values = m[1]
	}
	d.texts.Store(o, r)
	return r
}

func (o *op) index(name string) int {
	for i, p := range o.params {
		if p.name == name[1:] {
			return i
		}
	}
	panic("sqlstore: no parameter " + name + " in: " + o.text) // a mistake in this package; every op is tested
}

// callerID is the row of the caller. As a value and not joined, it leaves the database no choice but to seek by it: all
// targets of an order for many have its command in common.
const callerID = "SELECT id FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = :usr"

var pgTypes = map[byte]string{0: "bigint", '$': "text", '#': "bytea"}

// asSet renders the op for any number of rows, which come as one array for each parameter.
func (o *op) asSet(d *Dialect) string {
	if done, ok := d.texts.Load(o); ok {
		return done.(string)
	}
	var arrays, names []string
	for i, p := range o.params {
		if !p.shared {
			arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, pgTypes[p.kind]))
			names = append(names, p.name)
		}
	}
	set := "unnest(" + strings.Join(arrays, ", ") + ") WITH ORDINALITY AS k(" + strings.Join(append(names, "i"), ", ") + ")"
	text := d.common(o.text)
	text = valuesPart.ReplaceAllString(text, "SELECT $1 FROM {set} ORDER BY k.i")
	if o.selects() {
		caller := "" // looked up once for each row
		if strings.Contains(text, "{caller}") {
			text, caller = strings.ReplaceAll(text, "{caller}", "m.id"), " LEFT JOIN LATERAL ("+callerID+") m ON TRUE"
		}
		text = "SELECT f.* FROM {set}" + caller + ", LATERAL (" + text + ") f"
	}
	text = paramPart.ReplaceAllStringFunc(text, func(m string) string {
		n := o.index(m)
		if p := o.params[n]; p.shared {
			return fmt.Sprintf("$%d::%s", n+1, pgTypes[p.kind])
		}
		return "k." + m[1:]
	})
	text = strings.NewReplacer("{i}", "k.i - 1", "{from}", "FROM "+set, "{using}", "USING "+set, "{also}", ", "+set, "{set}", set).Replace(text)
	d.texts.Store(o, text)
	return text
}

// columns turns rows into one slice for each parameter, and one value for each that is shared.
func (o *op) columns(rows [][]any) []any {
	out := make([]any, len(o.params))
	for n, p := range o.params {
		if p.shared {
			out[n] = rows[0][n]
			continue
		}
		switch p.kind {
		case '$':
			col := make([]string, len(rows))
			for i, row := range rows {
				col[i] = row[n].(string)
			}
			out[n] = col
		case '#':
			col := make([][]byte, len(rows))
			for i, row := range rows {
				col[i], _ = row[n].([]byte)
			}
			out[n] = col
		default:
			col := make([]int64, len(rows))
			for i, row := range rows {
				col[i] = row[n].(int64)
			}
			out[n] = col
		}
	}
	return out
}
