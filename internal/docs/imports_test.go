// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	module = "github.com/kube-wlbs/kube-wlbs/"
	// everywhere is imported by nearly all packages, and so is left out of the map.
	everywhere = "api/v1alpha1"
)

var update = flag.Bool("update", false, "write the map of imports into docs/architecture.md")

// TestArchitectureHasTheImportMap compares the map in docs/architecture.md with what the packages import of each other.
// A new arrow is to be drawn on purpose.
func TestArchitectureHasTheImportMap(t *testing.T) {
	page := filepath.Join(root, "docs", "architecture.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "```imports\n", "```\n"
	before, rest, found := strings.Cut(string(text), begin)
	drawn, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no block that begins with %q", page, begin)
	}
	want := importMap(t)
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(drawn, "\n")); diff != "" {
		t.Errorf("the map of imports in docs/architecture.md (-packages +map); -update writes it anew:\n%s", diff)
	}
}

// importMap has a line for each package of ours that imports others of ours, tests not counted.
func importMap(t *testing.T) string {
	t.Helper()
	imports := map[string]map[string]bool{}
	for _, dir := range []string{"cmd", "controllers", "dataplane", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil {
				return err
			}
			from := filepath.ToSlash(name)
			for _, spec := range source.Imports {
				to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module)
				if !ours || to == everywhere {
					continue
				}
				if imports[from] == nil {
					imports[from] = map[string]bool{}
				}
				imports[from][to] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var lines strings.Builder
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		writeArrow(&lines, from, slices.Sorted(maps.Keys(imports[from])))
	}
	return lines.String()
}

// writeArrow writes what one package imports, in as many lines as it takes.
func writeArrow(b *strings.Builder, from string, to []string) {
	const indent = 35
	line := fmt.Sprintf("%-*s", indent-1, from)
	for i, name := range to {
		if i > 0 && len(line)+1+len(name) > columns {
			fmt.Fprintln(b, line)
			line = strings.Repeat(" ", indent-1)
		}
		line += " " + name
	}
	fmt.Fprintln(b, line)
}
