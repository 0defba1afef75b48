// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// output runs a program and returns what it wrote to its standard output. The error carries what it
// wrote to the other one.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

// step tells what is being done.
func step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "== %s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
