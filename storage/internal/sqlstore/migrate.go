package sqlstore

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the statements that make the schema in d, one list for each version, oldest first.
func Migrations(d *Dialect) [][]string {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	slices.Sort(names)
	var out [][]string
	for _, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			panic(err) // compiled in
		}
		var statements []string
		for _, s := range strings.Split(d.Schema(string(text)), ";\n") {
			if s = strings.TrimSuffix(strings.TrimSpace(s), ";"); s != "" {
				statements = append(statements, s)
			}
		}
		out = append(out, statements)
	}
	return out
}

// Script returns the migrations as one text to read, or to run by other tools.
func Script(d *Dialect) string {
	var b strings.Builder
	for _, version := range Migrations(d) {
		for _, s := range version {
			b.WriteString(s + ";\n\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
