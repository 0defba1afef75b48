// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// result is a host's answer to a control command, as -o json and yaml print it.
type result struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	HostID  int32  `json:"hostID"`
	Command string `json:"command"`
	// DesiredState is the state the host is to be in after the command.
	DesiredState v1alpha1.DesiredState `json:"desiredState"`
	// Rules are those the command changed, with their state after it.
	Rules map[string]v1alpha1.RuleState `json:"rules,omitempty"`
	// Message says it in the words of WLBS.
	Message string `json:"message"`
	// Refused is set when the host did nothing; the exit code says why.
	Refused bool `json:"refused,omitempty"`

	host selected
	code int
}

// answer is what one host makes of a command: the change to its entry, if any, and what to say.
type answer func(cluster *v1alpha1.LoadBalancingCluster, s selected) (*change, result, error)

type controlOptions struct {
	output       string
	wait         bool
	timeout      time.Duration
	drainTimeout time.Duration
}

func (o *controlOptions) addFlags(cmd *cobra.Command) {
	addOutputFlag(cmd, &o.output, "json", "yaml")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until the hosts have done it")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Minute, "with --wait: give up after this time, 0 waits for ever")
}

// control gives a command to hosts and prints their answers, as WLBS printed one for each host.
func (a *app) control(
	ctx context.Context, targets []string, o *controlOptions, reply answer, reached func(selected) bool,
) error {
	if err := knownOutput(o.output, "json", "yaml"); err != nil {
		return err
	}
	if o.timeout < 0 {
		return failf(ExitUsage, "--timeout %v is negative", o.timeout)
	}
	c, inv, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	chosen, err := inv.selectHosts(targets)
	if err != nil {
		return err
	}
	var results []result
	var failures []error
	for _, group := range byCluster(chosen) {
		answers, err := c.command(ctx, group, reply)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		results = append(results, answers...)
	}
	if err := a.printResults(results, o.output); err != nil {
		return err
	}
	for i := range results {
		if results[i].code != ExitOK {
			failures = append(failures, &exitError{code: results[i].code})
		}
	}
	if o.wait && len(results) > 0 {
		if err := a.await(ctx, c, results, o, reached); err != nil {
			failures = append(failures, err)
		}
	}
	return combine(failures)
}

// command writes what hosts of one cluster answer. Either all of their changes are written, or none.
func (c *client) command(ctx context.Context, hosts []selected, reply answer) ([]result, error) {
	var results []result
	_, err := c.write(ctx, hosts[0].cluster.Name, func(cluster *v1alpha1.LoadBalancingCluster) ([]change, error) {
		results = results[:0]
		var changes []change
		for _, s := range hosts {
			change, r, err := reply(cluster, s)
			if err != nil {
				return nil, err
			}
			r.Cluster, r.Node, r.HostID, r.host = cluster.Name, s.host.Spec.NodeName, s.host.Spec.HostID, s
			results = append(results, r)
			if change != nil {
				changes = append(changes, *change)
			}
		}
		return changes, nil
	})
	return results, err
}

func byCluster(hosts []selected) [][]selected {
	var groups [][]selected
	for i, s := range hosts {
		if i == 0 || s.cluster.Name != hosts[i-1].cluster.Name {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], s)
	}
	return groups
}

func (a *app) printResults(results []result, output string) error {
	if output != "" {
		if results == nil {
			results = []result{}
		}
		return printObject(a.out, output, results)
	}
	for i := range results {
		w := a.out
		if results[i].Refused {
			w = a.errOut
		}
		if _, err := fmt.Fprintf(w, "%s: %s.\n", results[i].host, results[i].Message); err != nil {
			return err
		}
	}
	return nil
}

// answerVerb is how a host answers a command about itself.
func answerVerb(v verb, drainTimeout time.Duration) answer {
	return func(cluster *v1alpha1.LoadBalancingCluster, s selected) (*change, result, error) {
		entry := cluster.Spec.HostConfigOf(s.host.Spec.NodeName)
		state := entry.EffectiveDesiredState()
		o := transition(state, drainOver(s.host), v)
		r := result{Command: string(v), DesiredState: o.state, Message: o.words, Refused: o.refused}
		if o.refused {
			r.code = ExitRefused
			return nil, r, nil
		}
		if why := words.Maintenance(s.host); why != "" && o.state == v1alpha1.DesiredStateStarted {
			r.Message += "; the host stays " + why
		}
		c := &change{node: s.host.Spec.NodeName, state: o.state}
		if v == verbDrainstop && o.state == v1alpha1.DesiredStateDrained && drainTimeout > 0 {
			seconds := int32((drainTimeout + time.Second - 1) / time.Second)
			c.drainTimeoutSeconds = &seconds
			r.Message += fmt.Sprintf(", what is connected after %d s is cut", seconds)
		}
		return c, r, nil
	}
}

// drainOver reports whether a host's drain has ended, by what the host reported of the present command.
func drainOver(host *v1alpha1.LoadBalancingHost) bool {
	return host.Spec.EffectiveDesiredState() == v1alpha1.DesiredStateDrained && acted(host) &&
		host.Status.State == v1alpha1.HostStopped
}

// answerRule is how a host answers a command about port rules.
func answerRule(v *ruleVerb, p *portSpec) answer {
	return func(cluster *v1alpha1.LoadBalancingCluster, s selected) (*change, result, error) {
		rules, err := p.rules(cluster)
		if err != nil {
			return nil, result{}, err
		}
		entry := cluster.Spec.HostConfigOf(s.host.Spec.NodeName)
		r := result{Command: v.name, DesiredState: entry.EffectiveDesiredState(), Message: v.words(p, rules)}
		switch {
		case r.DesiredState == v1alpha1.DesiredStateSuspended:
			r.Message, r.Refused, r.code = wordsRefused, true, ExitRefused
			return nil, r, nil
		case r.DesiredState == v1alpha1.DesiredStateStopped,
			r.DesiredState == v1alpha1.DesiredStateDrained && drainOver(s.host):
			r.Message = "command refused: the host is stopped, so its rules handle no traffic (WLBS event 26)"
			r.Refused, r.code = true, ExitHostStopped
			return nil, r, nil
		}
		r.Rules = map[string]v1alpha1.RuleState{}
		for i := range rules {
			r.Rules[rules[i].Name] = v.state
		}
		return &change{node: s.host.Spec.NodeName, rules: r.Rules}, r, nil
	}
}
