// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

var (
	seedFlag      = flag.Uint64("convergence.seed", 0, "run only the history of this seed, and print its trace with -v")
	firstFlag     = flag.Uint64("convergence.first", 1, "seed of the first random history")
	historiesFlag = flag.Uint64("convergence.histories", 10_000, "number of random histories")
)

// history makes a random history from its seed: a cluster that starts, a few seconds of
// disturbance, then rest.
func history(seed uint64, broken rule) *simulation {
	rng := rand.New(rand.NewPCG(seed, 0x5EED))
	n := 2 + rng.IntN(4)
	switch r := rng.IntN(1000); {
	case r < 2:
		n = 24 + rng.IntN(9)
	case r < 40:
		n = 6 + rng.IntN(7)
	}
	s := newSimulation(seed, n)
	s.rng, s.broken = rng, broken
	s.tolerance = 3 + s.rng.IntN(3)
	if s.rng.IntN(2) == 0 {
		s.loss = s.rng.Float64() * 0.3
		s.dup = s.rng.Float64() * 0.2
	}
	if s.rng.IntN(3) == 0 {
		s.maxDelay = time.Duration(s.rng.Int64N(int64(100 * time.Millisecond)))
		s.maxDelay = max(s.maxDelay, s.minDelay)
	}
	if s.rng.IntN(30) == 0 { // two hosts with one ID
		a, b := s.hosts[0], s.hosts[1+s.rng.IntN(n-1)]
		b.id, a.twin, b.twin = a.id, true, true
	}
	for _, h := range s.hosts {
		h.rate = 1 + (s.rng.Float64()-0.5)/100
		h.sweepAt = time.Duration(s.rng.Int64N(int64(time.Second)))
		s.sweeps(h, h.sweepAt)
	}
	s.setup = s.clusterLine()
	for _, h := range s.hosts {
		if s.rng.IntN(3) == 0 {
			s.setOwnPart(h)
		}
		s.at(time.Duration(s.rng.Int64N(int64(time.Second))), func() { s.start(h) })
	}
	return s
}

// setOwnPart gives a host other weights and states.
func (s *simulation) setOwnPart(h *simHost) {
	p := h.policy
	for _, slot := range []int{0, 2} {
		p.Slots[slot].Weight = uint32(s.rng.IntN(5) * 25)
		p.Slots[slot].State = heartbeat.Enabled
		if s.rng.IntN(5) == 0 {
			p.Slots[slot].State = heartbeat.Drained
		}
	}
	p.Slots[1].Priority = uint8(s.rng.IntN(8)) // at times that of another
	s.offer(h, p)
}

// any returns a random host.
func (s *simulation) any() *simHost { return s.hosts[s.rng.IntN(len(s.hosts))] }

func (s *simulation) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rng.Int64N(int64(d)))
}

// disturb does one random thing to the cluster.
func (s *simulation) disturb() {
	h := s.any()
	timeout := s.period * time.Duration(s.tolerance)
	switch s.rng.IntN(21) {
	case 0:
		s.stop(h, true)
		s.at(s.now+s.upTo(3*timeout), func() { s.start(h) })
	case 1:
		s.stop(h, false)
		s.at(s.now+s.upTo(3*timeout), func() { s.start(h) })
	case 2, 3:
		s.freeze(h, s.upTo(3*timeout))
	case 4: // one-way link
		a, b := s.any(), s.any()
		s.cutFor(a, b, s.upTo(4*timeout))
	case 5: // a link between two that both have to the others
		a, b := s.any(), s.any()
		d := s.upTo(4 * timeout)
		s.cutFor(a, b, d)
		s.cutFor(b, a, d)
	case 6: // mute or deaf NIC
		d, mute := s.upTo(4*timeout), s.rng.IntN(2) == 0
		for _, o := range s.hosts {
			if mute {
				s.cutFor(h, o, d)
			} else {
				s.cutFor(o, h, d)
			}
		}
	case 7, 8, 9: // partition
		s.partition(s.upTo(5 * timeout))
	case 10: // a new config reaches the hosts one after the other
		version := 1 + s.rng.IntN(7)
		for _, o := range s.hosts {
			s.at(s.now+s.upTo(timeout), func() { s.setVersion(o, version) })
		}
	case 11:
		s.setOwnPart(h)
	case 12: // stop and start again
		s.setAdmin(h, Stopped)
		s.at(s.now+s.upTo(4*timeout), func() { s.setAdmin(h, Started) })
	case 13:
		s.setAdmin(h, []AdminState{Started, Drained}[s.rng.IntN(2)])
	case 14:
		loss := s.loss
		s.setLoss(s.rng.Float64() * 0.7)
		s.at(s.now+s.upTo(3*timeout), func() { s.setLoss(loss) })
	case 16, 17:
		s.restart(h, s.upTo(4*timeout), s.upTo(3*timeout))
	case 18:
		s.setTransmit(h, false)
		s.at(s.now+s.upTo(3*timeout), func() { s.setTransmit(h, true) })
	case 19: // other timing reaches the hosts one after the other
		t := Timing{Period: s.period/2 + s.upTo(s.period), Tolerance: 3 + s.rng.IntN(3)}
		for _, o := range s.hosts {
			s.at(s.now+s.upTo(timeout), func() { s.setTiming(o, t) })
			back := s.now + 2*timeout + s.upTo(timeout)
			s.at(back, func() { s.setTiming(o, Timing{Period: s.period, Tolerance: s.tolerance}) })
		}
	case 20:
		s.unplug(h, s.upTo(4*timeout))
	case 15: // leave for good, then the agent starts anew
		s.leave(h)
		s.at(s.now+3*timeout, func() { s.stop(h, false); s.start(h) })
	}
}

