// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Header is what a load's packets have between their IP header and that of the transport.
type Header string

// Headers of a load. IPOptions is for IPv4, the others for IPv6.
const (
	IPOptions          Header = "IP options"
	DestinationOptions Header = "destination options"
	HopByHopOptions    Header = "hop-by-hop options"
)

// control puts the header on a client's socket before it connects.
func (h Header) control(_, _ string, c syscall.RawConn) error {
	level, option, value := h.option()
	if value == "" {
		return nil
	}
	var optErr error
	err := c.Control(func(fd uintptr) { optErr = unix.SetsockoptString(int(fd), level, option, value) })
	if err == nil {
		err = optErr
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", h, err)
	}
	return nil
}

func (h Header) option() (level, option int, value string) {
	const (
		recordRoute = "\x07\x07\x04\x00\x00\x00\x00\x00" // of one router, which never comes (RFC 791)
		padding     = "\x00\x00\x01\x04\x00\x00\x00\x00" // PadN (RFC 8200 section 4.2); the kernel fills in the next header
	)
	switch h {
	case IPOptions:
		return unix.IPPROTO_IP, unix.IP_OPTIONS, recordRoute
	case DestinationOptions:
		return unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, padding
	case HopByHopOptions:
		return unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS, padding
	}
	return 0, 0, ""
}
