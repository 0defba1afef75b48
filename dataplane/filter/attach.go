// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Hook is where the filter stands.
type Hook uint8

const (
	// Auto takes native XDP if the interface offers it and its slot is free, else TCX, and
	// clsact where the kernel has no TCX.
	Auto Hook = iota
	// XDP rejects frames before an skb exists. Native only: generic XDP is slower than TCX.
	XDP
	// TCX rejects frames at traffic control ingress.
	TCX
	// Clsact does as TCX, by the older way to attach there.
	Clsact
)

// String returns the hook's name in the API.
func (h Hook) String() string {
	switch h {
	case Auto:
		return "Auto"
	case XDP:
		return "XDP"
	case TCX:
		return "TCX"
	case Clsact:
		return "Clsact"
	}
	return fmt.Sprintf("Hook(%d)", uint8(h))
}

// place is where one program runs.
type place interface {
	// install makes p run on the interface. A program of ours that runs there is replaced in
	// place, in which no packet is lost; one on another interface goes away.
	install(path string, ifindex int, p *ebpf.Program) error
	// remove detaches and unpins what is there. Nothing there is no error.
	remove(path string) error
	// stands reports whether a program of ours is attached to the interface, and pinned.
	stands(path string, ifindex int) (bool, error)
	// pinName is the file under the pin path that exists while something is attached.
	pinName() string
}

// linkPlace is one that links lead to.
type linkPlace struct {
	pin     string
	attach  func(ifindex int, p *ebpf.Program) (link.Link, error)
	ifindex func(*link.Info) uint32
}

// trafficControl are the two sides of an interface there.
type trafficControl struct {
	ingress, egress place
}

func xdpPlace() place { return &linkPlace{"xdp_link", attachXDP, xdpIfindex} }

func tcxPlaces() trafficControl {
	return trafficControl{
		ingress: &linkPlace{"ingress_link", attachTCX(ebpf.AttachTCXIngress), tcxIfindex},
		egress:  &linkPlace{"egress_link", attachTCX(ebpf.AttachTCXEgress), tcxIfindex},
	}
}

func clsactPlaces() trafficControl {
	return trafficControl{
		ingress: &clsactPlace{"ingress_program", netlink.HANDLE_MIN_INGRESS},
		egress:  &clsactPlace{"egress_program", netlink.HANDLE_MIN_EGRESS},
	}
}

func (t *trafficControl) remove(path string) error {
	return errors.Join(t.ingress.remove(path), t.egress.remove(path))
}

// places are all where a program of ours may be.
func places() []place {
	tcx, clsact := tcxPlaces(), clsactPlaces()
	return []place{xdpPlace(), tcx.ingress, tcx.egress, clsact.ingress, clsact.egress}
}

func xdpIfindex(i *link.Info) uint32 {
	if x := i.XDP(); x != nil {
		return x.Ifindex
	}
	return 0
}

func tcxIfindex(i *link.Info) uint32 {
	if t := i.TCX(); t != nil {
		return t.Ifindex
	}
	return 0
}

// haveXDPFrags reports whether XDP programs can take frames of several buffers (Linux 5.18).
// Without, drivers refuse them where the MTU is large.
func haveXDPFrags() bool {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, Flags: unix.BPF_F_XDP_HAS_FRAGS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return false
	}
	_ = p.Close()
	return true
}

func attachXDP(ifindex int, p *ebpf.Program) (link.Link, error) {
	return link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: p, Flags: link.XDPDriverMode})
}

var errWithoutTCX = fmt.Errorf("TCX needs Linux 6.6 or later (hook Auto or Clsact does without): %w",
	ebpf.ErrNotSupported)

// attachTCX puts the program first: one of another owner that ends the chain or redirects
// would keep frames from it.
func attachTCX(at ebpf.AttachType) func(int, *ebpf.Program) (link.Link, error) {
	return func(ifindex int, p *ebpf.Program) (link.Link, error) {
		l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p, Attach: at, Anchor: link.Head()})
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, errWithoutTCX
		}
		return l, err
	}
}

func (h *linkPlace) pinName() string { return h.pin }

// install lets go of the link in the end: its pin keeps it.
func (h *linkPlace) install(path string, ifindex int, p *ebpf.Program) error {
	file := filepath.Join(path, h.pin)
	l, err := h.adopt(file, ifindex)
	if err != nil {
		return err
	}
	if l != nil {
		if err := errors.Join(l.Update(p), l.Close()); err != nil {
			return fmt.Errorf("%s: replace program: %w", h.pin, err)
		}
		return nil
	}
	if l, err = h.attach(ifindex, p); err != nil {
		return fmt.Errorf("%s: attach: %w", h.pin, err)
	}
	if err := errors.Join(l.Pin(file), l.Close()); err != nil {
		return fmt.Errorf("%s: pin: %w", h.pin, err)
	}
	return nil
}

// adopt returns the pinned link if it is attached to the interface. One that is not, since
// the interface is gone or another was chosen, goes away.
func (h *linkPlace) adopt(file string, ifindex int) (link.Link, error) {
	l, err := link.LoadPinnedLink(file, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.pin, err)
	}
	info, err := l.Info()
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("%s: %w", h.pin, err)
	}
	if h.ifindex(info) == uint32(ifindex) {
		return l, nil
	}
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", h.pin, err)
	}
	return nil, detachPinned(file)
}

func (h *linkPlace) stands(path string, ifindex int) (bool, error) {
	l, err := link.LoadPinnedLink(filepath.Join(path, h.pin), nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", h.pin, err)
	}
	info, err := l.Info()
	if err := errors.Join(err, l.Close()); err != nil {
		return false, fmt.Errorf("%s: %w", h.pin, err)
	}
	return h.ifindex(info) == uint32(ifindex), nil
}

func (h *linkPlace) remove(path string) error { return detachPinned(filepath.Join(path, h.pin)) }

// detachPinned detaches and unpins a link. One whose interface is gone is detached already.
func detachPinned(file string) error {
	l, err := link.LoadPinnedLink(file, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load pinned link: %w", err)
	}
	defer func() { _ = l.Close() }()
	// Unpinning alone would leave it attached while any process holds a descriptor.
	detachErr := l.Detach()
	if errors.Is(detachErr, link.ErrNotSupported) || isGone(detachErr) {
		detachErr = nil
	}
	if err := errors.Join(detachErr, l.Unpin()); err != nil {
		return fmt.Errorf("detach %s: %w", filepath.Base(file), err)
	}
	return nil
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENOLINK) || errors.Is(err, unix.ENODEV)
}

// isAttached reports whether any program is attached, as far as pins under path tell.
func isAttached(path string) (bool, error) {
	for _, p := range places() {
		attached, err := isAt(p, path)
		if attached || err != nil {
			return attached, err
		}
	}
	return false, nil
}

func isAt(p place, path string) (bool, error) {
	_, err := os.Stat(filepath.Join(path, p.pinName()))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("%s: %w", p.pinName(), err)
	}
	return err == nil, nil
}

// attachedHook tells where the filter pinned under path stands.
func attachedHook(path string) (Hook, error) {
	for _, at := range []struct {
		place place
		hook  Hook
	}{{xdpPlace(), XDP}, {tcxPlaces().ingress, TCX}} {
		attached, err := isAt(at.place, path)
		if attached || err != nil {
			return at.hook, err
		}
	}
	return Clsact, nil
}
