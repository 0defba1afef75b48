// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// The exit codes that docs/kubectl-plugin.md gives to scripts.
const (
	exitOK = iota
	_
	exitUsage
	exitNotFound
	exitRefused
	exitNoRule
	exitHostStopped
	exitTimeout
	exitNotConverged
	exitStalled
)

// waitLimit is what commands are given with --wait; a drain takes longest.
const waitLimit = "--timeout=2m"

// seeNodeByPlugin asks for all hosts on a node. Those of other tests' clusters are among them, in whatever state they are, and
// the exit code is theirs too.
func (c *vipCluster) seeNodeByPlugin(t *testing.T, node string) {
	t.Helper()
	ctx, cancel := contextFor(3 * time.Minute)
	defer cancel()
	s, err := tryWLBS(ctx, words("query node/%s -o json", node)...)
	must(t, err)
	if !strings.Contains(s.out, `"clusterName": "`+c.name+`"`) {
		t.Errorf("query of node %s: exit code %d\n%s%s", node, s.code, s.out, s.errOut)
	}
}

// pluginDir is the folder of kubectl-wlbs and kubectl_complete-wlbs.
func pluginDir() string {
	dir := os.Getenv("KUBE_WLBS_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin")
	}
	if absolute, err := filepath.Abs(dir); err == nil {
		return absolute
	}
	return dir
}

// said is what a run of kubectl wlbs answered.
type said struct {
	code        int
	out, errOut string
}

// tryWLBS runs kubectl wlbs.
func tryWLBS(ctx context.Context, args ...string) (said, error) {
	cmd := kubectlCommand(ctx, append([]string{"wlbs"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	s := said{code: cmd.ProcessState.ExitCode(), out: stdout.String(), errOut: stderr.String()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return s, fmt.Errorf("kubectl wlbs %s: %w", strings.Join(args, " "), err)
	}
	return s, nil
}

// wlbs runs kubectl wlbs and checks its exit code, and that the answer holds all the words.
func wlbs(t *testing.T, code int, args []string, words ...string) said {
	t.Helper()
	ctx, cancel := contextFor(3 * time.Minute)
	defer cancel()
	s, err := tryWLBS(ctx, args...)
	must(t, err)
	if s.code != code {
		t.Fatalf("kubectl wlbs %s: exit code %d, want %d\n%s%s\n%s", strings.Join(args, " "), s.code, code, s.out, s.errOut, stateOfObjects())
	}
	for _, want := range words {
		if !strings.Contains(s.out+s.errOut, want) {
			t.Errorf("kubectl wlbs %s does not say %q:\n%s%s", strings.Join(args, " "), want, s.out, s.errOut)
		}
	}
	return s
}

func words(line string, args ...any) []string { return strings.Fields(fmt.Sprintf(line, args...)) }

// TestPlugin gives the commands of wlbs.exe to a cluster, through the real kubectl. Every answer is followed by a look at
// what the hosts do (Microsoft KB Q247712: what was reported was not what was acted on).
func TestPlugin(t *testing.T) {
	t.Parallel()
	hostWorkload(t)
	c := newCluster(t, "plugin")
	c.awaitConverged(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"see", c.seeByPlugin}, {"complete", c.completeByPlugin}, {"refuse", c.refuseByPlugin}, {"stop and start", c.stopByPlugin},
		{"suspend and resume", c.suspendByPlugin}, {"rules", c.rulesByPlugin}, {"drainstop", c.drainstopByPlugin},
	} {
		if !t.Run(step.name, step.run) {
			return // what follows starts from a cluster that is as it should be
		}
	}
}

func (c *vipCluster) seeByPlugin(t *testing.T) {
	first, second := c.workers[0], c.workers[1]
	wlbs(t, exitOK, words("query %s", c.name),
		fmt.Sprintf("Cluster %s (%s)\n", c.name, c.vip),
		fmt.Sprintf("Host 1 is node %s\n", first),
		"Host 1 has entered a converging state ",
		"Host 1 converged as DEFAULT with the following host(s) as part of the cluster:\n1,2,3\n",
		"Host 2 converged with the following host(s) as part of the cluster:\n1,2,3\n")
	wlbs(t, exitOK, words("query %s -o wide", c.vip), "Host 3 converged with", "http", "20 buckets")
	for _, target := range []string{c.name + ":2", c.name + ":" + second, c.vip.String() + ":2", v1alpha1.HostObjectName(c.name, second)} {
		if s := wlbs(t, exitOK, words("query %s", target), "Host 2 converged with"); strings.Contains(s.out, "Host 1 ") {
			t.Errorf("query %s says more than was asked for:\n%s", target, s.out)
		}
	}
	c.seeNodeByPlugin(t, second)
	for _, format := range []string{"json", "yaml"} {
		var list v1alpha1.LoadBalancingHostList
		must(t, yaml.UnmarshalStrict([]byte(wlbs(t, exitOK, words("query %s -o %s", c.name, format)).out), &list))
		if len(list.Items) != len(c.workers) || list.Items[1].Status.State != v1alpha1.HostConverged {
			t.Errorf("query -o %s: %d hosts, the second is %s", format, len(list.Items), list.Items[1].Status.State)
		}
	}
	wlbs(t, exitOK, words("params %s", c.name), "HostPriority", "ClusterIPAddress", c.vip.String(), "PortRules (1):")
	wlbs(t, exitOK, words("display %s:1", c.name), "HostPriority", "converged as DEFAULT")
	wlbs(t, exitOK, words("queryport %d %s:3", workloadPort, c.name), "rule http", "is enabled and has 20 of 60 buckets")
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeUnicast, v1alpha1.ModeMulticast, v1alpha1.ModeIGMPMulticast} {
		mac := strings.ReplaceAll(v1alpha1.ClusterMAC(mode, c.vip).String(), ":", "-")
		if s := wlbs(t, exitOK, words("ip2mac %s", c.name)); !strings.Contains(strings.ToLower(s.out), mac) {
			t.Errorf("ip2mac does not print %s of mode %s:\n%s", mac, mode, s.out)
		}
	}
	if s := wlbs(t, exitOK, words("top %s", c.name), c.name, first, "http"); strings.Contains(s.out, "\x1b") {
		t.Errorf("top prints escape sequences where there is no terminal: %q", s.out)
	}
}

// completeByPlugin asks for completions as a shell does: by kubectl, which runs kubectl_complete-wlbs.
func (c *vipCluster) completeByPlugin(t *testing.T) {
	complete := func(args ...string) string {
		return mustKubectl(t, "", append([]string{"__complete", "wlbs"}, args...)...)
	}
	for _, tc := range []struct{ args, want []string }{
		{[]string{"drainst", ""}[:1], []string{"drainstop\t"}},
		{[]string{"query", ""}, []string{c.name + "\tcluster " + c.vip.String(), c.workers[0] + "\tnode, ", c.workers[2] + "\tnode, "}},
		{[]string{"stop", c.name + ":"}, []string{c.name + ":1\t" + c.workers[0], c.name + ":" + c.workers[1] + "\thost 2"}},
		{[]string{"drain", ""}, []string{"ALL\t", fmt.Sprintf("%d\trule http of ", workloadPort)}},
	} {
		out := complete(tc.args...)
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("completion of %q has no %q:\n%s", tc.args, want, out)
			}
		}
	}
}

