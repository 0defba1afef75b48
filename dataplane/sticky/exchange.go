// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

const (
	// window is how many chunks go out at once: what an interface's queue takes beside heartbeats.
	window = 4
	// A request is repeated after firstRetry if nothing came of it, then after twice the time, up to lastRetry.
	firstRetry = 20 * time.Millisecond
	lastRetry  = 320 * time.Millisecond
	// echo is for how long requests for the same chunks are one: many peers ask at once, and all hear the answer.
	echo = 5 * time.Millisecond

	// VersionMask covers the versions that fit into a heartbeat.
	VersionMask = 1<<24 - 1

	never = time.Duration(1<<63 - 1)
)

// Settings are what an Exchange knows from its start.
type Settings struct {
	// HostID is this host's, 1..32. ClusterKey and Incarnation are those of its heartbeats, ClusterIP and HostIP too.
	HostID            uint8
	ClusterKey        uint32
	Incarnation       uint64
	ClusterIP, HostIP [4]byte
	// Version is where versions begin: an agent that goes on in the incarnation of another must not give that one's
	// versions to other lists.
	Version uint32
}

// Peer is what a peer's heartbeat says of its list.
type Peer struct {
	HostID      uint8
	Incarnation uint64
	// Version of the list; 0 is an empty one.
	Version uint32
}

// Exchange is the state of one host. It is not safe for concurrent use.
type Exchange struct {
	s     Settings
	own   list
	last  uint32 // version given last
	queue []int  // first chunks of windows of the own list to send
	sent  map[int]time.Duration

	peers [heartbeat.MaxHosts + 1]peer
	// applied are the exceptions by what Exceptions returned last, changed that they may be others now.
	applied map[Client]uint8
	changed bool
}

// list is a complete list.
type list struct {
	version uint32
	digest  uint64
	clients []Client // sorted
}

func (l *list) chunks() int { return (len(l.clients) + chunkSize - 1) / chunkSize }

// New returns the state of a host that holds nobody and knows of no peer.
func New(s Settings) *Exchange {
	return &Exchange{s: s, last: s.Version & VersionMask, sent: map[int]time.Duration{}, applied: map[Client]uint8{}}
}

// Adopt takes over exceptions that an agent before this one left in the filter. They stay until the holders' lists are
// known, or the holders are no members any more.
func (e *Exchange) Adopt(exceptions map[Client]uint8) {
	e.applied = exceptions
	for c, holder := range exceptions {
		if holder >= 1 && holder <= heartbeat.MaxHosts {
			p := &e.peers[holder]
			p.member, p.clients = true, append(p.clients, c)
		}
	}
	e.changed = true
}

// Publish makes clients this host's list. It keeps the slice, and reports whether the list has a new version.
func (e *Exchange) Publish(clients []Client) bool {
	slices.SortFunc(clients, compare)
	clients = clients[:min(len(clients), maxChunks*chunkSize)]
	if slices.Equal(clients, e.own.clients) {
		return false
	}
	e.own = list{clients: clients, digest: digest(clients)}
	e.queue, e.sent = nil, map[int]time.Duration{}
	if len(clients) > 0 {
		e.last = max(1, (e.last+1)&VersionMask)
		e.own.version = e.last
		e.queue = append(e.queue, 0) // peers need not ask for what nearly all lists are
	}
	return true
}

// Version of this host's list, for its heartbeats.
func (e *Exchange) Version() uint32 { return e.own.version }

// Follow says whose lists count, and what their heartbeats say of them. This host is none of them.
func (e *Exchange) Follow(peers []Peer) {
	var members heartbeat.Set
	for _, p := range peers {
		members = members.With(p.HostID)
		e.changed = e.peers[p.HostID].follow(p) || e.changed
	}
	for id := range e.peers {
		if p := &e.peers[id]; id > 0 && p.member && !members.Has(uint8(id)) {
			e.changed = e.changed || len(p.clients) > 0
			*p = peer{}
		}
	}
}

// Has reports whether this host knows a peer's list as the heartbeat names it.
func (e *Exchange) Has(p Peer) bool {
	k := &e.peers[p.HostID]
	return k.member && k.known && k.announced == p
}

// Receive takes a frame from the wire.
func (e *Exchange) Receive(payload []byte) error {
	f, err := parse(payload, e.s.ClusterKey)
	switch {
	case err != nil:
		return err
	case f.sender == e.s.HostID:
		return ErrForeign
	case f.kind == typeList:
		e.changed = e.peers[f.owner].take(&f) || e.changed
	case f.owner == e.s.HostID && f.incarnation == e.s.Incarnation && f.version == e.own.version:
		e.asked(f.chunk)
	}
	return nil
}

// asked notes that a peer lacks the chunks from one on.
func (e *Exchange) asked(from int) {
	if from < e.own.chunks() && !slices.Contains(e.queue, from) && len(e.queue) < heartbeat.MaxHosts {
		e.queue = append(e.queue, from)
	}
}

// Send returns the frames that are due.
func (e *Exchange) Send(now time.Duration) [][]byte {
	var frames [][]byte
	for _, from := range e.queue {
		if at, ok := e.sent[from]; ok && now < at+echo {
			continue
		}
		e.sent[from] = now
		for chunk := from; chunk < min(from+window, e.own.chunks()); chunk++ {
			frames = append(frames, e.chunk(chunk))
		}
	}
	e.queue = e.queue[:0]
	for id := range e.peers {
		if p := &e.peers[id]; p.due(now) {
			frames = append(frames, e.request(p, now))
		}
	}
	return frames
}

// Wake is when Send has something to send, if nothing is received before.
func (e *Exchange) Wake() time.Duration {
	if len(e.queue) > 0 {
		return 0
	}
	wake := never
	for id := range e.peers {
		if p := &e.peers[id]; p.lacking() {
			wake = min(wake, p.askAt)
		}
	}
	return wake
}

func (e *Exchange) chunk(i int) []byte {
	f := frame{
		kind: typeList, sender: e.s.HostID, owner: e.s.HostID, incarnation: e.s.Incarnation, version: e.own.version,
		digest: e.own.digest,
		chunk:  i, chunks: e.own.chunks(), clients: e.own.clients[i*chunkSize : min((i+1)*chunkSize, len(e.own.clients))],
	}
	return f.appendTo(nil, &e.s)
}

func (e *Exchange) request(p *peer, now time.Duration) []byte {
	p.retry = min(max(2*p.retry, firstRetry), lastRetry)
	p.askAt = now + p.retry
	f := frame{
		kind: typeRequest, sender: e.s.HostID, owner: p.announced.HostID,
		incarnation: p.announced.Incarnation, version: p.announced.Version, chunk: p.missing(),
	}
	return f.appendTo(nil, &e.s)
}
