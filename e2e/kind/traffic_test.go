// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load says what clients outside the cluster do: new connections, one every interval, each with one request. None waits
// for the one before.
type load struct {
	target   netip.AddrPort
	interval time.Duration
	// timeout of one connection with its request. Below a second, a lost SYN is a failure, for it is repeated after that.
	timeout time.Duration
	// source is the client's address; the zero value leaves it to the routes.
	source netip.Addr
}

// attempt is one connection.
type attempt struct {
	start time.Time
	took  time.Duration
	// local is the client's end as the client knows it, seen the same as the server does.
	local, seen netip.AddrPort
	// node answered; err says why none did.
	node string
	err  error
}

// connectOne makes one connection, sends one request and reads the answer.
func connectOne(ctx context.Context, l load) attempt {
	a := attempt{start: time.Now()}
	a.err = a.run(ctx, l)
	a.took = time.Since(a.start)
	return a
}

func (a *attempt) run(ctx context.Context, l load) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var dialer net.Dialer
	if l.source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.source, 0))
	}
	conn, err := dialer.DialContext(ctx, "tcp", l.target.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("%v is no TCP address", conn.LocalAddr())
	}
	a.local = local.AddrPort()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	a.node, a.seen, err = ask(conn, bufio.NewReader(conn), l.target, "close")
	return err
}

// ask sends one request to the workload on an open connection and returns which node answered, and the client's address as
// the server sees it.
func ask(conn io.Writer, answers *bufio.Reader, target netip.AddrPort, connection string) (string, netip.AddrPort, error) {
	_, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n", target, connection)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	if response.StatusCode != http.StatusOK {
		return "", netip.AddrPort{}, errors.New(response.Status)
	}
	seen, err := netip.ParseAddrPort(response.Header.Get("X-Client-Address"))
	return strings.TrimSpace(string(body)), seen, err
}

// traffic is load that runs.
type traffic struct {
	cancel   context.CancelFunc
	ended    chan struct{}
	mu       sync.Mutex
	attempts []attempt
}

// start lets the load run until stop, at the latest until the test ends.
func (l load) start(t *testing.T) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	run := &traffic{cancel: cancel, ended: make(chan struct{})}
	go run.generate(ctx, context.WithoutCancel(ctx), l)
	t.Cleanup(func() { cancel(); <-run.ended })
	return run
}

// generate starts connections until ctx ends, and lets those under way go on under the other context.
func (r *traffic) generate(ctx, underWay context.Context, l load) {
	defer close(r.ended)
	var work sync.WaitGroup
	defer work.Wait()
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		work.Go(func() {
			a := connectOne(underWay, l)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.attempts = append(r.attempts, a)
		})
	}
}

// stop ends the load and returns what the client saw, in the order in which connections began.
func (r *traffic) stop() []attempt {
	r.cancel()
	<-r.ended
	return r.soFar()
}

// soFar returns the connections that have ended.
func (r *traffic) soFar() []attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	attempts := slices.Clone(r.attempts)
	slices.SortFunc(attempts, func(a, b attempt) int { return a.start.Compare(b.start) })
	return attempts
}

// burst makes a number of connections, some at a time.
func burst(t *testing.T, l load, count, atATime int) []attempt {
	t.Helper()
	attempts := make([]attempt, count)
	next := make(chan int)
	var work sync.WaitGroup
	for range atATime {
		work.Go(func() {
			for i := range next {
				attempts[i] = connectOne(t.Context(), l)
			}
		})
	}
	for i := range attempts {
		next <- i
	}
	close(next)
	work.Wait()
	return attempts
}

// failures returns the connections that no node answered.
func failures(attempts []attempt) []attempt {
	var failed []attempt
	for _, a := range attempts {
		if a.err != nil {
			failed = append(failed, a)
		}
	}
	return failed
}

// byNode counts the connections that nodes answered.
func byNode(attempts []attempt) map[string]int {
	counts := map[string]int{}
	for _, a := range attempts {
		if a.err == nil {
			counts[a.node]++
		}
	}
	return counts
}

// gap is the time from the first failed connection's start to the last one's: how long clients saw an outage of a part of
// the connections, by as much as the interval between connections too short.
func gap(attempts []attempt) time.Duration {
	failed := failures(attempts)
	if len(failed) == 0 {
		return 0
	}
	return failed[len(failed)-1].start.Sub(failed[0].start)
}

// summary tells counts and causes in one line.
func summary(attempts []attempt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d connections", len(attempts))
	counts := byNode(attempts)
	for _, node := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, ", %s %d", node, counts[node])
	}
	causes := map[string]int{}
	for _, a := range failures(attempts) {
		causes[cause(a.err)]++
	}
	for _, why := range slices.Sorted(maps.Keys(causes)) {
		fmt.Fprintf(&b, ", failed (%s) %d", why, causes[why])
	}
	return b.String()
}

// cause is the innermost error, which holds no port by which every failure would be of a kind of its own.
func cause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}
