// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

// result is what one step of one machine came to.
type result struct {
	kernel, step            string
	passed, failed, skipped int
	again                   []string
	skips                   []string
	steps                   []string
	end                     *job.End
	log                     string
}

var (
	verdict       = regexp.MustCompile(`^(\s*)--- (PASS|FAIL|SKIP): (\S+)`)
	verifierSteps = regexp.MustCompile(`\b(wlbs_\w+): (\d+) steps`)
)

// line takes in a line of the step's output.
func (r *result) line(s string) {
	if m := verdict.FindStringSubmatch(s); m != nil {
		switch m[2] {
		case "PASS":
			r.passed++
		case "FAIL":
			r.failed++
		case "SKIP":
			r.skipped++
			r.skips = append(r.skips, m[3])
		}
	}
	if m := verifierSteps.FindStringSubmatch(s); m != nil {
		r.steps = append(r.steps, m[1]+" "+m[2])
	}
}

// ok reports whether the step ended well.
func (r *result) ok() bool { return r.end != nil && r.end.Error == "" }

// book collects the results of one machine, and writes what its steps print into files.
type book struct {
	kernel, folder string
	release        string
	results        []*result
	logs           map[string]*os.File
	err            error
}

func newBook(kernel, folder string) *book {
	return &book{kernel: kernel, folder: folder, logs: map[string]*os.File{}}
}

func (b *book) handle(e job.Event) {
	switch {
	case e.Booted != "":
		b.release = e.Booted
		step("%s: Linux %s runs", b.kernel, e.Booted)
	case e.Line != nil:
		r := b.of(e.Step)
		r.line(*e.Line)
		if _, err := fmt.Fprintln(b.logs[e.Step], *e.Line); err != nil {
			b.err = errors.Join(b.err, err)
		}
	case e.Again != nil:
		r := b.of(e.Step)
		r.again = e.Again
		step("%s: %s: once more: %s", b.kernel, e.Step, strings.Join(e.Again, " "))
	case e.End != nil:
		r := b.of(e.Step)
		r.end = e.End
		step("%s", r)
	}
}

// of returns the result of a step, a new one for its first event.
func (b *book) of(name string) *result {
	for _, r := range b.results {
		if r.step == name {
			return r
		}
	}
	r := &result{kernel: b.kernel, step: name, log: filepath.Join(b.folder, strings.ReplaceAll(name, "/", "-")+".log")}
	b.results = append(b.results, r)
	log, err := os.Create(r.log)
	b.err = errors.Join(b.err, err)
	b.logs[name] = log
	return r
}

// close returns what went wrong while logs were written.
func (b *book) close() error {
	for _, f := range b.logs {
		b.err = errors.Join(b.err, f.Close())
	}
	return b.err
}

// String is one line for people.
func (r *result) String() string {
	if r.end == nil {
		return fmt.Sprintf("%s: %s: not done", r.kernel, r.step)
	}
	s := fmt.Sprintf("%s: %s: %d passed, %d failed, %d skipped, %v", r.kernel, r.step, r.passed, r.failed, r.skipped,
		r.end.Took.Round(time.Second))
	if len(r.again) > 0 && r.ok() {
		s += fmt.Sprintf("; at the second attempt: %s", strings.Join(r.again, " "))
	}
	if !r.ok() {
		s += "; FAILED: " + r.end.Error
	}
	return s
}

// explain prints what a step that failed has said of it, without what went well.
func (r *result) explain(out io.Writer) error {
	f, err := os.Open(r.log)
	if err != nil {
		return err
	}
	defer f.Close()
	noise := regexp.MustCompile(`^=== (RUN|CONT|PAUSE|NAME)|^\s*--- PASS|^PASS$`)
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if !noise.MatchString(in.Text()) {
			fmt.Fprintf(out, "   | %s\n", in.Text())
		}
	}
	return in.Err()
}

// summary prints a table of all results, and the verifier's steps by program.
func summary(out io.Writer, all []*result) {
	fmt.Fprintf(out, "\n%-12s %-24s %6s %6s %7s %6s\n", "kernel", "tests", "passed", "failed", "skipped", "time")
	for _, r := range all {
		took, mark := "-", ""
		if r.end != nil {
			took = r.end.Took.Round(time.Second).String()
		}
		if !r.ok() {
			mark = "  FAILED"
		} else if len(r.again) > 0 {
			mark = "  at the second attempt: " + strings.Join(r.again, " ")
		}
		fmt.Fprintf(out, "%-12s %-24s %6d %6d %7d %6s%s\n", r.kernel, r.step, r.passed, r.failed, r.skipped, took, mark)
	}
	for _, r := range all {
		if len(r.skips) > 0 {
			fmt.Fprintf(out, "%s: %s: skipped: %s\n", r.kernel, r.step, strings.Join(r.skips, " "))
		}
		if len(r.steps) > 0 {
			fmt.Fprintf(out, "%s: %s: steps of the verifier: %s\n", r.kernel, r.step, strings.Join(r.steps, ", "))
		}
	}
}
