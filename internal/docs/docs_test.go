// SPDX-License-Identifier: Apache-2.0

// Package docs checks the Markdown files of the repository.
package docs

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// root is the repository's folder, seen from this package's.
var root = filepath.Join("..", "..")

// columns is where prose is wrapped. Tables, code and single words that are longer are not prose.
const columns = 100

var codeSpan = regexp.MustCompile("`[^`]+`")

func TestProseIsWrapped(t *testing.T) {
	for name, text := range pages(t) {
		for number, line := range withoutCode(text) {
			table := strings.HasPrefix(strings.TrimSpace(line), "|")
			words := strings.Fields(codeSpan.ReplaceAllLiteralString(line, "code"))
			if !table && utf8.RuneCountInString(line) > columns && len(words) > 1 {
				t.Errorf("%s:%d: longer than %d columns", name, number, columns)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for name, text := range all {
		for number, line := range withoutCode(text) {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				if problem := follow(all, name, found[1]); problem != "" {
					t.Errorf("%s:%d: %s: %s", name, number, found[1], problem)
				}
			}
		}
	}
}

// follow says what is wrong with a link from a page, or nothing. Links to other sites are not followed.
func follow(all map[string]string, from, to string) string {
	target, err := url.Parse(to)
	switch {
	case err != nil:
		return err.Error()
	case target.IsAbs():
		return ""
	}
	name := from
	if target.Path != "" {
		name = filepath.Join(filepath.Dir(from), target.Path)
	}
	if _, err := os.Stat(filepath.Join(root, name)); err != nil {
		return "there is no such file"
	}
	if text, page := all[name]; page && target.Fragment != "" && !anchors(text)[target.Fragment] {
		return "the page has no such heading"
	}
	return ""
}

// anchors are what a heading is called in links.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, line := range withoutCode(text) {
		heading := strings.TrimLeft(line, "#")
		if heading == line {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading))
		found[anchor] = true
	}
	return found
}

// withoutCode returns the lines of a page that are no code, by line number.
func withoutCode(text string) map[int]string {
	lines := map[int]string{}
	fenced, blank, code := false, true, false
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
			continue
		case fenced:
			continue
		}
		// Indented code follows a blank line, and ends with one that is indented less.
		indented := strings.HasPrefix(line, "    ")
		code = indented && (code || blank) || code && line == ""
		blank = line == ""
		if !code {
			lines[number] = line
		}
	}
	return lines
}

// pages reads all Markdown files, by their names below root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("found %d pages only: does the test still read the right folder?", len(found))
	}
	return found
}
