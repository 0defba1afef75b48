// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Load says what the rig's clients do. Each client address works on its own, all at the same time.
type Load struct {
	// Target is address and port to connect to. Clients use their addresses of its family.
	Target netip.AddrPort
	// Clients is how many client addresses take part, from First on.
	First, Clients int
	// Remote makes the clients come from beyond the segment, each from a network of its own: see RemoteAddr and
	// RemoteAddr6.
	Remote bool
	// Connections is how many connections each client makes; 0 means until Stop, at most for Limit.
	Connections int
	// Interval between a client's connections, or between lines with Hold. A new connection does not wait for the last.
	Interval time.Duration
	// Timeout of one connection or line.
	Timeout time.Duration
	// Hold keeps one connection per client and sends a line on it every interval.
	Hold bool
	// UDP sends a datagram instead of connecting.
	UDP bool
	// Size of a line in bytes, at most 60,000; 0 means a few. Datagrams beyond the MTU are fragmented.
	Size int
	// Header is put into every packet of the clients; empty means none.
	Header Header
	// Limit ends the load in any case; 0 means a minute.
	Limit time.Duration
}

// Attempt is one connection of a client, or one line of a held one.
type Attempt struct {
	// Client is the address, Port the port it came from.
	Client netip.Addr
	Port   uint16
	// Start is when it began, Took how long it was until the answer.
	Start time.Time
	Took  time.Duration
	// Host answered. Error says why none did.
	Host, Error string
}

// Report lists what the clients saw, in no order.
type Report struct {
	Attempts []Attempt
}

// Running is a load under way.
type Running struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   chan result
}

type result struct {
	report Report
	err    error
}

// StartLoad starts the clients.
func (r *Rig) StartLoad(l Load) (*Running, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv("client", l)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	if err := r.Client.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	run := &Running{cmd: cmd, stdin: stdin, out: make(chan result, 1)}
	go func() {
		var res result
		decodeErr := json.NewDecoder(stdout).Decode(&res.report)
		res.err = errors.Join(decodeErr, cmd.Wait())
		run.out <- res
	}()
	return run, nil
}

// Stop ends a load and returns what the clients saw.
func (r *Running) Stop() (Report, error) {
	_ = r.stdin.Close()
	return r.Wait()
}

// Wait waits for the end of a load that has a number of connections.
func (r *Running) Wait() (Report, error) {
	res := <-r.out
	if res.err != nil {
		return Report{}, fmt.Errorf("clients: %w", res.err)
	}
	return res.report, nil
}

// Do runs a load to its end.
func (r *Rig) Do(l Load) (Report, error) {
	run, err := r.StartLoad(l)
	if err != nil {
		return Report{}, err
	}
	return run.Wait()
}

// Failed returns the attempts that no host answered.
func (r Report) Failed() []Attempt {
	var out []Attempt
	for _, a := range r.Attempts {
		if a.Error != "" {
			out = append(out, a)
		}
	}
	return out
}

// Resent counts the attempts that were answered after their SYN was sent again, which Linux does after a second.
func (r Report) Resent() int {
	const nearly = 900 * time.Millisecond
	n := 0
	for _, a := range r.Attempts {
		if a.Error == "" && a.Took > nearly {
			n++
		}
	}
	return n
}

// ByHost counts the answers by host.
func (r Report) ByHost() map[string]int {
	out := map[string]int{}
	for _, a := range r.Attempts {
		if a.Error == "" {
			out[a.Host]++
		}
	}
	return out
}

// HostOf returns the host that first answered each client.
func (r Report) HostOf() map[netip.Addr]string {
	first := map[netip.Addr]Attempt{}
	for _, a := range r.Attempts {
		if was, ok := first[a.Client]; a.Error == "" && (!ok || a.Start.Before(was.Start)) {
			first[a.Client] = a
		}
	}
	out := map[netip.Addr]string{}
	for c, a := range first {
		out[c] = a.Host
	}
	return out
}

// LongestGap returns the longest time between two successive answers that one client got: the outage that it
// saw, to the exactness of the load's interval. The starts of attempts would not do: a SYN that is sent
// again and answered after the outage began within it.
func (r Report) LongestGap() (client netip.Addr, gap time.Duration) {
	byClient := map[netip.Addr][]time.Time{}
	for _, a := range r.Attempts {
		if a.Error == "" {
			byClient[a.Client] = append(byClient[a.Client], a.Start.Add(a.Took))
		}
	}
	for c, times := range byClient {
		sortTimes(times)
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d > gap {
				client, gap = c, d
			}
		}
	}
	return client, gap
}
