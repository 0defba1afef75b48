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
// and give up after 500 ms, before they would send a SYN again. It reports what the worst-off client saw, how many
// connections failed, and how long it took until the hosts that are left, and then all of them again, said that
// they had converged. Default heartbeats.
func BenchmarkFailover(b *testing.B) {
	for _, way := range []struct {
		name     string
		off, on  func(*Host) error
		lossless bool
	}{
		{"HostCrash", (*Host).PowerOff, (*Host).PowerOn, false},
		{"AgentCrash", (*Host).Kill, (*Host).Start, false},
		{"Leave", (*Host).Stop, (*Host).Start, true},
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
			b.ReportMetric(float64(all.failedAway)/float64(len(all.gap)), "failed-away/op")
			b.ReportMetric(float64(all.failedBack)/float64(len(all.gap)), "failed-back/op")
			b.ReportMetric(0, "ns/op")
			if way.lossless && all.failedAway > 0 {
				b.Errorf("%d connections failed", all.failedAway)
			}
		})
	}
}

// costs of failovers: the worst client's gap, the time to converge without the host and with it again, and the
// connections that failed after it went and after it came back.
type costs struct {
	gap, without, again    sample
	failedAway, failedBack int
}

func (c *costs) add(o costs) {
	c.gap, c.without, c.again = append(c.gap, o.gap...), append(c.without, o.without...), append(c.again, o.again...)
	c.failedAway, c.failedBack = c.failedAway+o.failedAway, c.failedBack+o.failedBack
}

// failover takes a host away and brings it back, and says what that cost.
func failover(b *testing.B, r *Rig, h *Host, off, on func(*Host) error) costs {
	b.Helper()
	run, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Interval: 50 * time.Millisecond, Timeout: 500 * time.Millisecond,
	})
	must(b, err)
	time.Sleep(500 * time.Millisecond)
	others := slices.DeleteFunc(slices.Clone(r.Hosts), func(o *Host) bool { return o == h })
	ended := make(chan error, 1)
	at := time.Now()
	go func() { ended <- off(h) }()
	r.converged(b, others...)
	without := time.Since(at)
	must(b, <-ended)
	time.Sleep(500 * time.Millisecond)
	back := time.Now()
	must(b, on(h))
	r.converged(b, r.Hosts...)
	again := time.Since(back)
	time.Sleep(500 * time.Millisecond)
	report := stop(b, run)
	_, gap := report.LongestGap()
	c := costs{gap: sample{gap}, without: sample{without}, again: sample{again}}
	for _, a := range report.Failed() {
		if a.Start.Before(back) {
			c.failedAway++
		} else {
			c.failedBack++
		}
	}
	return c
}
