// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

const configFile = "/etc/cni/net.d/10-podnet.conflist"

type object = map[string]any

// writeConfig writes the CNI configuration for the given pod CIDRs, if it is not
// there already. Written aside and renamed: the runtime never reads half a file.
func writeConfig(cidrs []string) error {
	text, err := json.MarshalIndent(config(cidrs, nodeMTU()), "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(configFile); err == nil && string(old) == string(text) {
		return nil
	}
	slog.Info("writing CNI configuration", "cidrs", cidrs)
	aside := filepath.Join(filepath.Dir(configFile), ".podnet.tmp")
	if err := os.WriteFile(aside, text, 0o644); err != nil {
		return fmt.Errorf("write CNI configuration: %w", err)
	}
	return os.Rename(aside, configFile)
}

func config(cidrs []string, mtu int) object {
	var ranges [][]object
	var routes []object
	for _, cidr := range cidrs {
		ranges = append(ranges, []object{{"subnet": cidr}})
		everything := "0.0.0.0/0"
		if strings.Contains(cidr, ":") {
			everything = "::/0"
		}
		routes = append(routes, object{"dst": everything})
	}
	return object{
		"cniVersion": "1.0.0",
		"name":       "podnet",
		"plugins": []object{
			{"type": "ptp", "mtu": mtu, "ipMasq": false, "ipam": object{
				"type": "host-local", "dataDir": "/run/podnet", "ranges": ranges, "routes": routes,
			}},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}
}

// nodeMTU is the MTU of the node's interface on the shared segment, in bytes.
func nodeMTU() int {
	const ethernet = 1500
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return ethernet
	}
	return l.Attrs().MTU
}