// storm cuts links for about as long as hosts wait for each other, and lets agents sleep that long.
func (s *simulation) storm() {
	timeout := s.period * time.Duration(s.tolerance)
	d := timeout/2 + s.upTo(timeout)
	a, b := s.any(), s.any()
	switch s.rng.IntN(4) {
	case 0:
		s.cutFor(a, b, d)
	case 1:
		s.cutFor(a, b, d)
		s.cutFor(b, a, d+s.upTo(s.period))
	case 2:
		s.partition(d)
	case 3:
		s.freeze(a, d)
	}
}

// unplug takes a host's carrier away. Its agent notices a little later.
func (s *simulation) unplug(h *simHost, d time.Duration) {
	for _, o := range s.hosts {
		s.cutFor(h, o, d)
		s.cutFor(o, h, d)
	}
	down := s.upTo(s.period)
	s.at(s.now+down, func() { h.unplugs++; s.setCarrier(h, false) })
	s.at(s.now+max(d, down)+s.upTo(s.period), func() { h.unplugs--; s.setCarrier(h, h.unplugs == 0) })
}

// partition splits the hosts in two, in both directions or, at times, in one.
func (s *simulation) partition(d time.Duration) {
	side := make([]bool, len(s.hosts))
	for i := range side {
		side[i] = s.rng.IntN(2) == 0
	}
	oneWay := s.rng.IntN(4) == 0
	lag := time.Duration(0)
	if s.rng.IntN(2) == 0 {
		lag = s.upTo(s.period)
	}
	for i, a := range s.hosts {
		for j, b := range s.hosts {
			switch {
			case side[i] && !side[j]:
				s.cutFor(a, b, d)
			case !side[i] && side[j] && !oneWay:
				s.cutFor(a, b, d+lag)
			}
		}
	}
}

// settleTime is how long a cluster may need, once everything stands still and is connected, for
// whatever was before.
func (s *simulation) settleTime() time.Duration { return 10 * s.period * time.Duration(s.tolerance) }

// play runs the history to its end and reports the first violation.
func (s *simulation) play() error {
	disturbances, pause, disturb := 1+s.rng.IntN(6), 1500*time.Millisecond, s.disturb
	if s.rng.IntN(10) == 0 {
		disturbances, pause, disturb = 10+s.rng.IntN(20), 300*time.Millisecond, s.storm
	}
	t := time.Second + s.upTo(2*time.Second)
	for range disturbances {
		s.at(t, disturb)
		t += s.upTo(pause)
	}
	s.run(t)
	s.rest()
	return s.failure
}

// rest heals everything, waits, and checks.
func (s *simulation) rest() {
	timeout := s.period * time.Duration(s.tolerance)
	end := s.now + 5*timeout + time.Millisecond // all that disturb does ends by then
	s.run(end)
	if s.failure != nil {
		return
	}
	s.log("rest")
	s.calm()
	version := s.hosts[0].policy.Generation
	for _, h := range s.hosts {
		s.start(h)
		if h.policy.Generation != version {
			s.setVersion(h, int(version))
		}
		s.setTiming(h, Timing{Period: s.period, Tolerance: s.tolerance})
	}
	s.run(s.now + s.settleTime())
	if s.failure == nil {
		s.checkSettled()
	}
}

func TestRandomHistories(t *testing.T) {
	if *seedFlag != 0 {
		s := history(*seedFlag, noRule)
		if testing.Verbose() {
			s.trace = t.Output()
		}
		if err := s.play(); err != nil {
			t.Fatalf("seed %d: %v\n%s", *seedFlag, err, s.scenario())
		}
		return
	}
	n := *historiesFlag
	if testing.Short() {
		n = min(n, 500)
	}
	percent := debug.SetGCPercent(800) // most of what a history allocates is garbage at once
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	const chunk = 250
	var failed atomic.Int32
	for first := *firstFlag; first < *firstFlag+n; first += chunk {
		last := min(first+chunk, *firstFlag+n) - 1
		t.Run(fmt.Sprintf("%d-%d", first, last), func(t *testing.T) {
			t.Parallel()
			playAll(t, first, last, &failed)
		})
	}
}

// playAll plays histories until ten have failed, in all chunks together.
func playAll(t *testing.T, first, last uint64, failed *atomic.Int32) {
	t.Helper()
	steps, frames := 0, 0
	for seed := first; seed <= last && failed.Load() < 10; seed++ {
		s := history(seed, noRule)
		if err := s.play(); err != nil {
			failed.Add(1)
			t.Errorf("seed %d (%d hosts): %v; replay with -run TestRandomHistories -convergence.seed %d -v",
				seed, len(s.hosts), err, seed)
			t.Logf("as a scenario:\n%s", s.scenario())
		}
		steps, frames = steps+s.steps, frames+s.frames
	}
	t.Logf("%d steps, %d heartbeats", steps, frames)
}