func (c *vipCluster) refuseByPlugin(t *testing.T) {
	wlbs(t, exitUsage, words("query %s -o xml", c.name), `"xml" is not known`)
	wlbs(t, exitUsage, words("stop"), "say which cluster, node or host")
	wlbs(t, exitUsage, words("explode"), `no command "explode"`)
	wlbs(t, exitNotFound, words("query no-such-thing"), `"no-such-thing" is no cluster, node or host ID`)
	wlbs(t, exitNotFound, words("stop %s:32", c.name), "has no host 32", "1 ("+c.workers[0]+")")
	wlbs(t, exitNoRule, words("drain 9 %s", c.name), "no rule of cluster "+c.name+" contains port 9")
}

func (c *vipCluster) stopByPlugin(t *testing.T) {
	node := c.workers[1]
	wlbs(t, exitOK, words("stop %s:2 --wait %s", c.name, waitLimit), fmt.Sprintf("Host 2 (%s) of %s: cluster mode stopped.\n", node, c.name))
	c.awaitState(t, reportLimit, node, v1alpha1.HostStopped)
	c.awaitMembers(t, reportLimit, 2, c.others(node)...) // who was stopped is not missed
	c.mustSpread(t, 100, c.others(node)...)
	wlbs(t, exitOK, words("query %s:2", c.name), "Host 2 is stopped", "it lists the following host(s)")
	wlbs(t, exitHostStopped, words("drain %d %s:2", workloadPort, c.name), "the host is stopped")
	wlbs(t, exitOK, words("stop %s:2", c.name), "cluster mode already stopped")
	var answers []struct{ Node, DesiredState, Message string }
	out := wlbs(t, exitOK, words("start %s:2 --wait %s -o json", c.name, waitLimit)).out
	must(t, json.Unmarshal([]byte(out), &answers))
	if len(answers) != 1 || answers[0].Node != node || answers[0].DesiredState != "Started" || answers[0].Message != "cluster mode started" {
		t.Errorf("start -o json answers %+v", answers)
	}
	c.awaitConverged(t)
	c.mustSpread(t, 150, c.workers...)

	// The command is accepted all the same when the wait is too short.
	wlbs(t, exitTimeout, words("stop %s:2 --wait --timeout=1ms", c.name), "not done after 1ms")
	c.awaitState(t, reportLimit, node, v1alpha1.HostStopped)
	wlbs(t, exitOK, words("start %s:2 --wait %s", c.name, waitLimit))
}

