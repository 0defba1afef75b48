// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Receive takes the payload of a frame from the segment, which is valid during the call only. It never waits: what the
// host has no time for is dropped, for peers say it all again.
func (h *Host) Receive(payload []byte) error {
	switch heartbeat.KindOf(payload) {
	case heartbeat.KindMembership:
		message, err := heartbeat.Unmarshal(payload)
		if err != nil {
			return err
		}
		offer(h.received, &message)
	case heartbeat.KindIdentity:
		identity, err := heartbeat.UnmarshalIdentity(payload)
		if err != nil {
			return err
		}
		offer(h.identity, identity)
	case heartbeat.KindReliable:
		offer(h.lists, bytes.Clone(payload))
	default:
		return heartbeat.ErrForeign
	}
	return nil
}

// offer drops what the host has no time for.
func offer[T any](queue chan<- T, received T) {
	select {
	case queue <- received:
	default:
	}
}

// receiveList takes a frame with a list of clients.
func (h *Host) receiveList(ctx context.Context, list []byte) error {
	if err := h.clients.exchange.Receive(list); err != nil {
		h.Log.Debug("List of clients ignored", "error", err)
		return nil
	}
	return h.step(ctx, convergence.Tick{})
}
