// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"flag"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

var (
	seedFlag      = flag.Uint64("convergence.seed", 0, "run only the history of this seed, and print its trace with -v")
	firstFlag     = flag.Uint64("convergence.first", 1, "seed of the first random history")
	historiesFlag = flag.Uint64("convergence.histories", 10_000, "number of random histories")
)

// history makes a random history from its seed: a cluster that starts, a few seconds of disturbance, then rest.
func history(seed uint64, broken rule) *simulation {
	s := newSimulation(seed, 0)
	n := 2 + s.rng.IntN(4)
	switch r := s.rng.IntN(1000); {
	case r < 2:
		n = 24 + s.rng.IntN(9)
	case r < 40:
		n = 6 + s.rng.IntN(7)
	}
	rng := s.rng
	s = newSimulation(seed, n)
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
		if s.rng.IntN(3) == 0 {
			s.setOwnPart(h)
		}
		s.at(time.Duration(s.rng.Int64N(int64(time.Second))), func() { s.start(h) })
		s.sweeps(h, time.Duration(s.rng.Int64N(int64(time.Second))))
	}
	return s
}

// sweeps has a host look for its connections every second.
func (s *simulation) sweeps(h *simHost, at time.Duration) {
	s.at(at, func() {
		s.sweep(h)
		s.sweeps(h, s.now+time.Second)
	})
}

// setOwnPart gives a host other weights and states.
func (s *simulation) setOwnPart(h *simHost) {
	for _, slot := range []int{0, 2} {
		h.policy.Slots[slot].Weight = uint32(s.rng.IntN(5) * 25)
		h.policy.Slots[slot].State = heartbeat.Enabled
		if s.rng.IntN(5) == 0 {
			h.policy.Slots[slot].State = heartbeat.Drained
		}
	}
	h.policy.Slots[1].Priority = uint8(s.rng.IntN(8)) // at times that of another
}

// setVersion gives a host another policy and keeps its own part.
func (s *simulation) setVersion(h *simHost, version int) {
	p := testPolicy(version)
	for i := range p.Slots {
		p.Slots[i].Weight, p.Slots[i].Priority, p.Slots[i].State = h.policy.Slots[i].Weight, h.policy.Slots[i].Priority, h.policy.Slots[i].State
	}
	if version%2 == 0 && h.policy.Slots[2].Weight == 0 {
		p.Slots[2].Weight = 50
	}
	h.policy = p
	s.step(h, Offer{Policy: p})
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
		s.step(h, Offer{Policy: h.policy})
	case 12: // stop and start again
		h.admin = Stopped
		s.step(h, AdminStateChanged{State: Stopped})
		s.at(s.now+s.upTo(4*timeout), func() { h.admin = Started; s.step(h, AdminStateChanged{State: Started}) })
	case 13:
		h.admin = []AdminState{Started, Drained}[s.rng.IntN(2)]
		s.step(h, AdminStateChanged{State: h.admin})
	case 14:
		loss := s.loss
		s.loss = s.rng.Float64() * 0.7
		s.at(s.now+s.upTo(3*timeout), func() { s.loss = loss })
	case 16, 17:
		s.restart(h, s.upTo(4*timeout), s.upTo(3*timeout))
	case 18:
		h.deadTX = true
		s.at(s.now+s.upTo(3*timeout), func() { h.deadTX = false })
	case 19: // other timing reaches the hosts one after the other
		t := Timing{Period: s.period/2 + s.upTo(s.period), Tolerance: 3 + s.rng.IntN(3)}
		for _, o := range s.hosts {
			s.at(s.now+s.upTo(timeout), func() { s.setTiming(o, t) })
			s.at(s.now+2*timeout+s.upTo(timeout), func() { s.setTiming(o, Timing{Period: s.period, Tolerance: s.tolerance}) })
		}
	case 20:
		s.unplug(h, s.upTo(4*timeout))
	case 15: // leave for good, then the agent starts anew
		s.step(h, Leave{})
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

func (s *simulation) cutFor(from, to *simHost, d time.Duration) {
	s.log("cut %d -> %d for %v", from.id, to.id, d)
	s.cut[from.index][to.index]++
	s.at(s.now+d, func() { s.cut[from.index][to.index]-- })
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

// settleTime is how long a cluster may need, once everything stands still and is connected, for whatever was before.
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
	s.loss, s.dup = 0, 0
	s.maxDelay = min(s.maxDelay, 2*time.Millisecond)
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
			t.Fatalf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	n := *historiesFlag
	if testing.Short() {
		n = min(n, 500)
	}
	steps, frames, failed := 0, 0, 0
	for seed := *firstFlag; seed < *firstFlag+n; seed++ {
		s := history(seed, noRule)
		if err := s.play(); err != nil {
			t.Errorf("seed %d (%d hosts): %v; replay with -run TestRandomHistories -convergence.seed %d -v", seed, len(s.hosts), err, seed)
			if failed++; failed >= 10 {
				t.Fatalf("gave up after %d histories", seed-*firstFlag+1)
			}
		}
		steps, frames = steps+s.steps, frames+s.frames
	}
	t.Logf("%d histories, %d steps, %d heartbeats", n, steps, frames)
}
