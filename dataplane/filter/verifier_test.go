// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"testing"

	"github.com/cilium/ebpf"
)

// The kernel's verifier follows every way through a program. Older ones see fewer of them to
// be equal or dead and take more steps, of which a million is the end (Linux 5.2), or refuse a
// dead way: code that makes this machine's verifier work much harder may not load on theirs.
func TestVerifierSteps(t *testing.T) {
	for _, hook := range []Hook{XDP, TCX} {
		t.Run(hook.String(), func(t *testing.T) {
			r := newRig(t, hook)
			for name, row := range map[string]struct {
				program *ebpf.Program
				limit   uint32
			}{
				"wlbs_xdp":     {r.objects.WlbsXdp, 10_000},
				"wlbs_ingress": {r.objects.WlbsIngress, 25_000},
				"wlbs_egress":  {r.objects.WlbsEgress, 15_000},
			} {
				info, err := row.program.Info()
				if err != nil {
					t.Fatal(err)
				}
				steps, ok := info.VerifiedInstructions()
				if !ok {
					t.Skip("this kernel does not tell how many steps its verifier took (needs 5.16)")
				}
				t.Logf("%s: %d steps", name, steps)
				if steps > row.limit {
					t.Errorf("%s: the verifier took %d steps, more than %d", name, steps, row.limit)
				}
			}
		})
	}
}
