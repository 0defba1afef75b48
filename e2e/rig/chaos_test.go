// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

var (
	chaosSeed  = flag.Uint64("chaos.seed", 0, "seed of TestChaos; 0 takes one of the clock")
	chaosSteps = flag.Int("chaos.steps", 20, "how many faults and repairs TestChaos plays")
)

// fault is something that happens to a host, and what puts it right.
type fault struct {
	name         string
	begin, amend func(*Host) error
}

// monkey breaks hosts of a rig and mends them, no more than two at a time.
type monkey struct {
	r      *Rig
	t      *testing.T
	random *rand.Rand
	faults []fault
	broken map[*Host]fault
}

func newMonkey(t *testing.T, r *Rig, seed uint64) *monkey {
	m := &monkey{r: r, t: t, random: rand.New(rand.NewPCG(seed, 0)), broken: map[*Host]fault{}}
	asked := func(state v1alpha1.DesiredState) func(*Host) error {
		return func(h *Host) error {
			r.config(h).DesiredState = state
			return r.WriteCluster()
		}
	}
	m.faults = []fault{
		{"agent crashes", (*Host).Kill, (*Host).Start},
		{"agent ends", (*Host).Stop, (*Host).Start},
		{"agent freezes", (*Host).Freeze, (*Host).Thaw},
		{"cable is cut", (*Host).Cut, (*Host).Mend},
		{"heartbeats are lost", (*Host).Mute, (*Host).Unmute},
		{"power fails", (*Host).PowerOff, (*Host).PowerOn},
		{"is stopped", asked(v1alpha1.DesiredStateStopped), asked("")},
		{"is drained", asked(v1alpha1.DesiredStateDrained), asked("")},
		{"gets another weight", m.reweigh, m.reweigh},
	}
	return m
}

func (m *monkey) reweigh(h *Host) error {
	m.r.config(h).Rules = []v1alpha1.HostRule{{Name: "http", LoadWeight: new(25 + m.random.Int32N(76))}}
	return m.r.WriteCluster()
}

// step breaks a host that is whole, or mends one that is not.
func (m *monkey) step() {
	h := m.r.Hosts[m.random.IntN(len(m.r.Hosts))]
	if _, is := m.broken[h]; is {
		m.mend(h)
		return
	}
	if len(m.broken) == 2 {
		return
	}
	f := m.faults[m.random.IntN(len(m.faults))]
	m.t.Logf("%s %s: %s", time.Now().Format("05.000"), h.Name, f.name)
	must(m.t, f.begin(h))
	m.broken[h] = f
}

func (m *monkey) mend(h *Host) {
	m.t.Logf("%s %s is mended: %s", time.Now().Format("05.000"), h.Name, m.broken[h].name)
	must(m.t, m.broken[h].amend(h))
	delete(m.broken, h)
}

// A random history of faults, repairs and changes of config, on real agents: no connection is ever accepted by two hosts,
// a host lists itself in every state, and once all is mended each bucket has one owner and each client an answer.
func TestChaos(t *testing.T) {
	needTool(t, "nft")
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-chaos.seed %d -chaos.steps %d", seed, *chaosSteps)
	r := startRig(t, 4, nil)
	c, err := r.StartCapture()
	must(t, err)
	run := probing(t, r)
	m := newMonkey(t, r, seed)
	for range *chaosSteps {
		m.step()
		letPass(t, time.Duration(m.random.Int64N(int64(1500*time.Millisecond))))
		m.listThemselves()
	}
	for _, h := range r.Hosts {
		if _, is := m.broken[h]; is {
			m.mend(h)
		}
	}
	r.converged(t, r.Hosts...)
	must(t, poll(soon(t, waitLimit), func() error { return r.eachBucketOnce(t.Context()) }))
	report := stop(t, run)
	frames, err := c.Stop()
	must(t, err)
	r.onceAccepted(t, frames)
	t.Logf("%d of %d attempts failed", len(report.Failed()), len(report.Attempts))

	report, err = r.Do(Load{Target: vipPort(HTTPPort), Clients: Clients, Connections: 1, Timeout: 10 * time.Second})
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); len(got) != len(r.Hosts) {
		t.Errorf("answers by host: %v, want all", got)
	}
}

// listThemselves checks the hosts whose agents answer: the second face of Q228942.
func (m *monkey) listThemselves() {
	for _, h := range m.r.Hosts {
		if m.broken[h].name == "agent freezes" {
			continue
		}
		is, err := h.Query(m.t.Context())
		if err == nil && !slices.Contains(is.Status.Members, int32(h.ID)) {
			m.t.Errorf("%s is %s and its own list is %v", h.Name, is.Status.State, is.Status.Members)
		}
	}
}

// eachBucketOnce returns an error unless the hosts' reports add up.
func (r *Rig) eachBucketOnce(ctx context.Context) error {
	owned := map[string]uint64{}
	for _, h := range r.Hosts {
		is, err := h.Query(ctx)
		if err != nil {
			return err
		}
		for _, b := range is.Status.Buckets {
			own, err := strconv.ParseUint(b.Map, 16, 64)
			if err != nil {
				return fmt.Errorf("%s: buckets of %s: %w", h.Name, b.Rule, err)
			}
			if twice := owned[b.Rule] & own; twice != 0 {
				return fmt.Errorf("%s: buckets %x of %s have another owner too", h.Name, twice, b.Rule)
			}
			owned[b.Rule] |= own
		}
	}
	var errs []error
	for rule, got := range owned {
		if got != 1<<60-1 {
			errs = append(errs, fmt.Errorf("of %s only %x is owned", rule, got))
		}
	}
	if len(owned) == 0 {
		errs = append(errs, errors.New("nobody reports buckets"))
	}
	return errors.Join(errs...)
}
