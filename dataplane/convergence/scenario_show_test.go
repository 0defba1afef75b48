// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// measure adds up for how long buckets have no owner, or two, in a stretch of time in which only
// leases end.
func (sc *scenario) measure(from, to time.Duration) {
	s := sc.s
	times := []time.Duration{from, to}
	for _, h := range s.hosts {
		if end := h.global(h.filter.LeaseUntil) - 1; h.hasFilter && h.filter.LeaseUntil != 0 && end > from && end < to {
			times = append(times, end)
		}
	}
	slices.Sort(times)
	for i := range times[1:] {
		s.now = times[i]
		unowned, shared := s.ownership()
		if unowned {
			sc.unowned += times[i+1] - times[i]
		}
		if shared {
			sc.shared += times[i+1] - times[i]
		}
	}
	s.now = from
}

// ownership reports whether some bucket of some kind of packets is accepted by no host now, or by two.
func (s *simulation) ownership() (unowned, shared bool) {
	for _, class := range packetClasses {
		var all bucket.Map
		for _, h := range s.hosts {
			own := s.accepts(h, class)
			shared = shared || own&all != 0
			all |= own
		}
		unowned = unowned || all != bucket.All
	}
	return unowned, shared
}

func (sc *scenario) ownership() {
	if sc.unowned > 0 {
		fmt.Fprintf(&sc.out, "buckets without an owner for %v\n", sc.unowned.Round(time.Microsecond))
	}
	if sc.shared > 0 {
		fmt.Fprintf(&sc.out, "buckets with two owners for %v\n",
			max(sc.shared.Round(time.Microsecond), time.Microsecond))
	}
}

// show prints what hosts say of themselves, and what their filters do.
func (sc *scenario) show(hosts []*simHost) {
	for _, h := range hosts {
		sc.showHost(h)
	}
}

func (sc *scenario) showHost(h *simHost) {
	s, v := sc.s, h.view
	if v == nil {
		fmt.Fprintf(&sc.out, "%s: not started yet\n", s.name(h))
		return
	}
	agent := ""
	switch {
	case h.m == nil:
		agent = " (agent down)"
	case h.frozen:
		agent = " (agent frozen)"
	}
	fmt.Fprintf(&sc.out, "%s: %s%s, members %s", s.name(h), v.State, agent, list(v.Members))
	if v.Committed != 0 {
		fmt.Fprintf(&sc.out, ", epoch %d of leader %d with %s", v.Epoch, v.Leader, list(v.Committed))
	}
	if v.Default != 0 {
		fmt.Fprintf(&sc.out, ", default host %d", v.Default)
	}
	fmt.Fprintf(&sc.out, ", %s", cmp.Or(v.Cause.String(), "no cause"))
	if v.PolicyInForce != 1 || v.PolicyOffered != 1 {
		fmt.Fprintf(&sc.out, ", policy %d of %d", v.PolicyInForce, v.PolicyOffered)
	}
	sc.out.WriteByte('\n')
	var accepts []string
	for _, class := range []uint64{1, 100, 101, 200, 999} {
		slot := slotOf(&h.filterRule, class)
		if n := s.accepts(h, class).Len(); n > 0 && (slot != bucket.DefaultSlot || class == 999) {
			accepts = append(accepts, fmt.Sprintf("%d %s", n, slotNames[slot]))
		}
	}
	if len(accepts) == 0 {
		accepts = []string{"nothing"}
	}
	fmt.Fprintf(&sc.out, "  accepts %s\n", strings.Join(accepts, ", "))
	for id, reason := range v.Stalled {
		if reason != 0 {
			fmt.Fprintf(&sc.out, "  host %d is stalled, reason %d\n", id, reason)
		}
	}
	for _, c := range v.Conflicts {
		fmt.Fprintf(&sc.out, "  %s of hosts %d (key %d) and %d (key %d): %s\n",
			c.Reason, c.Hosts[0], c.Keys[0], c.Hosts[1], c.Keys[1], c.Message)
	}
}

// slotNames are what scenarios call the slots of testPolicy.
var slotNames = map[int]string{0: "multiple", 1: "single", 2: "second", bucket.DefaultSlot: "default"}

// buckets prints which buckets of the first rule hosts accept, and in which of these peers may have
// connections.
func (sc *scenario) buckets(hosts []*simHost) {
	for _, h := range hosts {
		own := sc.s.accepts(h, 1)
		fmt.Fprintf(&sc.out, "%s: %s, busy %s\n", sc.s.name(h), ranges(own), ranges(own&h.filter.Busy[0]))
	}
}

// heartbeats prints how many heartbeats hosts sent since the command before, or since they were
// started.
func (sc *scenario) heartbeats(hosts []*simHost) {
	for _, h := range hosts {
		fmt.Fprintf(&sc.out, "%s: %d\n", sc.s.name(h), h.sent-sc.counted[h])
		sc.counted[h] = h.sent
	}
}

// ranges renders buckets as 0-4,7.
func ranges(m bucket.Map) string {
	var out []string
	for b := 0; b < bucket.Count; b++ {
		if !m.Has(b) {
			continue
		}
		first := b
		for b+1 < bucket.Count && m.Has(b+1) {
			b++
		}
		if first == b {
			out = append(out, strconv.Itoa(b))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", first, b))
		}
	}
	return cmp.Or(strings.Join(out, ","), "none")
}
