// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Microsoft KB Q247712: after every pair of commands the state that is printed is the state that was acted on.
func TestQ247712OnServer(t *testing.T) {
	f := newFixture(t, "pairs", "10.80.0.100", 1)
	for _, first := range allVerbs {
		for _, second := range allVerbs {
			t.Run(string(first)+" "+string(second), func(t *testing.T) {
				f := &fixture{t: t, config: f.config, client: f.client, name: f.name}
				reset(f)
				for _, v := range []verb{first, second} {
					before := f.desired(1)
					want := transition(before, false, v)
					code, stdout, stderr := f.run(string(v), "pairs:1", "-o", "json")
					var answers []result
					if err := json.Unmarshal([]byte(stdout), &answers); err != nil || len(answers) != 1 {
						t.Fatalf("%s printed %q, %v", v, stdout, err)
					}
					if acted := f.desired(1); answers[0].DesiredState != acted || acted != want.state {
						t.Errorf("%s in state %s printed %s, and acted on %s; want %s", v, before, answers[0].DesiredState, acted,
							want.state)
					}
					wantCode := ExitOK
					if want.refused {
						wantCode = ExitRefused
					}
					if code != wantCode || answers[0].Message != want.words || stderr != "" {
						t.Errorf("%s in state %s: exit code %d, %q, stderr %q; want %d, %q", v, before, code, answers[0].Message, stderr,
							wantCode, want.words)
					}
				}
			})
		}
	}
}

func reset(f *fixture) {
	f.t.Helper()
	if f.desired(1) == v1alpha1.DesiredStateSuspended {
		f.want(ExitOK, "resume", f.name+":1")
	}
	f.want(ExitOK, "start", f.name+":1")
	if hosts := f.cluster().Spec.Hosts; len(hosts) != 0 {
		f.t.Fatalf("a started host left an entry: %+v", hosts)
	}
}

func TestCommandsOfTwoPeopleAtOnce(t *testing.T) {
	const hosts = 8
	f := newFixture(t, "crowd", "10.80.1.100", hosts)
	var wg sync.WaitGroup
	for id := 1; id <= hosts; id++ {
		wg.Go(func() {
			if code, stdout, stderr := f.run("stop", fmt.Sprintf("crowd:%d", id)); code != ExitOK {
				t.Errorf("stop of host %d: exit code %d\n%s%s", id, code, stdout, stderr)
			}
		})
	}
	wg.Wait()
	for id := 1; id <= hosts; id++ {
		if state := f.desired(id); state != v1alpha1.DesiredStateStopped {
			t.Errorf("host %d is to be %s, want Stopped: another command overwrote it", id, state)
		}
	}
}

func TestCommandsKeepWhatOthersSet(t *testing.T) {
	f := newFixture(t, "shared", "10.80.2.100", 2, func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.PortRules = []v1alpha1.PortRule{{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 80}}}
	})
	f.apply("gitops", `[{"nodeName":"shared-1","hostID":1,"desiredState":"Started","rules":[{"name":"http","loadWeight":30}]}]`)
	f.want(ExitOK, "drain", "80", "shared:1")
	f.want(ExitOK, "drainstop", "shared:1", "--drain-timeout", "90s")
	f.want(ExitOK, "stop", "shared:2")

	entry := f.cluster().Spec.HostConfigOf("shared-1")
	want := v1alpha1.HostConfig{
		NodeName: "shared-1", HostID: new(int32(1)), DesiredState: v1alpha1.DesiredStateDrained,
		DrainTimeoutSeconds: new(int32(90)),
		Rules: []v1alpha1.HostRule{
			{Name: "http", LoadWeight: new(int32(30)), State: v1alpha1.RuleStateDrained},
		},
	}
	if !equal(entry, want) {
		t.Errorf("entry of shared-1 is %s, want %s", asJSON(entry), asJSON(want))
	}
	// The other manager lost the one field that the commands changed, and no other.
	owned := ownedBy(t, f.cluster(), "gitops")
	for _, field := range []string{"f:hostID", "f:loadWeight"} {
		if !strings.Contains(owned, field) {
			t.Errorf("gitops lost %s; it owns %s", field, owned)
		}
	}
	if strings.Contains(owned, "f:desiredState") {
		t.Errorf("gitops still owns desiredState: %s", owned)
	}

	f.want(ExitOK, "start", "shared:1")
	f.want(ExitOK, "enable", "ALL", "shared:1")
	entry = f.cluster().Spec.HostConfigOf("shared-1")
	want.DesiredState, want.DrainTimeoutSeconds, want.Rules[0].State = "", nil, ""
	if !equal(entry, want) {
		t.Errorf("entry of shared-1 is %s, want %s", asJSON(entry), asJSON(want))
	}
	if f.desired(2) != v1alpha1.DesiredStateStopped {
		t.Error("host 2 was started by a command about host 1")
	}
}