func (c *vipCluster) suspendByPlugin(t *testing.T) {
	node := c.workers[2]
	wlbs(t, exitOK, words("suspend %s:3 --wait %s", c.name, waitLimit), "cluster mode stopped, cluster control suspended")
	c.awaitState(t, reportLimit, node, v1alpha1.HostSuspended)
	for _, command := range []string{"start", "stop", "drainstop", fmt.Sprintf("disable %d", workloadPort)} {
		wlbs(t, exitRefused, words("%s %s:3", command, c.name), "command refused: cluster control is suspended")
	}
	c.awaitState(t, reportLimit, node, v1alpha1.HostSuspended)
	wlbs(t, exitOK, words("resume %s:3 --wait %s", c.name, waitLimit), "cluster control resumed, cluster mode stays stopped")
	c.awaitState(t, reportLimit, node, v1alpha1.HostStopped)
	wlbs(t, exitOK, words("start %s:3 --wait %s", c.name, waitLimit), "cluster mode started")
	c.awaitConverged(t)
}

// rulesByPlugin drains a rule on two hosts by two commands at once, neither of which may undo the other.
func (c *vipCluster) rulesByPlugin(t *testing.T) {
	connections := hold(t, c.target(), 24)
	answers := make(chan error, 2)
	for _, host := range []int{2, 3} {
		go func() {
			ctx, cancel := contextFor(3 * time.Minute)
			defer cancel()
			s, err := tryWLBS(ctx, words("drain %d %s:%d --wait %s", workloadPort, c.name, host, waitLimit)...)
			if err == nil && s.code != exitOK {
				err = fmt.Errorf("drain on host %d: exit code %d: %s", host, s.code, s.errOut)
			}
			answers <- err
		}()
	}
	must(t, errors.Join(<-answers, <-answers))
	for host := 2; host <= 3; host++ {
		wlbs(t, exitOK, words("queryport %d %s:%d", workloadPort, c.name, host), "is drained and has 0 of 60 buckets")
	}
	c.awaitBuckets(t, map[string]int32{c.workers[0]: 60, c.workers[1]: 0, c.workers[2]: 0})
	c.mustSpread(t, 60, c.workers[0])
	connections.mustHaveHeld(t)

	wlbs(t, exitOK, words("disable %d %s:1 --wait %s", workloadPort, c.name, waitLimit), "disabled ALL traffic handling for rule containing port")
	wlbs(t, exitOK, words("queryport %d %s:1", workloadPort, c.name), "is disabled and has 0 of 60 buckets")
	l := c.steady()
	if a := connectOne(t.Context(), l); a.err == nil {
		t.Errorf("%s answers on a rule that no host serves", a.node)
	}
	wlbs(t, exitOK, words("enable ALL %s --wait %s", c.name, waitLimit), "enabled traffic handling for all port rules")
	c.awaitConverged(t)
	c.awaitBuckets(t, map[string]int32{c.workers[0]: 20, c.workers[1]: 20, c.workers[2]: 20})
}

// drainstopByPlugin waits for a host's last connection to end.
func (c *vipCluster) drainstopByPlugin(t *testing.T) {
	node := c.workers[1]
	connections := hold(t, c.target(), 24)
	clients := c.patient().start(t)
	if connections.nodes[node] == 0 {
		t.Fatalf("none of the connections is on %s: %v", node, connections.nodes)
	}
	done := make(chan said, 1)
	go func() {
		ctx, cancel := contextFor(3 * time.Minute)
		defer cancel()
		s, err := tryWLBS(ctx, words("drainstop %s:2 --wait %s", c.name, waitLimit)...)
		if err != nil {
			s.code, s.errOut = -1, err.Error()
		}
		done <- s
	}()
	c.awaitState(t, reportLimit, node, v1alpha1.HostDraining)
	c.awaitBuckets(t, map[string]int32{node: 0})
	wlbs(t, exitOK, words("query %s:2", c.name), "Host 2 draining")
	select {
	case s := <-done:
		t.Fatalf("drainstop --wait ended while connections were left: %+v", s)
	default:
	}
	connections.mustHaveHeld(t)
	s := <-done
	if s.code != exitOK || !strings.Contains(s.out, "connection draining started") || !strings.Contains(s.errOut, "draining, ") {
		t.Errorf("drainstop --wait: %+v", s)
	}
	c.awaitState(t, reportLimit, node, v1alpha1.HostStopped)
	mustNotFail(t, clients.stop())
	wlbs(t, exitOK, words("start %s --wait %s", c.name, waitLimit), "cluster mode started", "cluster mode already started")
	c.awaitConverged(t)
}
