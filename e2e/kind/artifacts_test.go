// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// artifactsDir is where logs and objects of failed tests go.
func artifactsDir() string {
	if dir := os.Getenv("ARTIFACTS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "_artifacts", "e2e")
}

// stateOfObjects is what one looks at first when something does not come to pass.
func stateOfObjects() string {
	ctx, cancel := contextFor(20 * time.Second)
	defer cancel()
	var b strings.Builder
	for _, args := range [][]string{
		{"get", "lbc,lbh", "-o", "wide"},
		{"get", "lbc,lbh", "-o", `jsonpath={range .items[*]}{.metadata.name}{range .status.conditions[*]}{"\n    "}{.type}={.status} {.reason}: {.message}{end}{"\n"}{end}`},
		{"get", "pods", "-n", systemNamespace, "-o", "wide"},
		{"get", "pods", "-n", workloadNamespace, "-o", "wide"},
	} {
		out, err := kubectl(ctx, "", args...)
		if err != nil {
			out = err.Error()
		}
		fmt.Fprintf(&b, "%s\n", strings.TrimSpace(out))
	}
	return b.String()
}

// saved remembers of which tests the artifacts are kept already.
var saved sync.Map

// keepArtifacts saves logs, objects and the nodes' state when the test fails. What a test makes is removed by clean-up
// functions, the last one first: call it after each of them is registered.
func keepArtifacts(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		if _, done := saved.LoadOrStore(t.Name(), true); done {
			return
		}
		dir := filepath.Join(artifactsDir(), strings.ReplaceAll(t.Name(), "/", "_"))
		if err := saveArtifacts(dir); err != nil {
			t.Logf("artifacts are not complete: %v", err)
		}
		t.Logf("logs and objects are in %s", dir)
	})
}

func saveArtifacts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := contextFor(time.Minute)
	defer cancel()
	var failed error
	save := func(file string, args ...string) {
		out, err := kubectl(ctx, "", args...)
		if err != nil {
			failed, out = err, out+"\n"+err.Error()
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(out), 0o644); err != nil {
			failed = err
		}
	}
	save("objects.yaml", "get", "lbc,lbh", "-o", "yaml")
	save("nodes.txt", "get", "nodes", "-o", "wide")
	save("pods.txt", "get", "pods", "-A", "-o", "wide")
	save("pods.yaml", "get", "pods,daemonsets", "-n", systemNamespace, "-o", "yaml")
	save("events.txt", "get", "events", "-A", "--sort-by=.lastTimestamp")
	saveLogs(ctx, save)
	if err := saveNodeStates(ctx, dir); err != nil {
		failed = err
	}
	return failed
}

// saveLogs keeps the logs of the operator's containers, those before a restart too.
func saveLogs(ctx context.Context, save func(file string, args ...string)) {
	names, err := kubectl(ctx, "", "get", "pods", "-n", systemNamespace, "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	if err != nil {
		return
	}
	for line := range strings.Lines(names) {
		pod, restarts, _ := strings.Cut(strings.TrimSpace(line), " ")
		save(pod+".log", "logs", "-n", systemNamespace, pod)
		if restarts != "" && restarts != "0" {
			save(pod+".previous.log", "logs", "-n", systemNamespace, pod, "--previous")
		}
	}
}

func saveNodeStates(ctx context.Context, dir string) error {
	workers, err := cluster.Workers(ctx)
	if err != nil {
		return err
	}
	for _, node := range workers {
		state, err := nodeState(ctx, node)
		if err != nil {
			state = append(state, err.Error())
		}
		if err := os.WriteFile(filepath.Join(dir, "node-"+node+".txt"), []byte(strings.Join(state, "\n")), 0o644); err != nil {
			return err
		}
	}
	return nil
}
