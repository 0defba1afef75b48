// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addMACFilter makes the interface receive frames for mac beside those for its own address, until
// removeMACFilter, also while no agent runs.
//
// A multicast address goes in by SIOCADDMULTI, which the kernel keeps as one "global" use apart from
// the counted uses of sockets and protocols (net/core/dev_addr_lists.c): adding twice counts once,
// and removing takes away that use alone. A unicast address goes into the device's list by way of an
// exclusive bridge "self" entry, which is a single one as well.
//
// It reports whether the filter was missing.
func addMACFilter(iface Interface, mac net.HardwareAddr) (missing bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("add %s to the receive filter of %s: %w", mac, iface.Name, err)
		}
	}()
	there, err := hasMulticast(iface, mac)
	if there || err != nil {
		return false, err
	}
	err = changeMACFilter(iface, mac, true)
	if errors.Is(err, unix.EEXIST) {
		return false, nil
	}
	return err == nil, err
}

// hasMulticast reports whether an interface has a global use of a multicast address. The kernel lists them nowhere
// else.
func hasMulticast(iface Interface, mac net.HardwareAddr) (bool, error) {
	table, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		return false, fmt.Errorf("list multicast addresses: %w", err)
	}
	index, addr := strconv.Itoa(iface.Index), hex.EncodeToString(mac)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // index, name, uses, global use, address
		if len(f) == 5 && f[0] == index && f[4] == addr {
			return f[3] != "0", nil
		}
	}
	return false, nil
}

// removeMACFilter undoes AddMACFilter, and does nothing if that was not called or the interface is gone.
func removeMACFilter(iface Interface, mac net.HardwareAddr) error {
	err := changeMACFilter(iface, mac, false)
	for _, gone := range []error{unix.ENOENT, unix.EADDRNOTAVAIL, unix.ENODEV, unix.ENXIO} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s from the receive filter of %s: %w", mac, iface.Name, err)
	}
	return nil
}

func changeMACFilter(iface Interface, mac net.HardwareAddr, add bool) error {
	switch {
	case len(mac) != 6:
		return fmt.Errorf("%w: no Ethernet address", unix.EINVAL)
	case mac[0]&1 == 1 && add:
		return multicastFilter(iface.Name, mac, unix.SIOCADDMULTI)
	case mac[0]&1 == 1:
		return multicastFilter(iface.Name, mac, unix.SIOCDELMULTI)
	}
	entry := &netlink.Neigh{
		LinkIndex: iface.Index, Family: unix.AF_BRIDGE, HardwareAddr: mac,
		Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT,
	}
	if add {
		return netlink.NeighAdd(entry)
	}
	return netlink.NeighDel(entry)
}

// hardwareAddressRequest is struct ifreq with ifr_hwaddr.
type hardwareAddressRequest struct {
	name   [unix.IFNAMSIZ]byte
	family uint16 // AF_UNSPEC: the address is one of the device's own kind
	addr   [14]byte
	_      [8]byte
}

func multicastFilter(name string, mac net.HardwareAddr, request uintptr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var req hardwareAddressRequest
	copy(req.name[:unix.IFNAMSIZ-1], name)
	copy(req.addr[:], mac)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}
