// SPDX-License-Identifier: Apache-2.0

package host

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// handshakeLimit is how long a handshake that was under way when the drain began may take. What is half open then is
// dead, or was never meant to open: a SYN flood must not keep a host from stopping.
const handshakeLimit = 10 * time.Second

// drain follows a "drainstop": the host takes no new connections, and stops when the last one has
// ended (Microsoft KB242242), or when the time for that is over.
type drain struct {
	wanted  bool
	stopped bool
	since   time.Duration
	timeout time.Duration
}

// set takes what the plan wants. A drain that is under way, or over, goes on from where it was.
func (d *drain) set(p *plan.Plan, now time.Duration) {
	wanted := p.DesiredState == v1alpha1.DesiredStateDrained
	if wanted != d.wanted {
		*d = drain{wanted: wanted, since: now}
	}
	d.timeout = p.DrainTimeout
}

// adminState is the state the host shall have: a drained host whose connections have ended is stopped.
func (d *drain) adminState(p *plan.Plan) convergence.AdminStateChanged {
	if d.stopped {
		return convergence.AdminStateChanged{State: convergence.Stopped}
	}
	return convergence.AdminStateChanged{State: p.AdminState()}
}

// over reports, once, that a drain has come to its end.
func (d *drain) over(now time.Duration, state convergence.State, connections, halfOpen int) bool {
	if !d.wanted || d.stopped || state != convergence.StateDraining {
		return false
	}
	idle := connections == 0 && (halfOpen == 0 || now-d.since >= handshakeLimit)
	d.stopped = idle || d.timeout > 0 && now-d.since >= d.timeout
	return d.stopped
}
