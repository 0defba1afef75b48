// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The rig's own network, servers, clients, faults and capture work, without any agent.
func TestNetwork(t *testing.T) {
	r := newRig(t, 2, nil)
	for _, h := range r.Hosts {
		waitServer(t, r, h)
		report, err := r.Do(Load{Target: netip.AddrPortFrom(h.Addr, HTTPPort), Clients: 10, Connections: 2, Timeout: 5 * time.Second})
		must(t, err)
		none(t, report.Failed(), len(report.Attempts))
		if diff := cmp.Diff(map[string]int{h.Name: 20}, report.ByHost()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		report, err = r.Do(Load{Target: netip.AddrPortFrom(h.Addr, HTTPPort), Clients: 3, Connections: 1, UDP: true, Timeout: 5 * time.Second})
		must(t, err)
		none(t, report.Failed(), len(report.Attempts))
	}
	out, err := r.Client.Run("curl", "-s", "-m", "5", "http://"+r.Hosts[1].Addr.String()+"/")
	if err != nil && !strings.Contains(err.Error(), "executable file not found") || err == nil && out != "node-b\n" {
		t.Errorf("HTTP: %q, %v", out, err)
	}
}

func TestNothingIsLeftWhereNoAgentRan(t *testing.T) {
	r := newRig(t, 1, nil)
	left, err := r.Hosts[0].Leftovers()
	must(t, err)
	if len(left) > 0 {
		t.Errorf("leftovers: %v", left)
	}
	must(t, r.Hosts[0].StallEgress())
	if left, err = r.Hosts[0].Leftovers(); err != nil || len(left) == 0 {
		t.Errorf("a discipline is no leftover: %v, %v", left, err)
	}
}

func TestCutAndMend(t *testing.T) {
	r := newRig(t, 1, nil)
	h := r.Hosts[0]
	waitServer(t, r, h)
	load := Load{Target: netip.AddrPortFrom(h.Addr, HTTPPort), Clients: 1, Connections: 1, Timeout: 500 * time.Millisecond}
	must(t, h.Cut())
	if report, err := r.Do(load); err != nil || len(report.Failed()) != 1 {
		t.Errorf("through a cut cable: %+v, %v", report, err)
	}
	must(t, h.Mend())
	waitServer(t, r, h)
}

func TestGapIsWhatClientsSaw(t *testing.T) {
	r := newRig(t, 1, nil)
	h := r.Hosts[0]
	waitServer(t, r, h)
	run, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(h.Addr, HTTPPort), Clients: 5, Interval: 20 * time.Millisecond, Timeout: 200 * time.Millisecond,
	})
	must(t, err)
	letPass(t, 500*time.Millisecond)
	must(t, h.Cut())
	cut := time.Now()
	letPass(t, time.Second)
	outage := time.Since(cut)
	must(t, h.Mend())
	letPass(t, time.Second)
	report, err := run.Stop()
	must(t, err)
	// What comes on top, on a busy machine, is the time that mending and the next attempts take.
	if _, gap := report.LongestGap(); gap < outage-100*time.Millisecond || gap > outage+10*time.Second {
		t.Errorf("longest gap %v after an outage of %v", gap, outage)
	}
}

func TestCapture(t *testing.T) {
	needTool(t, "tshark")
	r := newRig(t, 1, nil)
	h := r.Hosts[0]
	waitServer(t, r, h)
	c, err := r.StartCapture()
	must(t, err)
	_, err = r.Do(Load{Target: netip.AddrPortFrom(h.Addr, HTTPPort), Clients: 1, Connections: 1, Timeout: 5 * time.Second})
	must(t, err)
	letPass(t, 100*time.Millisecond)
	frames, err := c.Stop()
	must(t, err)
	ports := map[string]int{}
	for _, f := range frames {
		ports[f.Port]++
		if f.Port == h.Port && !bytes.Equal(f.Source(), h.MAC) {
			t.Errorf("frame from %s through %s", f.Source(), f.Port)
		}
	}
	if ports["client"] == 0 || ports[h.Port] == 0 {
		t.Errorf("frames by port: %v", ports)
	}
	file := filepath.Join(t.TempDir(), "c.pcap")
	must(t, WritePcap(file, frames))
	if got := tshark(t, file, "tcp.flags.syn == 1", "ip.dst"); len(got) != 2 {
		t.Errorf("tshark sees SYNs to %v, want one each way", got)
	}
	fdb, err := r.FDB()
	must(t, err)
	if len(fdb[h.Port]) != 1 || !bytes.Equal(fdb[h.Port][0], h.MAC) {
		t.Errorf("bridge has %v at %s, want %s", fdb[h.Port], h.Port, h.MAC)
	}
}

func TestTwoRigsAtOnceAndNothingLeft(t *testing.T) {
	a, b := newRig(t, 2, nil), newRig(t, 2, nil)
	must(t, a.Close())
	waitServer(t, b, b.Hosts[1])
	must(t, b.Close())
	names, err := os.ReadDir("/run/netns")
	must(t, err)
	for _, n := range names {
		for _, r := range []*Rig{a, b} {
			if strings.HasPrefix(n.Name(), r.opts.Prefix+"-") {
				t.Errorf("namespace %s is left", n.Name())
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for _, r := range []*Rig{a, b} {
		if strings.Contains(string(mounts), r.bpffs()) {
			t.Errorf("%s is still mounted", r.bpffs())
		}
	}
}

// waitServer waits until the host's server answers.
func waitServer(t *testing.T, r *Rig, h *Host) {
	t.Helper()
	must(t, poll(soon(t, 10*time.Second), func() error {
		report, err := r.Do(Load{Target: netip.AddrPortFrom(h.Addr, HTTPPort), Clients: 1, Connections: 1})
		if err == nil {
			for _, a := range report.Failed() {
				err = errors.New(a.Error)
			}
		}
		return err
	}))
}

// tshark returns a field of all packets that match a display filter.
func tshark(t *testing.T, file, filter string, fields ...string) []string {
	t.Helper()
	args := []string{"-n", "-r", file, "-Y", filter, "-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := command("tshark", args...)
	must(t, err)
	return strings.Fields(out)
}
