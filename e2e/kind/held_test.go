// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// held is a set of established connections over which requests go all the time.
type held struct {
	cancel context.CancelFunc
	work   sync.WaitGroup
	mu     sync.Mutex
	errs   []error
	// longest is the longest that an answer took.
	longest time.Duration
	nodes   map[string]int
}

// answerLimit is how long an answer may take: time enough for TCP to repeat what was lost, as for any user of it.
const answerLimit = 20 * time.Second

// hold opens connections and keeps them busy until stop, with a request every 50 ms on each.
func hold(t *testing.T, target netip.AddrPort, count int) *held {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &held{cancel: cancel, nodes: map[string]int{}}
	t.Cleanup(func() { cancel(); h.work.Wait() })
	for range count {
		conn, err := net.DialTimeout("tcp", target.String(), answerLimit)
		must(t, err)
		answers := bufio.NewReader(conn)
		node, _, err := ask(conn, answers, target, "keep-alive")
		must(t, err)
		h.nodes[node]++
		h.work.Go(func() {
			defer conn.Close()
			if err := h.keepBusy(ctx, conn, answers, target, node); err != nil {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.errs = append(h.errs, fmt.Errorf("connection from %s to node %s: %w", conn.LocalAddr(), node, err))
			}
		})
	}
	return h
}

func (h *held) keepBusy(ctx context.Context, conn net.Conn, answers *bufio.Reader, target netip.AddrPort, node string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		start := time.Now()
		if err := conn.SetDeadline(start.Add(answerLimit)); err != nil {
			return err
		}
		now, _, err := ask(conn, answers, target, "keep-alive")
		if err != nil {
			return err
		}
		if now != node {
			return fmt.Errorf("answered by %s", now)
		}
		h.mu.Lock()
		h.longest = max(h.longest, time.Since(start))
		h.mu.Unlock()
	}
}

// stop ends the connections and returns what broke.
func (h *held) stop() []error {
	h.cancel()
	h.work.Wait()
	return h.errs
}

// mustHaveHeld ends the connections and fails the test if one of them broke.
func (h *held) mustHaveHeld(t *testing.T) {
	t.Helper()
	errs := h.stop()
	t.Logf("%v established connections by node, the longest answer took %s, %d broke", h.nodes, h.longest.Round(time.Millisecond), len(errs))
	for _, err := range errs {
		t.Error(err)
	}
}