func TestStartOverridesAManifestThatSaysStopped(t *testing.T) {
	f := newFixture(t, "manifest", "10.80.3.100", 1)
	f.apply("gitops", `[{"nodeName":"manifest-1","desiredState":"Drained","drainTimeoutSeconds":60}]`)
	f.want(ExitOK, "start", "manifest:1")
	if entry := f.cluster().Spec.HostConfigOf("manifest-1"); entry.DesiredState != v1alpha1.DesiredStateStarted ||
		entry.DrainTimeoutSeconds != nil {
		t.Errorf("entry is %s, want Started and no timeout", asJSON(entry))
	}
	f.apply("gitops", `[{"nodeName":"manifest-1"}]`) // gives the field up
	f.want(ExitOK, "stop", "manifest:1")
	f.want(ExitOK, "start", "manifest:1")
	if entry := f.cluster().Spec.HostConfigOf("manifest-1"); entry.DesiredState != "" {
		t.Errorf("entry is %s, want the default again", asJSON(entry))
	}
}

func TestSuspendedHostRefuses(t *testing.T) {
	f := newFixture(t, "refusal", "10.80.4.100", 2)
	f.want(ExitOK, "suspend", "refusal:1")
	for _, args := range [][]string{{"start"}, {"stop"}, {"drainstop"}, {"enable", "80"}, {"disable", "ALL"},
		{"drain", "80"}} {
		_, stderr := f.want(ExitRefused, append(args, "refusal:1")...)
		if !strings.Contains(stderr, wordsRefused) {
			t.Errorf("%v: stderr %q does not say why", args, stderr)
		}
		if f.desired(1) != v1alpha1.DesiredStateSuspended {
			t.Fatalf("%v changed a suspended host", args)
		}
	}
	// The others of a cluster do as they are told.
	f.want(ExitRefused, "stop", "refusal")
	if f.desired(1) != v1alpha1.DesiredStateSuspended || f.desired(2) != v1alpha1.DesiredStateStopped {
		t.Errorf("hosts are to be %s and %s, want Suspended and Stopped", f.desired(1), f.desired(2))
	}
	f.want(ExitOK, "resume", "refusal:1")
	if f.desired(1) != v1alpha1.DesiredStateStopped {
		t.Errorf("after resume host 1 is to be %s, want Stopped", f.desired(1))
	}
}

func TestRuleCommandsRefuse(t *testing.T) {
	f := newFixture(t, "ports", "10.80.5.100", 2, func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.PortRules = []v1alpha1.PortRule{{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 89}}}
	})
	_, stderr := f.want(ExitNoRule, "drain", "443", "ports")
	if want := "no rule of cluster ports contains port 443 (WLBS event 25)"; !strings.Contains(stderr, want) {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	f.want(ExitOK, "stop", "ports:1")
	_, stderr = f.want(ExitHostStopped, "drain", "85", "ports:1")
	if want := "the host is stopped"; !strings.Contains(stderr, want) || !strings.Contains(stderr, "event 26") {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	stdout, _ := f.want(ExitOK, "drain", "85", "ports:2")
	if want := "Host 2 (ports-2) of ports: disabled NEW traffic handling for rule containing port 85 (rule http).\n"; stdout != want {
		t.Errorf("stdout %q, want %q", stdout, want)
	}
	entry := f.cluster().Spec.HostConfigOf("ports-2")
	if ruleState(&entry, "http") != v1alpha1.RuleStateDrained {
		t.Errorf("entry is %s", asJSON(entry))
	}
}

// A cluster without rules has the one of WLBS, and the API calls it "all".
func TestRuleCommandsWithoutRules(t *testing.T) {
	f := newFixture(t, "norules", "10.80.6.100", 1)
	f.want(ExitOK, "disable", "8080", "norules:1")
	entry := f.cluster().Spec.HostConfigOf("norules-1")
	if ruleState(&entry, v1alpha1.AllPortsRuleName) != v1alpha1.RuleStateDisabled {
		t.Errorf("entry is %s", asJSON(entry))
	}
	f.want(ExitOK, "enable", "ALL", "norules:1")
	if hosts := f.cluster().Spec.Hosts; len(hosts) != 0 {
		t.Errorf("an enabled rule left an entry: %s", asJSON(hosts))
	}
}

func equal(a, b v1alpha1.HostConfig) bool { return asJSON(a) == asJSON(b) }

func asJSON(v any) string {
	content, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func ownedBy(t *testing.T, c *v1alpha1.LoadBalancingCluster, manager string) string {
	t.Helper()
	at := slices.IndexFunc(c.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == manager })
	if at < 0 {
		return ""
	}
	return string(c.ManagedFields[at].FieldsV1.GetRawBytes())
}

// A host that is drained for its node's sake is not started by a command: the answer says why, and so does --wait.
func TestStartOfAHostInMaintenance(t *testing.T) {
	f := newFixture(t, "maintained", "10.80.21.100", 1)
	f.setHost(1, func(h *v1alpha1.LoadBalancingHost) {
		h.Spec.DesiredState = v1alpha1.DesiredStateDrained
		h.Spec.Maintenance = &v1alpha1.HostMaintenance{Reason: v1alpha1.MaintenanceNodeExcluded}
		h.Status.State = v1alpha1.HostStopped
	})
	const why = "drained because of its node: NodeExcluded"
	stdout, _ := f.want(ExitOK, "start", "maintained:1")
	if !strings.Contains(stdout, "cluster mode already started; the host stays "+why) {
		t.Errorf("start says %q", stdout)
	}
	_, stderr := f.want(ExitTimeout, "start", "maintained:1", "--wait", "--timeout=5s")
	if !strings.Contains(stderr, why) {
		t.Errorf("start --wait says %q", stderr)
	}
	f.want(ExitOK, "query", "maintained:1") // it is as it should be
}
