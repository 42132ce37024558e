// Command schemagen writes the Go types of commands, answers, payloads, declarations and the rest from a checkout of
// Apple's device-management schema (github.com/apple/device-management).
//
//	APPLEMDM_SCHEMA=/path/to/device-management go generate .
//
// runs it for the whole module. With -check it writes nothing and fails if a file would change. A file of the schema that
// holds something unknown stops it, with the file and the line: nothing is skipped silently.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	from := flag.String("schema", os.Getenv("APPLEMDM_SCHEMA"), "the checkout of Apple's schema (default $APPLEMDM_SCHEMA)")
	to := flag.String("out", ".", "the root of this module")
	check := flag.Bool("check", false, "write nothing; fail if a file would change")
	flag.Parse()
	if err := run(*from, *to, *check); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(from, to string, check bool) error {
	if from == "" {
		return errors.New("no schema: set APPLEMDM_SCHEMA or give -schema")
	}
	files, err := Generate(os.DirFS(from))
	if err != nil {
		return err
	}
	stale, err := generated(to)
	if err != nil {
		return err
	}
	var changed []string
	for _, name := range sorted(files) {
		path := filepath.Join(to, filepath.FromSlash(name))
		old, err := os.ReadFile(path)
		stale = slices.DeleteFunc(stale, func(s string) bool { return s == name })
		if err == nil && bytes.Equal(old, files[name]) {
			continue
		}
		changed = append(changed, name)
		if check {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return err
		}
	}
	for _, name := range stale {
		changed = append(changed, name)
		if !check {
			if err := os.Remove(filepath.Join(to, filepath.FromSlash(name))); err != nil {
				return err
			}
		}
	}
	if check && len(changed) > 0 {
		return fmt.Errorf("%d files differ from what the schema gives: %s", len(changed), strings.Join(changed, ", "))
	}
	_, err = fmt.Fprintf(os.Stdout, "schemagen: %d files, %d changed\n", len(files), len(changed))
	return err
}

// generated lists the files of an earlier run.
func generated(root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_gen.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(data, []byte(header)) {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, filepath.ToSlash(rel))
		return err
	})
	return out, err
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
