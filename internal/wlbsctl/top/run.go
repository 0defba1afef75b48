// SPDX-License-Identifier: Apache-2.0

package top

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// redraw is how soon a new size of the terminal is noticed; it also moves the clock and the ages. A poll works on every
// system, a signal on some.
const redraw = 200 * time.Millisecond

// Source reads a snapshot.
type Source func(context.Context) (Snapshot, error)

// Program shows a live screen until it is told to quit.
type Program struct {
	Source Source
	// Interval is the time between two snapshots.
	Interval time.Duration
	// Keys is the terminal's input in raw mode, Out its output.
	Keys io.Reader
	Out  io.Writer
	// Size returns the terminal's width and height.
	Size    func() (width, height int)
	Palette Palette
	Now     func() time.Time

	state   State
	tracker Tracker
	drawn   []string
	width   int
	height  int
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J" // alternate screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
)

type reading struct {
	snapshot Snapshot
	err      error
}

// Run shows the screen until q or Ctrl-C is pressed, the input ends, or ctx does. The terminal must be in raw mode.
func (p *Program) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	readings := make(chan reading)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read(ctx, readings)
	}()
	defer func() { <-done }()
	defer cancel()
	keys := make(chan key)
	go readKeys(ctx, p.Keys, keys) // ends with ctx at the next key, for a read of a terminal cannot be cut short

	p.state.Problem = "reading…"
	if _, err := io.WriteString(p.Out, enterScreen); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer func() { _, _ = io.WriteString(p.Out, leaveScreen) }()
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		if err := p.draw(); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case r := <-readings:
			p.take(r)
		case k, open := <-keys:
			if !open || k == keyQuit {
				return nil
			}
			p.press(k)
		case <-ticker.C:
		}
	}
}

func (p *Program) read(ctx context.Context, out chan<- reading) {
	ticker := time.NewTicker(p.Interval)
	defer ticker.Stop()
	for {
		snapshot, err := p.Source(ctx)
		select {
		case out <- reading{snapshot, err}:
		case <-ctx.Done():
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Program) take(r reading) {
	if r.err != nil {
		p.state.Problem = r.err.Error()
		return
	}
	// A cluster keeps its place on the screen when others come and go.
	selected := ""
	if p.state.Selected < len(p.state.Clusters) {
		selected = p.state.Clusters[p.state.Selected].Name
	}
	p.state.Snapshot, p.state.Problem = r.snapshot, ""
	p.state.Rates = p.tracker.Observe(r.snapshot.Hosts)
	p.state.Selected = 0
	for i := range r.snapshot.Clusters {
		if r.snapshot.Clusters[i].Name == selected {
			p.state.Selected = i
		}
	}
}

func (p *Program) press(k key) {
	page := max(1, p.height/2)
	switch k {
	case keyUp:
		p.state.Scroll--
	case keyDown:
		p.state.Scroll++
	case keyPageUp:
		p.state.Scroll -= page
	case keyPageDown:
		p.state.Scroll += page
	case keyNext:
		p.state.Scroll = 0
		if n := len(p.state.Clusters); n > 0 {
			p.state.Selected = (p.state.Selected + 1) % n
		}
	default:
		return
	}
	p.state.Scroll = max(0, min(p.state.Scroll, MaxScroll(&p.state, p.width, p.height)))
}

// draw writes the lines that changed since the last time.
func (p *Program) draw() error {
	width, height := p.Size()
	var b strings.Builder
	if width != p.width || height != p.height {
		p.width, p.height, p.drawn = width, height, nil
		b.WriteString("\x1b[2J")
	}
	p.state.Now = p.Now()
	p.state.Scroll = max(0, min(p.state.Scroll, MaxScroll(&p.state, width, height)))
	lines := Render(&p.state, width, height)
	drawn := make([]string, len(lines))
	for i, line := range lines {
		drawn[i] = p.Palette.Encode(line)
		if i < len(p.drawn) && p.drawn[i] == drawn[i] {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[K", i+1, drawn[i])
	}
	p.drawn = drawn
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(p.Out, b.String())
	return err
}
