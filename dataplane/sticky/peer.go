// SPDX-License-Identifier: Apache-2.0

package sticky

import "time"

// peer is what is known of one peer's list.
type peer struct {
	member    bool
	announced Peer // by its newest heartbeat
	// clients are those of the newest list that is complete; known says that it is the one announced.
	clients []Client
	known   bool
	// partial is a list of which not all chunks have come.
	partial partial

	askAt time.Duration
	retry time.Duration
}

// partial is a list that is being put together.
type partial struct {
	incarnation uint64
	version     uint32
	digest      uint64
	chunks      [][]Client
	left        int // chunks that are missing
}

func (p *partial) is(f *frame) bool {
	return p.chunks != nil && p.incarnation == f.incarnation && p.version == f.version && p.digest == f.digest &&
		len(p.chunks) == f.chunks
}

// of reports whether it is the list that a heartbeat announced.
func (p *partial) of(a Peer) bool {
	return p.chunks != nil && p.incarnation == a.Incarnation && p.version == a.Version
}

// follow takes what a heartbeat announces and reports whether the peer's clients are others by that.
func (p *peer) follow(a Peer) bool {
	if p.member && p.announced == a {
		return false
	}
	was := p.announced
	changed := false
	if p.member && was.Incarnation != 0 && was.Incarnation != a.Incarnation {
		changed = len(p.clients) > 0
		p.clients = nil // it started again, and holds nobody of those
	}
	p.member, p.announced, p.known = true, a, false
	p.askAt, p.retry = 0, 0
	if a.Version == 0 {
		changed = changed || len(p.clients) > 0
		p.clients, p.known, p.partial = nil, true, partial{}
		return changed
	}
	return p.complete() || changed
}

// take takes a chunk and reports whether the peer's clients are others by that. Chunks may come before the heartbeat
// that announces their list.
func (p *peer) take(f *frame) bool {
	if p.known && p.announced == (Peer{f.owner, f.incarnation, f.version}) {
		return false
	}
	if !p.partial.is(f) {
		if p.member && !p.known && p.partial.of(p.announced) &&
			(f.incarnation != p.announced.Incarnation || f.version != p.announced.Version) {
			return false // an older one, or one whose turn comes
		}
		p.partial = partial{f.incarnation, f.version, f.digest, make([][]Client, f.chunks), f.chunks}
	}
	if p.partial.chunks[f.chunk] != nil {
		return false
	}
	p.partial.chunks[f.chunk] = f.clients
	p.partial.left--
	if f.chunk%window == window-1 || p.partial.left == 0 {
		p.askAt, p.retry = 0, 0 // on with the next ones
	}
	return p.complete()
}

// complete makes a list that was announced, and is whole, the peer's.
func (p *peer) complete() bool {
	if !p.member || p.partial.left > 0 || !p.partial.of(p.announced) {
		return false
	}
	var clients []Client
	for _, c := range p.partial.chunks {
		clients = append(clients, c...)
	}
	whole := digest(clients) == p.partial.digest
	p.partial = partial{}
	if whole {
		p.clients, p.known = clients, true
	}
	return whole
}

// lacking reports whether the announced list has to be asked for.
func (p *peer) lacking() bool { return p.member && !p.known && p.announced.Version != 0 }

func (p *peer) due(now time.Duration) bool { return p.lacking() && now >= p.askAt }

// missing is the first chunk that has not come.
func (p *peer) missing() int {
	if p.partial.of(p.announced) {
		for i, c := range p.partial.chunks {
			if c == nil {
				return i
			}
		}
	}
	return 0
}
