// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultLimit   = time.Minute
	defaultTimeout = time.Second
	// maxPending bounds one client's connections that are under way.
	maxPending = 64
	// maxAttempts bounds a report.
	maxAttempts = 200_000
)

// recorder collects attempts from all clients.
type recorder struct {
	mu     sync.Mutex
	report Report
}

func (r *recorder) add(a Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.report.Attempts) < maxAttempts {
		r.report.Attempts = append(r.report.Attempts, a)
	}
}

// runClient works off a load, until it is done or standard input ends, and prints the report.
func runClient(config string) error {
	var l Load
	if err := json.Unmarshal([]byte(config), &l); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if l.Limit <= 0 {
		l.Limit = defaultLimit
	}
	if l.Timeout <= 0 {
		l.Timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.Limit)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var rec recorder
	var wg sync.WaitGroup
	for i := range l.Clients {
		client := l.client(i)
		// Spread over the interval, as clients that know nothing of each other are.
		phase := l.Interval * time.Duration(i) / time.Duration(l.Clients)
		wg.Go(func() {
			if !pause(ctx, phase) {
				return
			}
			if l.Hold {
				hold(ctx, l, client, &rec)
			} else {
				connectRepeatedly(ctx, l, client, &rec)
			}
		})
	}
	wg.Wait()
	return json.NewEncoder(os.Stdout).Encode(rec.report)
}

func connectRepeatedly(ctx context.Context, l Load, client netip.Addr, rec *recorder) {
	pending := make(chan struct{}, maxPending)
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := 0; l.Connections == 0 || n < l.Connections; n++ {
		if n > 0 && !pause(ctx, l.Interval) {
			return
		}
		select {
		case pending <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			rec.add(attempt(l, client))
			<-pending
		})
	}
}

// attempt makes one connection, exchanges one line and ends it.
func attempt(l Load, client netip.Addr) (a Attempt) {
	a = Attempt{Client: client, Start: time.Now()}
	defer func() { a.Took = time.Since(a.Start) }()
	conn, err := dial(l, client)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	defer func() { _ = conn.Close() }()
	a.Port = portOf(conn.LocalAddr())
	a.Host, err = ask(conn, l)
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// ask sends one line; where it is a datagram, which any full buffer may lose, again every second as a resolver does.
func ask(conn net.Conn, l Load) (host string, err error) {
	in := bufio.NewReaderSize(conn, maxDatagram)
	line := "hello" + strings.Repeat(".", max(0, l.Size-len("hello")))
	if !l.UDP {
		return exchange(conn, in, l.Timeout, line)
	}
	for end := time.Now().Add(l.Timeout); ; {
		host, err = exchange(conn, in, min(time.Second, time.Until(end)), line)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(end) {
			return host, err
		}
	}
}

func dial(l Load, client netip.Addr) (net.Conn, error) {
	d := net.Dialer{Timeout: l.Timeout, Control: l.Header.control,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0))}
	network := "tcp"
	if l.UDP {
		network, d.LocalAddr = "udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(client, 0))
	}
	return d.Dial(network, l.Target.String())
}

func portOf(a net.Addr) uint16 {
	if p, err := netip.ParseAddrPort(a.String()); err == nil {
		return p.Port()
	}
	return 0
}

// exchange sends a line and returns the name of the host that answered it.
func exchange(conn net.Conn, in *bufio.Reader, timeout time.Duration, line string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	answer, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	host, rest, _ := strings.Cut(strings.TrimSuffix(answer, "\n"), " ")
	if rest != line {
		return "", fmt.Errorf("answer %q to %q", answer, line)
	}
	return host, nil
}

// hold keeps one connection and stops at the first error: a broken connection stays broken.
func hold(ctx context.Context, l Load, client netip.Addr, rec *recorder) {
	start := time.Now()
	conn, err := dial(l, client)
	if err != nil {
		rec.add(Attempt{Client: client, Start: start, Took: time.Since(start), Error: err.Error()})
		return
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for n := 0; l.Connections == 0 || n < l.Connections; n++ {
		a := Attempt{Client: client, Port: portOf(conn.LocalAddr()), Start: time.Now()}
		a.Host, err = exchange(conn, in, l.Timeout, fmt.Sprintf("line %d", n))
		a.Took = time.Since(a.Start)
		if err != nil {
			a.Error = err.Error()
		}
		rec.add(a)
		if err != nil || !pause(ctx, l.Interval) {
			return
		}
	}
}

// pause waits and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func sortTimes(times []time.Time) { slices.SortFunc(times, time.Time.Compare) }
