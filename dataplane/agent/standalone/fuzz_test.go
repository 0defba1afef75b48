// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"log/slog"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// FuzzClusterFile has two aims: nothing that a file may contain makes an agent panic, and what the schema lets pass, hosts can use.
func FuzzClusterFile(f *testing.F) {
	validator, err := schema.New()
	if err != nil {
		f.Fatal(err)
	}
	for _, content := range []string{
		yamlOf("web", vips("10.77.0.100")),
		yamlOf("web", vips("10.77.0.100", "'2001:db8::1'"), "mode: IGMPMulticast", "heartbeat: {periodMilliseconds: 50, tolerance: 3}",
			"portRules: [{name: http, ports: {from: 80, to: 81}, affinity: Network, affinityTimeoutSeconds: 9}, {name: dns, ports: {from: 53, to: 53}, virtualIP: '2001:db8::1', filteringMode: Single}]"),
		"spec: [", "--- \n---\n", "{}", "a: &a [*a]",
	} {
		f.Add([]byte(content))
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, content []byte) {
		r := newRun(&Source{Dir: "/", Node: "node-a", Log: slog.New(slog.DiscardHandler)}, validator)
		l := look{files: []found{{name: "web.yaml", content: content}}}
		if err := r.update(t.Context(), l, now, func(configs []plan.Config) {
			for _, c := range configs {
				p, err := plan.New(c)
				if err != nil {
					t.Fatalf("a host cannot use what the schema lets pass: %v", err)
				}
				table := p.Table(&convergence.Decision{}, true)
				if err := table.Validate(); err != nil {
					t.Fatalf("the filter cannot use what the schema lets pass: %v", err)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}
