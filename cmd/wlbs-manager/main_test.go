// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "system")
	t.Setenv("AGENT_IMAGE", "agent:env")
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Namespace != "system" || o.Agents.Image != "agent:env" || o.NodeLostAfter != 5*time.Minute || o.metricsAddress != "0" || !o.leaderElect {
		t.Errorf("defaults: %+v", o)
	}
	o, err = parse([]string{"--namespace=other", "--agent-image=agent:flag", "--metrics-bind-address=:8443", "--leader-elect=false"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Namespace != "other" || o.Agents.Image != "agent:flag" || o.metricsAddress != ":8443" || o.leaderElect {
		t.Errorf("flags: %+v", o)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	t.Setenv("AGENT_IMAGE", "")
	for want, args := range map[string][]string{
		"--namespace is missing":   {"--agent-image=a"},
		"--agent-image is missing": {"--namespace=n"},
		"unexpected argument":      {"--namespace=n", "--agent-image=a", "start"},
		"want a positive duration": {"--namespace=n", "--agent-image=a", "--node-lost-after=-1s"},
		"not defined":              {"--nonsense"},
		"is not what is expected":  {"--namespace=n", "--agent-image=a", "--agent-resources={request: {}}"},
		"invalid selector":         {"--namespace=n", "--agent-image=a", "--agent-node-selector=a in (b)"},
	} {
		if _, err := parse(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error is %v, want one with %q", args, err, want)
		}
	}
}

func TestAgentSettings(t *testing.T) {
	o, err := parse([]string{"--namespace=n", "--agent-image=a"})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Agents.Resources.Limits) != 0 || o.Agents.Resources.Requests.Memory().String() != "128Mi" || len(o.Agents.Tolerations) != 1 || o.Agents.Verbose {
		t.Errorf("defaults: %+v", o.Agents)
	}
	o, err = parse([]string{
		"--namespace=n", "--agent-image=a", "--agent-verbose", "--agent-node-selector=edge=true,zone=a",
		`--agent-resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}`, "--agent-tolerations=[]",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := o.Agents
	if !s.Verbose || s.Selector()["edge"] != "true" || s.Selector()["kubernetes.io/os"] != "linux" || len(s.Tolerations) != 0 ||
		s.Resources.Requests.Memory().String() != "1Gi" || s.Resources.Requests.Cpu().String() != "0" || s.Resources.Limits.Memory().String() != "2Gi" {
		t.Errorf("flags: %+v", s)
	}
}
