// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// kubectl runs the program that users run, and returns what it wrote. The error carries its messages as users see them.
func kubectl(ctx context.Context, input string, args ...string) (string, error) {
	cmd := kubectlCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// kubectlCommand is kubectl with the plugin of this build on its PATH.
func kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = cluster.Environ()
	cmd.Env = append(cmd.Env, "PATH="+pluginDir()+":"+lastValue(cmd.Env, "PATH"))
	return cmd
}

// lastValue is the value of a variable in an environment, of which the last one counts.
func lastValue(env []string, name string) string {
	for _, entry := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// mustKubectl fails the test when kubectl fails.
func mustKubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	ctx, cancel := contextFor(2 * time.Minute)
	defer cancel()
	out, err := kubectl(ctx, input, args...)
	must(t, err)
	return out
}

// table is what kubectl get prints: rows of cells by column.
type table struct {
	columns []string
	rows    []map[string]string
}

// parseTable reads a table by the places of its headings, because cells may be empty or hold spaces.
func parseTable(text string) (table, error) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	heading := lines[0]
	var starts []int
	for i, c := range heading {
		if c != ' ' && (i == 0 || heading[i-1] == ' ') {
			starts = append(starts, i)
		}
	}
	if len(starts) == 0 {
		return table{}, errors.New("kubectl printed no table")
	}
	parsed := table{columns: strings.Fields(heading)}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, start := range starts {
			end := len(line)
			if i+1 < len(starts) {
				end = min(end, starts[i+1])
			}
			if start < end {
				row[parsed.columns[i]] = strings.TrimSpace(line[start:end])
			}
		}
		parsed.rows = append(parsed.rows, row)
	}
	return parsed, nil
}

// getTable runs kubectl get.
func getTable(ctx context.Context, args ...string) (table, error) {
	out, err := kubectl(ctx, "", append([]string{"get"}, args...)...)
	if err != nil {
		return table{}, err
	}
	return parseTable(out)
}

// row is the row of the object of that name.
func (t table) row(name string) (map[string]string, error) {
	for _, r := range t.rows {
		if r["NAME"] == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("kubectl get does not list %s", name)
}
