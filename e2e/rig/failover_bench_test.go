// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// repeats of a failover in one run of a benchmark.
const repeats = 10

// sample is the spread of one quantity over the repeats.
type sample []time.Duration

func (s sample) report(b *testing.B, what string) {
	b.Helper()
	slices.Sort(s)
	lowest, median, highest := s[0], s[len(s)/2], s[len(s)-1]
	b.Logf("%-32s min %v  median %v  max %v  (n=%d)", what, lowest.Round(time.Millisecond), median.Round(time.Millisecond), highest.Round(time.Millisecond), len(s))
	b.ReportMetric(float64(median.Milliseconds()), "median-"+what+"-ms")
	b.ReportMetric(float64(highest.Milliseconds()), "max-"+what+"-ms")
}

// BenchmarkFailover takes one of three hosts away, ten times in each way, under 60 clients that connect every 50 ms each
// and give up after two seconds. It reports what the worst-off client saw, how many connections failed or had to send
// their SYN again, and how long it took until the hosts that are left, and then all of them again, said that they
// had converged. Default heartbeats.
func BenchmarkFailover(b *testing.B) {
	for _, way := range []struct {
		name    string
		off, on func(*Host) error
	}{
		{"HostCrash", (*Host).PowerOff, (*Host).PowerOn},
		{"AgentCrash", (*Host).Kill, (*Host).Start},
		{"Leave", (*Host).Stop, (*Host).Start},
	} {
		b.Run(way.name, func(b *testing.B) {
			r := startRig(b, 3, nil)
			var all costs
			for i := range b.N * repeats {
				all.add(failover(b, r, r.Hosts[i%3], way.off, way.on))
			}
			all.gap.report(b, "client-gap")
			all.without.report(b, "converged-without")
			all.again.report(b, "converged-again")
			b.ReportMetric(float64(all.failed)/float64(len(all.gap)), "failed/op")
			b.ReportMetric(float64(all.resent)/float64(len(all.gap)), "resent/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// costs of failovers: the worst client's gap, the time to converge without the host and with it again, and the
// connections that failed and that had to send their SYN again.
type costs struct {
	gap, without, again sample
	failed, resent      int
}

func (c *costs) add(o costs) {
	c.gap, c.without, c.again = append(c.gap, o.gap...), append(c.without, o.without...), append(c.again, o.again...)
	c.failed, c.resent = c.failed+o.failed, c.resent+o.resent
}

// failover takes a host away and brings it back, and says what that cost.
func failover(b *testing.B, r *Rig, h *Host, off, on func(*Host) error) costs {
	b.Helper()
	run, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Interval: 50 * time.Millisecond, Timeout: 2 * time.Second,
	})
	must(b, err)
	letPass(b, 500*time.Millisecond)
	others := slices.DeleteFunc(slices.Clone(r.Hosts), func(o *Host) bool { return o == h })
	ended := make(chan error, 1)
	at := time.Now()
	go func() { ended <- off(h) }()
	r.converged(b, others...)
	without := time.Since(at)
	must(b, <-ended)
	letPass(b, 500*time.Millisecond)
	back := time.Now()
	must(b, on(h))
	r.converged(b, r.Hosts...)
	again := time.Since(back)
	letPass(b, 500*time.Millisecond)
	report := stop(b, run)
	_, gap := report.LongestGap()
	return costs{
		gap: sample{gap}, without: sample{without}, again: sample{again},
		failed: len(report.Failed()), resent: report.Resent(),
	}
}
