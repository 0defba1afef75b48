// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// newCluster makes the cluster of a scenario.
func newCluster(args []datadriven.CmdArg) (*simulation, error) {
	var hosts int
	seed := uint64(1)
	value := map[string]string{}
	for _, a := range args {
		value[a.Key] = strings.Join(a.Vals, ",")
	}
	var err error
	if hosts, err = strconv.Atoi(value["hosts"]); err != nil || hosts < 1 || hosts > heartbeat.MaxHosts {
		return nil, fmt.Errorf("cluster hosts=1..32: %q", value["hosts"])
	}
	if v := value["seed"]; v != "" {
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, err
		}
	}
	s := newSimulation(seed, hosts)
	for name, v := range value {
		switch name {
		case "hosts", "seed", "converged":
		case "tolerance":
			s.tolerance, err = strconv.Atoi(v)
		case "period":
			s.period, err = time.ParseDuration(v)
		case "loss", "dup", "delay":
			err = s.setNetwork(map[string]string{name: v})
		case "ids", "keys", "clocks", "sweeps":
			for i, v := range strings.Split(v, ",") {
				if i >= hosts {
					return nil, fmt.Errorf("%s: more than %d", name, hosts)
				}
				if err == nil {
					err = s.hosts[i].set(name, v)
				}
			}
		default:
			err = fmt.Errorf("no setting %q of a cluster", name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	s.markTwins()
	if value["sweeps"] != "" {
		for _, h := range s.hosts {
			s.sweeps(h, h.sweepAt)
		}
	}
	s.setup = s.clusterLine()
	return s, nil
}

// startAll starts all hosts and runs until they have converged.
func (s *simulation) startAll() {
	for _, h := range s.hosts {
		s.start(h)
	}
	s.run(s.now + 4*s.period*time.Duration(s.tolerance))
	s.checkSettled()
}

// set changes one setting of a host: its ID, the key of its cluster, the rate of its clock, or when
// it first looks for connections.
func (h *simHost) set(name, v string) error {
	var err error
	var n int
	switch name {
	case "ids":
		n, err = strconv.Atoi(v)
		h.id = uint8(n)
	case "keys":
		n, err = strconv.Atoi(v)
		h.clusterIP, h.clusterKey = [4]byte{}, uint32(n)
	case "clocks":
		h.rate, err = strconv.ParseFloat(v, 64)
	case "sweeps":
		h.sweepAt, err = time.ParseDuration(v)
	}
	return err
}

// markTwins finds hosts of one cluster with one ID.
func (s *simulation) markTwins() {
	for _, a := range s.hosts {
		for _, b := range s.hosts {
			a.twin = a.twin || a != b && a.id == b.id && a.clusterKey == b.clusterKey
		}
	}
}

// clusterLine is the command that makes this cluster.
func (s *simulation) clusterLine() string {
	var ids, clocks, sweeps []string
	for _, h := range s.hosts {
		ids = append(ids, strconv.Itoa(int(h.id)))
		clocks = append(clocks, strconv.FormatFloat(h.rate, 'g', -1, 64))
		sweeps = append(sweeps, h.sweepAt.String())
	}
	return fmt.Sprintf("cluster hosts=%d seed=%d tolerance=%d loss=%v dup=%v delay=%v ids=(%s) clocks=(%s) sweeps=(%s)",
		len(s.hosts), s.seed, s.tolerance, s.loss, s.dup, s.maxDelay,
		strings.Join(ids, ","), strings.Join(clocks, ","), strings.Join(sweeps, ","))
}

// scenario writes down what was done to a simulation until now, for a file in testdata.
func (s *simulation) scenario() string {
	var b strings.Builder
	command := func(text string) { fmt.Fprintf(&b, "%s\n----\n\n", text) }
	command(s.setup)
	now := time.Duration(0)
	for _, a := range s.actions {
		if a.at > now {
			command(fmt.Sprintf("run %v", a.at-now))
		}
		now = a.at
		command(a.text)
	}
	if s.now > now {
		command(fmt.Sprintf("run %v", s.now-now))
	}
	command("settled")
	return b.String()
}
