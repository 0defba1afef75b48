// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"
)

// The isolated lab's Ethernet segment. Addresses for nodes come from the lower
// half, so that the upper one is free for virtual IPs however often nodes start.
const (
	isolatedBridge    = "kind0"
	isolatedSubnet    = "10.89.0.0/16"
	isolatedGateway   = "10.89.0.1"
	isolatedNodeRange = "10.89.0.0/17"
	isolatedSubnet6   = "fd00:10:89::/64"
)

// Prepare makes the machine ready for the nodes of an isolated lab. It may be
// called from outside the namespace, and again at any time. Other labs need none.
func (l *Lab) Prepare(ctx context.Context) error {
	if !l.Isolated {
		return nil
	}
	for _, dir := range []string{l.enginePath("networks"), runDir, "/lib/modules"} { // kind mounts /lib/modules
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := dropStateOfEarlierBoot(ctx); err != nil {
		return err
	}
	if err := setSysctls(); err != nil {
		return err
	}
	if err := makeNamespace(ctx); err != nil {
		return err
	}
	return l.writeEngineConfig()
}

// PrepareNetwork makes the nodes' segment in an isolated lab: a plain switch,
// dual-stack. It has to be called inside the lab.
func (l *Lab) PrepareNetwork(ctx context.Context) error {
	if !l.Isolated {
		return nil
	}
	for name, value := range map[string]string{
		"net/ipv4/ip_forward":          "1",
		"net/ipv6/conf/all/forwarding": "1",
		// What the bridge carries must not pass through iptables, where Podman's
		// masquerading would change the source of pods' packets.
		"net/bridge/bridge-nf-call-iptables":  "0",
		"net/bridge/bridge-nf-call-ip6tables": "0",
	} {
		if err := writeSysctl(name, value); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if nodes, err := l.engine(ctx, "ps", "--all", "--quiet"); err != nil {
		return err
	} else if nodes == "" {
		if err := dropStaleNames(ctx); err != nil {
			return err
		}
	}
	if _, err := l.engine(ctx, "network", "exists", networkName); err == nil {
		return nil
	}
	_, err := l.engine(ctx, "network", "create", "--subnet", isolatedSubnet, "--gateway", isolatedGateway,
		"--ip-range", isolatedNodeRange, "--ipv6", "--subnet", isolatedSubnet6, networkName)
	if err != nil {
		return err
	}
	return l.nameBridge()
}

// nameBridge gives the network's bridge a name that does not depend on what other
// networks there are; `podman network create` of Debian 12 has no flag for it.
func (l *Lab) nameBridge() error {
	file := l.enginePath("networks", networkName+".json")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var network map[string]any
	if err := json.Unmarshal(text, &network); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	network["network_interface"] = isolatedBridge
	if text, err = json.MarshalIndent(network, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

var containersConf = template.Must(template.New("containers.conf").Parse(`[containers]
# Not every machine grants CAP_SYS_RESOURCE: no limit may be above our own.
default_ulimits = ["nofile={{.Files}}:{{.Files}}", "nproc={{.Files}}:{{.Files}}"]
pids_limit = 0
log_driver = "k8s-file"
[engine]
# crun refuses cgroup v1 beside v2, and there may be no systemd to ask.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{{.Run}}/libpod"
[network]
network_backend = "netavark"
network_config_dir = "{{.Engine}}/networks"
`))

var storageConf = template.Must(template.New("storage.conf").Parse(`[storage]
driver = "overlay"
graphroot = "{{.Engine}}/storage"
runroot = "{{.Run}}/storage"
`))

// writeEngineConfig writes Podman's files: the machine's own are not used.
func (l *Lab) writeEngineConfig() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	const enough = 1 << 20
	values := struct {
		Files       uint64
		Run, Engine string
	}{min(limit.Max, enough), runDir, l.enginePath()}
	for name, t := range map[string]*template.Template{
		"containers.conf": containersConf,
		"storage.conf":    storageConf,
	} {
		var text strings.Builder
		if err := t.Execute(&text, values); err != nil {
			return err
		}
		if err := os.WriteFile(l.enginePath(name), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// dropStateOfEarlierBoot removes the engine's run-time state when it is not of
// this boot. Podman takes its absence for a reboot, and would else believe, where
// /run outlives one, that containers run.
func dropStateOfEarlierBoot(ctx context.Context) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	stamp := filepath.Join(runDir, "boot")
	if seen, err := os.ReadFile(stamp); err == nil && bytes.Equal(seen, boot) {
		return nil
	}
	for _, dir := range []string{"libpod", "storage"} {
		if err := removeTree(ctx, filepath.Join(runDir, dir)); err != nil {
			return err
		}
	}
	return os.WriteFile(stamp, boot, 0o644)
}

func (l *Lab) enginePath(elem ...string) string {
	return filepath.Join(append([]string{l.cache, "engine"}, elem...)...)
}

// runDir holds what does not outlive a boot.
const runDir = "/run/kube-wlbs-lab"
