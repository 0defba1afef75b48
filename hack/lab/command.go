// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Output runs a program with the lab's environment and returns what it wrote to
// its standard output. The error carries what it wrote to the other one. The
// caller must be inside the lab (Enter).
func (l *Lab) Output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = l.Environ()
	return output(cmd)
}

// engine runs the container engine's client.
func (l *Lab) engine(ctx context.Context, args ...string) (string, error) {
	return l.Output(ctx, l.Engine, args...)
}

// run runs a program of the machine for its effect.
func run(ctx context.Context, program string, args ...string) error {
	_, err := output(exec.CommandContext(ctx, program, args...))
	return err
}

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s",
			strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func cut(kv string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(kv, "=")
	return name, value, ok && name != ""
}
