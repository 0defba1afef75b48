// SPDX-License-Identifier: Apache-2.0

package host

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// begin makes the state machine: the one that the host before this one held its place with,
// else that of a new incarnation.
func (h *Host) begin() error {
	before := h.Store.Load()
	if before.InForce != nil {
		h.adopt(*before.InForce)
	}
	h.incarnation = max(uint64(time.Now().UnixNano()), before.Incarnation+1)
	settings, err := h.settings()
	if err != nil {
		return err
	}
	machine, had := h.restore(settings)
	if machine == nil {
		h.inForce = nil
		machine = convergence.New(settings, h.Now())
	}
	h.machine = machine
	settings.Incarnation = machine.Incarnation()
	if h.clients, err = newClients(h.offered, settings, h.Filter, h.Now, h.Log); err != nil {
		return err
	}
	h.clients.gate.Keep(had)
	h.save()
	return nil
}

// adopt takes note of what the filter worked by when the last agent ended.
func (h *Host) adopt(inForce plan.Config) {
	if inForce.Removed() {
		return
	}
	p, err := plan.New(inForce)
	if err != nil {
		h.Log.Error("Last config in force lost", "error", err)
		return
	}
	if _, offered := h.plans[p.Digest]; !offered {
		h.plans[p.Digest] = p
	}
	h.inForce = h.plans[p.Digest]
}

func (h *Host) settings() (convergence.Settings, error) {
	var code [4]byte
	if _, err := rand.Read(code[:]); err != nil {
		return convergence.Settings{}, fmt.Errorf("host code: %w", err)
	}
	var own netip.Addr
	if addresses := h.Node.Addresses(); len(addresses) > 0 {
		own = addresses[0]
	}
	return h.offered.Settings(own, h.incarnation, binary.LittleEndian.Uint32(code[:])), nil
}

// restore returns the machine that goes on where the last agent stopped, and the buckets that it has, or nil if there
// is none.
func (h *Host) restore(settings convergence.Settings) (*convergence.Machine, bucket.Table) {
	snapshot, err := h.Store.TakeSnapshot()
	if err != nil || snapshot == nil {
		if err != nil {
			h.Log.Error("Starting anew", "error", err)
		}
		return nil, bucket.Table{}
	}
	machine, err := convergence.Restore(settings, snapshot, h.Now())
	if err != nil {
		h.Log.Info("Starting anew", "reason", err)
		return nil, bucket.Table{}
	}
	lease, out := machine.LeaseUntil(), machine.Step(h.Now(), convergence.Tick{})
	if h.inForce == nil || out.Decision.Policy != h.inForce.Digest {
		h.Log.Info("Starting anew", "reason", "the config in force was not saved")
		return nil, bucket.Table{}
	}
	h.Log.Info("Going on where the last agent stopped")
	h.lease, h.out = lease, out
	return machine, out.Decision.Accept
}

// save keeps what a restarted agent needs. Serving goes on without.
func (h *Host) save() {
	s := Saved{Config: h.offered.Config, Incarnation: h.incarnation}
	if h.inForce != nil {
		s.InForce = &h.inForce.Config
	}
	if err := h.Store.Save(s); err != nil {
		h.Log.Error("Config not saved, a restarted agent starts from an older one", "error", err)
	}
}
