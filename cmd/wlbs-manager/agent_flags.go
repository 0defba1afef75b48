// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/controllers/agents"
)

// agentFlags adds the flags that say how agents run, with their defaults.
func agentFlags(flags *flag.FlagSet, s *agents.Settings) {
	s.Resources, s.Tolerations = agents.DefaultResources(), agents.DefaultTolerations()
	flags.StringVar(&s.Image, "agent-image", os.Getenv("AGENT_IMAGE"), "image of the agents (default $AGENT_IMAGE)")
	flags.BoolVar(&s.Verbose, "agent-verbose", false, "let agents log more")
	flags.Func("agent-resources",
		`requests and limits of the agents as YAML, for instance {"requests": {"memory": "1Gi"}} (default: 20m of CPU and 128Mi of memory are requested, nothing is limited)`,
		func(value string) error { return replace(&s.Resources, value) })
	flags.Func("agent-tolerations", "tolerations of the agents as YAML (default: everything is tolerated)",
		func(value string) error { return replace(&s.Tolerations, value) })
	flags.Func("agent-node-selector",
		"labels of the nodes on which agents run, KEY=VALUE,...: other nodes cannot be hosts (default: all nodes with Linux)",
		func(value string) (err error) {
			s.NodeSelector, err = labels.ConvertSelectorToLabelsMap(value)
			return err
		})
}

// replace reads YAML in the place of what was there before.
func replace[T any](target *T, value string) error {
	var read T
	if err := yaml.UnmarshalStrict([]byte(value), &read); err != nil {
		return fmt.Errorf("is not what is expected: %w", err)
	}
	*target = read
	return nil
}
