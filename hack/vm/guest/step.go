// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

// reporter tells the machine's owner what happens.
type reporter struct{ out *json.Encoder }

func (r *reporter) tell(e job.Event) {
	if err := r.out.Encode(e); err != nil {
		fmt.Println("guest: tell:", err)
	}
}

// step runs one step, and what failed of it a second time where that is wished.
func (r *reporter) step(s job.Step) {
	start := time.Now()
	failed, err := r.attempt(s, s.Args)
	if err != nil && s.Again && len(failed) > 0 {
		r.tell(job.Event{Step: s.Name, Again: failed})
		_, err = r.attempt(s, withRun(s.Args, failed))
	}
	end := job.End{Took: time.Since(start).Round(time.Millisecond)}
	if err != nil {
		end.Error = err.Error()
	}
	r.tell(job.Event{Step: s.Name, End: &end})
}

// withRun replaces which tests are run.
func withRun(args, tests []string) []string {
	const flag = "-test.run="
	var out []string
	for _, a := range args {
		if !strings.HasPrefix(a, flag) {
			out = append(out, a)
		}
	}
	return append(out, flag+"^("+strings.Join(tests, "|")+")$")
}

// attempt runs the program and returns the tests that it says have failed.
func (r *reporter) attempt(s job.Step, args []string) (failed []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = s.Dir, append(os.Environ(), s.Env...)
	in, out := io.Pipe()
	cmd.Stdout, cmd.Stderr = out, out
	// Processes that outlive the program keep its output open: not for long.
	cmd.WaitDelay = time.Second
	lines := make(chan []string)
	go func() { lines <- r.pass(s.Name, in) }()
	err = cmd.Run()
	_ = out.Close()
	failed = <-lines
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("killed after %v", s.Timeout))
	}
	return failed, err
}

// pass tells every line, and returns the top-level tests that failed.
func (r *reporter) pass(name string, in io.Reader) (failed []string) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" || err == nil {
			r.tell(job.Event{Step: name, Line: &line})
			if rest, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
				test, _, _ := strings.Cut(rest, " ")
				failed = append(failed, test)
			}
		}
		if err != nil {
			return failed
		}
	}
}
