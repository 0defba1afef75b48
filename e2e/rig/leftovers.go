// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Leftovers names everything of the agent that is still on the host: addresses, receive filters, groups, programs,
// disciplines, pins and files. A host that never ran an agent has none.
func (h *Host) Leftovers() ([]string, error) {
	var left []string
	err := h.NS.Do(func() error {
		for _, look := range []func() ([]string, error){foreignAddresses, programs, disciplines, receiveFilters, proxies} {
			found, err := look()
			if err != nil {
				return err
			}
			left = append(left, found...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for leftovers on %s: %w", h.Name, err)
	}
	for what, path := range map[string]string{"pins": h.Pins(), "state": h.StateDir()} {
		found, err := files(path)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f != "lock" && f != ".lock" { // the agent's as long as it runs
				left = append(left, what+" "+f)
			}
		}
	}
	slices.Sort(left)
	return left, nil
}

// files are the paths of all files below a directory, relative to it. None are there if it is not.
func files(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(dir, path)
			found = append(found, path)
		}
		return err
	})
	return found, err
}

// foreignAddresses are those on lo beside the loopback's own.
func foreignAddresses() ([]string, error) {
	var out []string
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	addrs, err := netlink.AddrList(lo, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if !a.IP.IsLoopback() {
			out = append(out, "address "+a.IPNet.String()+" on lo")
		}
	}
	return out, nil
}

func programs() ([]string, error) {
	var out []string
	eth0, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return nil, err
	}
	if xdp := eth0.Attrs().Xdp; xdp != nil && xdp.Attached {
		out = append(out, fmt.Sprintf("XDP program %d", xdp.ProgId))
	}
	for name, hook := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
		res, err := link.QueryPrograms(link.QueryOptions{Target: eth0.Attrs().Index, Attach: hook})
		// Kernels before 6.6 do not know the attach type.
		if err != nil && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		if res != nil && len(res.Programs) > 0 {
			out = append(out, fmt.Sprintf("%d TCX programs at %s", len(res.Programs), name))
		}
	}
	return out, nil
}

func disciplines() ([]string, error) {
	var out []string
	eth0, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return nil, err
	}
	list, err := netlink.QdiscList(eth0)
	if err != nil {
		return nil, err
	}
	for _, q := range list {
		if q.Type() != "noqueue" {
			out = append(out, "discipline "+q.Type())
		}
	}
	return out, nil
}

// receiveFilters are the multicast addresses that a program put there beside those the kernel itself wants.
func receiveFilters() ([]string, error) {
	table, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) == 5 && f[1] == hostInterface && !strings.HasPrefix(f[4], "3333") && f[4] != "01005e000001" {
			out = append(out, "receive filter "+f[4])
		}
	}
	return out, nil
}

// proxies are the neighbour proxy entries by which an agent joins solicited-node groups.
func proxies() ([]string, error) {
	eth0, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return nil, err
	}
	list, err := netlink.NeighProxyList(eth0.Attrs().Index, netlink.FAMILY_V6)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range list {
		out = append(out, "neighbour proxy "+n.IP.String())
	}
	return out, nil
}
