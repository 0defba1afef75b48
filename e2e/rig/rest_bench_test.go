// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// restPeriod is how long agents are watched at rest.
const restPeriod = 10 * time.Second

// clockTick is the unit of CPU time in /proc/PID/stat, USER_HZ, which is 100 on all architectures that Go supports.
const clockTick = 10 * time.Millisecond

// BenchmarkAtRest reports what an agent of a converged cluster takes while no client comes: resident memory, and the share
// of one core.
func BenchmarkAtRest(b *testing.B) {
	for _, hosts := range []int{3, 8} {
		b.Run(fmt.Sprintf("Hosts%d", hosts), func(b *testing.B) {
			r := startRig(b, hosts, nil)
			r.converged(b, r.Hosts...)
			var memory uint64
			var cpu time.Duration
			for range b.N {
				before := cpuTime(b, r.Hosts[0].Agent().PID())
				letPass(b, restPeriod)
				cpu += cpuTime(b, r.Hosts[0].Agent().PID()) - before
				memory = max(memory, residentMemory(b, r.Hosts[0].Agent().PID()))
			}
			b.ReportMetric(float64(memory)/(1<<20), "MiB")
			b.ReportMetric(100*cpu.Seconds()/(float64(b.N)*restPeriod.Seconds()), "%core")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkClustersAtRest reports what the agents of three hosts take together, by how many clusters these are in, while no client
// comes.
func BenchmarkClustersAtRest(b *testing.B) {
	for _, clusters := range []int{1, 8, 20} {
		b.Run(fmt.Sprintf("Clusters%d", clusters), func(b *testing.B) {
			r := startClusters(b, 3, clusters, nil)
			used := func() (memory uint64, cpu time.Duration) {
				for _, h := range r.Hosts {
					memory += residentMemory(b, h.Agent().PID())
					cpu += cpuTime(b, h.Agent().PID())
				}
				return memory, cpu
			}
			var memory uint64
			var cpu time.Duration
			for range b.N {
				_, before := used()
				letPass(b, restPeriod)
				m, after := used()
				memory, cpu = max(memory, m), cpu+after-before
			}
			b.ReportMetric(float64(memory)/(1<<20), "MiB")
			b.ReportMetric(100*cpu.Seconds()/(float64(b.N)*restPeriod.Seconds()), "%core")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuTime is what a process has used so far: utime and stime, fields 14 and 15 of proc_pid_stat(5).
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	_, rest, _ := strings.Cut(string(content), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		must(b, err)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// residentMemory is the second field of proc_pid_statm(5), in bytes.
func residentMemory(b *testing.B, pid int) uint64 {
	b.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(b, err)
	pages, err := strconv.ParseUint(strings.Fields(string(content))[1], 10, 64)
	must(b, err)
	return pages * uint64(os.Getpagesize())
}
