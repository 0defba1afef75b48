// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// modprobe loads modules by name or alias, with what they depend on. It takes the arguments that
// the kernel gives to its helper: modprobe -q -- ALIAS.
func modprobe(args []string) error {
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	m, err := readModules(filepath.Join("/lib/modules", release))
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			errs = append(errs, m.load(a))
		}
	}
	return errors.Join(errs...)
}

// modules are those below a folder, as depmod has listed them.
type modules struct {
	folder string
	// files by name of the module: its own, and those that it depends on, nearest first.
	files map[string][]string
	// builtin names those that are in the kernel itself.
	builtin map[string]bool
	aliases []alias
}

type alias struct{ pattern, module string }

func readModules(folder string) (*modules, error) {
	m := &modules{folder: folder}
	var lists [3]string
	for i, name := range []string{"modules.dep", "modules.builtin", "modules.alias"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		lists[i] = string(content)
	}
	m.files, m.builtin, m.aliases = parseDependencies(lists[0]), parseBuiltin(lists[1]), parseAliases(lists[2])
	return m, nil
}

// moduleName of a file: kernel and users write - and _ for the same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func parseDependencies(text string) map[string][]string {
	files := map[string][]string{}
	for line := range strings.Lines(text) {
		file, needs, ok := strings.Cut(line, ":")
		if ok {
			files[moduleName(file)] = append([]string{file}, strings.Fields(needs)...)
		}
	}
	return files
}

func parseBuiltin(text string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		names[moduleName(strings.TrimSpace(line))] = true
	}
	return names
}

func parseAliases(text string) []alias {
	var all []alias
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
			all = append(all, alias{f[1], f[2]})
		}
	}
	return all
}

// resolve returns the files to load for a name or an alias, in order; none if it is in the kernel.
func (m *modules) resolve(name string) ([]string, error) {
	wanted := moduleName(name)
	if m.builtin[wanted] {
		return nil, nil
	}
	names := []string{wanted}
	if m.files[wanted] == nil {
		names = nil
		for _, a := range m.aliases {
			if ok, err := path.Match(a.pattern, name); err == nil && ok {
				names = append(names, moduleName(a.module))
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no module %s", name)
	}
	var out []string
	for _, n := range names {
		for _, f := range slices.Backward(m.files[n]) {
			out = append(out, f)
		}
	}
	return out, nil
}

func (m *modules) load(name string) error {
	files, err := m.resolve(name)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := insert(filepath.Join(m.folder, f)); err != nil {
			return err
		}
	}
	return nil
}

func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("load %s: %w", filepath.Base(file), err)
	}
	return errors.Join(err, f.Close())
}
