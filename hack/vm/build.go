// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is the path of the module that is tested.
const module = "github.com/kube-wlbs/kube-wlbs"

// builder compiles what runs in machines of one architecture, each thing once.
type builder struct {
	arch, folder string
	made         map[string]string
}

func newBuilder(arch, folder string) *builder {
	return &builder{arch: arch, folder: filepath.Join(folder, arch), made: map[string]string{}}
}

// program compiles a main package and returns the file.
func (b *builder) program(ctx context.Context, pkg string) (string, error) {
	return b.once(ctx, pkg, filepath.Base(pkg), "build")
}

// test compiles the tests of a package.
func (b *builder) test(ctx context.Context, pkg string) (string, error) {
	return b.once(ctx, pkg, stepName(pkg)+".test", "test", "-c")
}

func (b *builder) once(ctx context.Context, pkg, name string, args ...string) (string, error) {
	if file, ok := b.made[pkg]; ok {
		return file, nil
	}
	file := filepath.Join(b.folder, strings.ReplaceAll(name, "/", "-"))
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", file, pkg)...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+b.arch, "CGO_ENABLED=0")
	if _, err := output(cmd); err != nil {
		return "", err
	}
	b.made[pkg] = file
	return file, nil
}

// stepName of a package with tests: its path below dataplane, which is shorter, or below the module.
func stepName(pkg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(pkg, module+"/"), "dataplane/")
}

// tested is a package with tests.
type tested struct {
	pkg, dir string
	// random reports whether some tests draw random cases.
	random bool
}

// kernelTests lists the packages whose tests talk to the kernel, as "make test-bpf" runs them.
func kernelTests(ctx context.Context) ([]tested, error) {
	out, err := output(exec.CommandContext(ctx, "hack/test-packages", "kernel"))
	if err != nil {
		return nil, err
	}
	const withTests = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}} {{.TestImports}} {{.XTestImports}}{{end}}`
	out, err = output(exec.CommandContext(ctx, "go", append([]string{"list", "-f", withTests}, strings.Fields(out)...)...))
	if err != nil {
		return nil, err
	}
	var all []tested
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 {
			all = append(all, tested{f[0], f[1], strings.Contains(line, "pgregory.net/rapid")})
		}
	}
	return all, nil
}

// choose keeps the packages whose step is named; all if none is.
func choose(all []tested, names []string) ([]tested, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []tested
	var known []string
	for _, t := range all {
		known = append(known, stepName(t.pkg))
		if slices.Contains(names, stepName(t.pkg)) {
			out = append(out, t)
		}
	}
	if len(out) != len(names) {
		return nil, fmt.Errorf("of %v not all have tests that talk to the kernel, there are %v", names, known)
	}
	return out, nil
}

// checkNames fails if a test that is named is not there any more: it would silently not run.
func checkNames(ctx context.Context, binary string, names []string) error {
	out, err := output(exec.CommandContext(ctx, binary, "-test.list=."))
	if err != nil {
		return err
	}
	there := strings.Fields(out)
	for _, n := range names {
		if !slices.Contains(there, n) {
			return fmt.Errorf("no test %s in %s", n, filepath.Base(binary))
		}
	}
	return nil
}
