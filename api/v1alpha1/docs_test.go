// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// TestDocsNameEveryConditionAndReason reads the constants from the source: one that is added is to be documented too.
func TestDocsNameEveryConditionAndReason(t *testing.T) {
	docs, err := os.ReadFile(kubetest.Path("docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range []string{"conditions.go", "loadbalancinghost_types.go"} {
		for name, value := range stringConstants(t, file) {
			if !strings.HasPrefix(name, "Condition") && !strings.HasPrefix(name, "Reason") && !strings.HasPrefix(name, "Stall") {
				continue
			}
			found++
			if !strings.Contains(string(docs), "`"+value+"`") {
				if !strings.HasPrefix(name, "Condition") || !strings.Contains(string(docs), "| "+value+" |") {
					t.Errorf("docs/api.md does not explain %s, %q", name, value)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("found %d constants only: does the test still read the right files?", found)
	}
}

func stringConstants(t *testing.T, file string) map[string]string {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]string{}
	ast.Inspect(source, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			constants[spec.Names[0].Name] = value
		}
		return true
	})
	return constants
}
