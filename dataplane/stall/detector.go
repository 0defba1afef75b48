// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Settings of a Detector.
type Settings struct {
	// Window is how long progress must be missing. It should hold at least four samples.
	Window time.Duration
	// MinPackets is the least traffic into a stage that counts as evidence against it.
	MinPackets uint64
}

// Defaults of Settings, as spec.stallDetection has them.
const (
	DefaultWindow     = 5 * time.Second
	DefaultMinPackets = 16
)

// minSamples is how many samples a window must hold. With fewer, a busy queue could happen to hold packets
// at each of them.
const minSamples = 3

// idleWindows is after how many windows with neither evidence nor progress a verdict ends: nobody uses
// the host.
const idleWindows = 6

// Verdict says where the traffic of this host is stalled. The zero value means that it is not.
type Verdict struct {
	// Reason names the stage; empty means no stall.
	Reason v1alpha1.StallReason
	// Queue is the queue or class that sends nothing, where there is one, such as "class 1:10 (eth0)".
	Queue string
	// Message holds the evidence with its numbers.
	Message string
	// Since is the time of the sample that led to the verdict.
	Since time.Duration
}

// Stalled reports whether the verdict is one.
func (v Verdict) Stalled() bool { return v.Reason != "" }

// Detector turns samples into a verdict.
type Detector struct {
	settings Settings
	samples  []Sample // oldest first; the first one is as old as the window or older, if there is one
	verdict  Verdict
	lastBad  time.Duration // when the evidence for the verdict last held
}

// NewDetector returns a detector; zero settings mean the defaults.
func NewDetector(s Settings) *Detector {
	if s.Window <= 0 {
		s.Window = DefaultWindow
	}
	if s.MinPackets == 0 {
		s.MinPackets = DefaultMinPackets
	}
	return &Detector{settings: s}
}

// Observe takes the next sample and returns the verdict in force, and whether reason or queue differ
// from before. The sample's slices must not be changed afterwards.
//
// A host is found stalled when there is evidence for a whole window. The verdict ends when there has been none for a
// window and the stage made progress in the second half of it, so that a single packet does not end it; or when there
// has been neither evidence nor progress for six windows.
func (d *Detector) Observe(s Sample) (v Verdict, changed bool) {
	before := d.verdict
	d.push(s)
	if d.verdict.Stalled() {
		d.review(s.At)
	}
	if !d.verdict.Stalled() {
		d.find(s.At)
	}
	return d.verdict, d.verdict.Reason != before.Reason || d.verdict.Queue != before.Queue
}

// push appends a sample and forgets those that no window needs any more.
func (d *Detector) push(s Sample) {
	if n := len(d.samples); n > 0 && !s.follows(&d.samples[n-1]) {
		d.samples = d.samples[:0]
		d.lastBad = min(d.lastBad, s.At)
	}
	d.samples = append(d.samples, s)
	keep := 0
	for keep+1 < len(d.samples) && d.samples[keep+1].At <= s.At-d.settings.Window {
		keep++
	}
	if keep > 0 {
		d.samples = append(d.samples[:0], d.samples[keep:]...)
	}
}

// window returns the samples of the last span d, or nothing if they do not cover it.
func (d *Detector) window(span time.Duration) window {
	last := len(d.samples) - 1
	first := last
	for first > 0 && d.samples[first].At > d.samples[last].At-span {
		first--
	}
	if last < 0 || d.samples[first].At > d.samples[last].At-span {
		return window{}
	}
	return window{samples: d.samples[first:], min: d.settings.MinPackets}
}

// find looks for a stalled stage, the first one on the path of a packet.
func (d *Detector) find(now time.Duration) {
	w := d.window(d.settings.Window)
	if len(w.samples) < minSamples {
		return
	}
	for _, look := range stages {
		if f := look.find(w); f != nil {
			d.verdict = Verdict{Reason: look.reason, Queue: f.queue, Message: f.message, Since: now}
			d.lastBad = now
			return
		}
	}
}

// review decides whether the verdict in force ends.
func (d *Detector) review(now time.Duration) {
	stage := stageOf(d.verdict.Reason)
	full := d.window(d.settings.Window)
	if stage.holds(full, d.verdict.Queue) {
		d.lastBad = now
		if f := stage.find(full); f != nil && f.queue == d.verdict.Queue {
			d.verdict.Message = f.message
		}
		return
	}
	gone := now - d.lastBad
	moves := stage.moves(d.window(d.settings.Window/2), d.verdict.Queue)
	if gone >= d.settings.Window && moves || gone >= idleWindows*d.settings.Window {
		d.verdict = Verdict{}
	}
}
