// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// begin makes the state machine: the one that an agent before this one held its place with,
// else that of a new incarnation.
func (m *member) begin() error {
	before, _, err := m.agent.state.load()
	if err != nil {
		m.log.Error("Last config lost", "error", err)
	}
	if before.InForce != nil {
		m.adopt(*before.InForce)
	}
	m.incarnation = max(uint64(time.Now().UnixNano()), before.Incarnation+1)
	settings, err := m.settings()
	if err != nil {
		return err
	}
	machine, had := m.restore(settings)
	if machine == nil {
		m.inForce = nil
		machine = convergence.New(settings, filter.Now())
	}
	m.machine = machine
	settings.Incarnation = machine.Incarnation()
	if m.clients, err = newClients(m.offered, settings, m.node.filter, m.log); err != nil {
		return err
	}
	m.clients.gate.Keep(had)
	return m.agent.state.save(m.saved())
}

// adopt takes note of what the filter worked by when the last agent ended.
func (m *member) adopt(inForce plan.Config) {
	p, err := plan.New(inForce)
	if err != nil {
		m.log.Error("Last config in force lost", "error", err)
		return
	}
	m.node.vips = p.VIPs // those that the config has no more are to go
	if _, offered := m.plans[p.Digest]; !offered {
		m.plans[p.Digest] = p
	}
	m.inForce = m.plans[p.Digest]
}

func (m *member) settings() (convergence.Settings, error) {
	var code [4]byte
	if _, err := rand.Read(code[:]); err != nil {
		return convergence.Settings{}, fmt.Errorf("host code: %w", err)
	}
	return m.offered.Settings(m.node.iface.Addr.Addr(), m.incarnation, binary.LittleEndian.Uint32(code[:])), nil
}

// restore returns the machine that goes on where the last agent stopped, and the buckets that it has, or nil if there is none.
func (m *member) restore(settings convergence.Settings) (*convergence.Machine, bucket.Table) {
	snapshot, err := m.agent.state.takeSnapshot()
	if err != nil || snapshot == nil {
		if err != nil {
			m.log.Error("Starting anew", "error", err)
		}
		return nil, bucket.Table{}
	}
	machine, err := convergence.Restore(settings, snapshot, filter.Now())
	if err != nil {
		m.log.Info("Starting anew", "reason", err)
		return nil, bucket.Table{}
	}
	d := machine.Step(filter.Now(), convergence.Tick{}).Decision
	if m.inForce == nil || d.Policy != m.inForce.Digest {
		m.log.Info("Starting anew", "reason", "the config in force was not saved")
		return nil, bucket.Table{}
	}
	m.log.Info("Going on where the last agent stopped")
	return machine, d.Accept
}

func (m *member) saved() saved {
	s := saved{Config: m.offered.Config, Incarnation: m.incarnation}
	if m.inForce != nil {
		s.InForce = &m.inForce.Config
	}
	return s
}

// save keeps what a restarted agent needs. Serving goes on without.
func (m *member) save() {
	if err := m.agent.state.save(m.saved()); err != nil {
		m.log.Error("Config not saved, a restarted agent starts from an older one", "error", err)
	}
}
