// SPDX-License-Identifier: Apache-2.0

package convergence

// rule is a rule of the protocol on which S1 rests, see docs/convergence.md. Tests break one at a
// time to show that the random histories notice. A Machine from New breaks none.
type rule uint8

const (
	noRule rule = iota
	// ruleAcknowledge: a round is committed after all its members acknowledged it.
	ruleAcknowledge
	// ruleFenceOutsiders: a round is acknowledged after all hosts outside it that hear this one
	// yielded to it.
	ruleFenceOutsiders
	// ruleReleaseFirst: what a round takes from a host is released with the acknowledgement, not
	// with the commit.
	ruleReleaseFirst
	// ruleLease: the filter stops by itself, before peers take over from a host that they do not hear.
	ruleLease
	// ruleYield: of two groups that come to hear each other, one gives everything up.
	ruleYield
	// ruleMask: until it did, the other one does not accept what it still accepts.
	ruleMask
)

// enforced reports whether this host keeps to a rule.
func (m *Machine) enforced(r rule) bool { return m.broken != r }
