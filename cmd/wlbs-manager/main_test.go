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
	if o.Namespace != "system" || o.AgentImage != "agent:env" || o.NodeLostAfter != 5*time.Minute || o.metricsAddress != "0" || !o.leaderElect {
		t.Errorf("defaults: %+v", o)
	}
	o, err = parse([]string{"--namespace=other", "--agent-image=agent:flag", "--metrics-bind-address=:8443", "--leader-elect=false"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Namespace != "other" || o.AgentImage != "agent:flag" || o.metricsAddress != ":8443" || o.leaderElect {
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
	} {
		if _, err := parse(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error is %v, want one with %q", args, err, want)
		}
	}
}
