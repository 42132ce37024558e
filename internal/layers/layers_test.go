// Package layers holds the test that keeps imports pointing down. It reads the files itself: a test that asks the go
// command would be answered from the test cache over the very change that it should catch.
package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/gomdm/applemdm"

// floors lists the packages from the ground up. A package imports only floors below its own: never up, never sideways.
var floors = [][]string{
	{".", "mdm", "internal/plistx", "internal/cms", "internal/recur", "internal/h2", "internal/clip"},
	{"mdm/schema", "internal/refusal"},
	{"internal/synth"},
	{"mdm/audit", "mdm/identity", "mdm/event", "mdm/scep", "mdm/setup", "profile", "push"},
	{"checkin", "command", "mdm/enroll", "mdm/expiry", "mdm/presence", "profile/lint", "push/apns", "push/vendor"},
	{"mdm/ddm", "mdm/dep", "mdm/enroll/ade", "mdm/enroll/ota", "mdm/event/webhook", "mdm/workflow", "profile/plan", "profile/provisioning"},
	{"mdm/practice"},
	{"storage"},
	{"storage/internal/sqlstore"},
	{"storage/internal/dbtest"},
	{"storage/memory", "storage/sqlite", "storage/postgres", "storage/mysql", "storage/storagetest"},
	{"mdm/server", "mdm/api", "mdm/mdmtest", "mdm/migrate"},
	{"examples/", "internal/schemagen"},
}

// mayTest are the packages that may import testing, because they are for tests.
var mayTest = map[string]bool{"storage/storagetest": true, "storage/internal/dbtest": true}

func floorOf(dir string) int {
	for i, floor := range floors {
		for _, p := range floor {
			if p == dir || strings.HasSuffix(p, "/") && strings.HasPrefix(dir+"/", p) {
				return i
			}
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	files := 0
	each(t, func(name, rel string) {
		files++
		check(t, name, path.Dir(rel))
	})
	require.Greater(t, files, 50, "the walk must have found the library")
}

// mayUnenroll are the only files that may say mdm.Unmanaged, the code that makes a device remove its management.
var mayUnenroll = map[string]bool{"mdm/identity/admit.go": true, "mdm/server/status.go": true}

func TestUnmanagedIsSaidInOnePlace(t *testing.T) {
	said := 0
	each(t, func(name, rel string) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Unmanaged" {
				said++
				if !mayUnenroll[rel] && !mayTest[path.Dir(rel)] {
					t.Errorf("%s says mdm.Unmanaged: only the policy of who is managed may", rel)
				}
			}
			return true
		})
	})
	require.Positive(t, said)
}

// each calls f for every file of the library that is no test.
func each(t *testing.T, f func(name, rel string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "testdata" || ownModule(name)) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		require.NoError(t, err)
		f(name, filepath.ToSlash(rel))
		return nil
	}))
}

// ownModule reports whether dir is the root of another module, which has rules of its own.
func ownModule(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, "go.mod"))
	return len(found) > 0 && filepath.Clean(dir) != filepath.Join("..", "..")
}

func check(t *testing.T, name, dir string) {
	t.Helper()
	floor := floorOf(dir)
	if floor < 0 {
		t.Errorf("%s: the package has no floor; add it to the list", dir)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if (imported == "testing" || strings.HasPrefix(imported, "github.com/stretchr/testify")) && !mayTest[dir] {
			t.Errorf("%s imports %s, which would end up in the programs of users", name, imported)
		}
		rest, ours := strings.CutPrefix(imported, module)
		if !ours {
			continue
		}
		to := strings.TrimPrefix(rest, "/")
		if to == "" {
			to = "."
		}
		sameFloorHelper := strings.HasPrefix(to, "storage/internal/") && strings.HasPrefix(dir, "storage/")
		if floorOf(to) >= floor && floor < len(floors)-1 && !sameFloorHelper {
			t.Errorf("%s (floor %d) imports %s (floor %d)", name, floor, to, floorOf(to))
		}
	}
}
