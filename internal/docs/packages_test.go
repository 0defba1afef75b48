// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestEachPackageIsDescribed: the table in docs/architecture.md has all packages, and none that is gone.
func TestEachPackageIsDescribed(t *testing.T) {
	described := packageTable(t)
	for _, name := range packages(t) {
		if _, ok := described[name]; !ok {
			t.Errorf("docs/architecture.md has no row for package %s", name)
		}
	}
	for name := range described {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || !info.IsDir() {
			t.Errorf("docs/architecture.md has a row for %s, which is no package", name)
		}
	}
}

// TestPurePackagesAreLinted: the linter holds to purity what the table says does no I/O.
func TestPurePackagesAreLinted(t *testing.T) {
	var pure []string
	for name, io := range packageTable(t) {
		if io == "no" && name != everywhere { // which has a rule of its own
			pure = append(pure, name)
		}
	}
	slices.Sort(pure)
	if diff := cmp.Diff(pure, linted(t)); diff != "" {
		t.Errorf("packages without I/O (-docs/architecture.md +rules named pure in .golangci.yml):\n%s", diff)
	}
}

// packages are those that programs are made of. What is for tests only is left out.
func packages(t *testing.T) []string {
	t.Helper()
	forTests := []string{"dataplane/internal/nstest", "internal/docs", "internal/eventually", "internal/kubetest"}
	var out []string
	for _, dir := range []string{"controllers", "dataplane", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			name, err := filepath.Rel(root, filepath.Dir(file))
			if name = filepath.ToSlash(name); !slices.Contains(out, name) && !slices.Contains(forTests, name) {
				out = append(out, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

var packageRow = regexp.MustCompile("(?m)^\\| ((?:`[a-z0-9/]+`(?:, )?)+) \\|.*\\| ([^|]*) \\|$")

// packageTable has the packages of the table with what it says of their I/O.
func packageTable(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Packages\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	out := map[string]string{}
	for _, m := range packageRow.FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			out[strings.Trim(name, "`")] = m[2]
		}
	}
	if len(out) == 0 {
		t.Fatal("docs/architecture.md has no table of packages")
	}
	return out
}

// linted are the packages of the linter's rules for pure ones.
func linted(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						Files []string `json:"files"`
					} `json:"rules"`
				} `json:"depguard"`
			} `json:"settings"`
		} `json:"linters"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var out []string
	for rule, of := range config.Linters.Settings.Depguard.Rules {
		if !strings.HasPrefix(rule, "pure") {
			continue
		}
		for _, file := range of.Files {
			if name, ok := strings.CutSuffix(file, "/*.go"); ok {
				out = append(out, strings.TrimPrefix(name, "**/"))
			}
		}
	}
	slices.Sort(out)
	return out
}
