// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Hook is where the filter stands.
type Hook uint8

const (
	// Auto takes native XDP if the interface offers it and its slot is free, else TCX.
	Auto Hook = iota
	// XDP rejects frames before an skb exists. Native only: generic XDP is slower than TCX.
	XDP
	// TCX rejects frames at traffic control ingress.
	TCX
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
	}
	return fmt.Sprintf("Hook(%d)", uint8(h))
}

// hookPoint is one place at which one program is attached, by a pinned link. Kernels before
// 6.6 have no TCX: a clsact filter there is one more way to attach, without links.
type hookPoint struct {
	pin     string
	attach  func(ifindex int, p *ebpf.Program) (link.Link, error)
	ifindex func(*link.Info) uint32
}

var (
	xdpPoint     = hookPoint{pin: "xdp_link", attach: attachXDP, ifindex: xdpIfindex}
	ingressPoint = hookPoint{pin: "ingress_link", attach: attachTCX(ebpf.AttachTCXIngress), ifindex: tcxIfindex}
	egressPoint  = hookPoint{pin: "egress_link", attach: attachTCX(ebpf.AttachTCXEgress), ifindex: tcxIfindex}
)

func linkPins() []string {
	return []string{xdpPoint.pin, ingressPoint.pin, egressPoint.pin}
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

func attachXDP(ifindex int, p *ebpf.Program) (link.Link, error) {
	return link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: p, Flags: link.XDPDriverMode})
}

// attachTCX puts the program first: one of another owner that ends the chain or redirects
// would keep frames from it.
func attachTCX(at ebpf.AttachType) func(int, *ebpf.Program) (link.Link, error) {
	return func(ifindex int, p *ebpf.Program) (link.Link, error) {
		l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p, Attach: at, Anchor: link.Head()})
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("TCX needs Linux 6.6 or later: %w", err)
		}
		return l, err
	}
}

// install makes the program run at h: it replaces the program of the pinned link, in which
// no packet is lost, or attaches and pins a new one.
func (h *hookPoint) install(path string, ifindex int, p *ebpf.Program) (link.Link, error) {
	file := filepath.Join(path, h.pin)
	l, err := h.adopt(file, ifindex)
	if err != nil {
		return nil, err
	}
	if l != nil {
		if err := l.Update(p); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("%s: replace program: %w", h.pin, err)
		}
		return l, nil
	}
	if l, err = h.attach(ifindex, p); err != nil {
		return nil, fmt.Errorf("%s: attach: %w", h.pin, err)
	}
	if err := l.Pin(file); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("%s: pin: %w", h.pin, err)
	}
	return l, nil
}

// adopt returns the pinned link if it is attached to the interface. One that is not, since
// the interface is gone or another was chosen, goes away.
func (h *hookPoint) adopt(file string, ifindex int) (link.Link, error) {
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

// isAttached reports whether any program is attached by a link pinned under path.
func isAttached(path string) (bool, error) {
	for _, pin := range linkPins() {
		_, err := os.Stat(filepath.Join(path, pin))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("%s: %w", pin, err)
		}
	}
	return false, nil
}

// attachedHook tells where the filter pinned under path stands.
func attachedHook(path string) Hook {
	if _, err := os.Stat(filepath.Join(path, xdpPoint.pin)); err == nil {
		return XDP
	}
	return TCX
}
