// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// A host whose cable was pulled must not serve all clients in the moment after it is back, as a host that converged alone
// behind a switch has to.
func TestPulledCable(t *testing.T) {
	s := cluster(t, 3)
	h := s.hosts[0]
	s.disconnect(h, true, true)
	s.step(h, Carrier{})
	if h.filter.LeaseUntil != 0 || h.view.State != StateDisconnected || h.view.Members != heartbeat.SetOf(1) {
		t.Errorf("without a carrier: lease %v, %v with members %s", h.filter.LeaseUntil, h.view.State, list(h.view.Members))
	}
	before := h.sent
	s.run(s.now + 3*s.timeout())
	if h.sent != before || h.filter.LeaseUntil != 0 {
		t.Errorf("after a while: heartbeats %d..%d, lease %v", before, h.sent, h.filter.LeaseUntil)
	}
	s.disconnect(h, false, false)
	s.step(h, Carrier{Up: true})
	for end := s.now + s.timeout(); s.now < end; s.run(s.now + s.minDelay) {
		for _, o := range s.hosts[1:] {
			if twice := s.accepts(h, 1) & s.accepts(o, 1); twice != 0 {
				t.Fatalf("host %d is back and accepts %v, and so does host %d", h.id, twice, o.id)
			}
		}
	}
	s.settle(t)
}

// Alone, too: it listens first whether there is anybody.
func TestPulledCableOfLoneHost(t *testing.T) {
	s := cluster(t, 1)
	h := s.hosts[0]
	s.step(h, Carrier{})
	s.step(h, Carrier{Up: true})
	s.run(s.now + s.timeout() - s.period/2)
	if h.filter.LeaseUntil != 0 || h.view.State != StateConverging {
		t.Errorf("just back: lease %v, %v", h.filter.LeaseUntil, h.view.State)
	}
	s.settle(t)
	if h.filter.Accept[0] != bucket.All {
		t.Errorf("accepts %v", h.filter.Accept[0])
	}
}

// There is nobody to hand over to.
func TestLeaveWithoutCarrier(t *testing.T) {
	s := cluster(t, 2)
	h := s.hosts[1]
	s.disconnect(h, true, true)
	s.step(h, Carrier{})
	s.step(h, Leave{})
	if !h.left || h.view.State != StateStopped {
		t.Errorf("left %t, %v", h.left, h.view.State)
	}
}
