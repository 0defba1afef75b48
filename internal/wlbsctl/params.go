// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// hostAndCluster is what params and display print of a host as json and yaml.
type hostAndCluster struct {
	Cluster *v1alpha1.LoadBalancingCluster `json:"cluster"`
	Host    *v1alpha1.LoadBalancingHost    `json:"host"`
	Events  []event                        `json:"events,omitempty"`
}

// event is an Event of Kubernetes, reduced to what it says.
type event struct {
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	Reason  string    `json:"reason"`
	Object  string    `json:"object"`
	Message string    `json:"message"`
	// Count is how often it was seen.
	Count int32 `json:"count"`
}

func (a *app) paramsCommand() *cobra.Command {
	return a.reader("params", "Print the parameters of hosts, with the names of WLBS' registry",
		`Prints the parameters of hosts and their port rules, in the layout of "wlbs params".`,
		[]string{"json", "yaml"}, a.params)
}

func (a *app) params(ctx context.Context, targets []string, output string) error {
	_, hosts, err := a.chosen(ctx, targets)
	if err != nil {
		return err
	}
	if output != "" {
		var all []hostAndCluster
		for _, s := range hosts {
			all = append(all, both(s))
		}
		return printObject(a.out, output, all)
	}
	for i, s := range hosts {
		if i > 0 {
			a.printf("\n")
		}
		if err := words.WriteParams(a.out, s.cluster, s.host); err != nil {
			return err
		}
	}
	return nil
}

func both(s selected) hostAndCluster {
	out := hostAndCluster{Cluster: s.cluster.DeepCopy(), Host: s.host.DeepCopy()}
	out.Cluster.ManagedFields, out.Host.ManagedFields = nil, nil
	return out
}

func (a *app) displayCommand() *cobra.Command {
	var events int
	cmd := a.reader("display", "Print parameters, state and the last events of hosts",
		`Prints all that is known of hosts: their parameters, their state and traffic, and the last events of their cluster.`,
		[]string{"json", "yaml"}, func(ctx context.Context, targets []string, output string) error {
			return a.display(ctx, targets, output, events)
		})
	cmd.Flags().IntVar(&events, "events", 10, "number of events of each cluster")
	return cmd
}

func (a *app) display(ctx context.Context, targets []string, output string, count int) error {
	if count < 0 {
		return failf(ExitUsage, "--events %d is negative", count)
	}
	c, hosts, err := a.chosen(ctx, targets)
	if err != nil {
		return err
	}
	var all []hostAndCluster
	for _, group := range byCluster(hosts) {
		found, err := c.events(ctx, group[0].cluster.Name, count)
		if err != nil {
			// Who may read clusters need not be allowed to read events: the rest is worth printing.
			if _, err := fmt.Fprintln(a.errOut, "warning:", err); err != nil {
				return err
			}
		}
		events := eventsOf(found)
		for _, s := range group {
			all = append(all, both(s))
			all[len(all)-1].Events = events
		}
		if output != "" {
			continue
		}
		if err := a.displayGroup(group, events); err != nil {
			return err
		}
	}
	if output != "" {
		return printObject(a.out, output, all)
	}
	return nil
}

func (a *app) displayGroup(group []selected, events []event) error {
	for _, s := range group {
		if err := words.WriteParams(a.out, s.cluster, s.host); err != nil {
			return err
		}
		a.printf("\nState:\n")
		a.hostHeading(s)
		if err := words.WriteState(a.out, s.host); err != nil {
			return err
		}
		if err := words.WriteDetails(a.out, s.host); err != nil {
			return err
		}
		a.printf("\n")
	}
	a.printf("Last events of cluster %s:\n", group[0].cluster.Name)
	if len(events) == 0 {
		a.printf("none\n")
	}
	for _, e := range events {
		a.printf("%s  %-7s %-20s %s", e.Time.Local().Format(time.DateTime), e.Type, e.Reason, e.Message)
		if e.Count > 1 {
			a.printf(" (%d times)", e.Count)
		}
		a.printf("\n")
	}
	a.printf("\n")
	return nil
}

func eventsOf(found []corev1.Event) []event {
	out := make([]event, 0, len(found))
	for i := range found {
		e := &found[i]
		count := max(e.Count, 1)
		if e.Series != nil {
			count = e.Series.Count
		}
		out = append(out, event{
			Time: eventTime(e), Type: e.Type, Reason: e.Reason, Message: e.Message, Count: count,
			Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name,
		})
	}
	return out
}
