// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Detect chooses how to run a new cluster on this machine. KUBE_WLBS_ENGINE
// overrides the choice: docker, podman or isolated.
func Detect(ctx context.Context) (*Lab, error) {
	l, err := newLab()
	if err != nil {
		return nil, err
	}
	switch choice := os.Getenv("KUBE_WLBS_ENGINE"); choice {
	case "docker", "podman":
		l.Engine = choice
		return l, nil
	case "isolated":
		err = l.isolate()
		return l, err
	case "":
	default:
		return nil, fmt.Errorf("KUBE_WLBS_ENGINE=%s: not one of docker, podman, isolated", choice)
	}
	for _, engine := range []string{"docker", "podman"} {
		if engineWorks(ctx, engine) {
			l.Engine = engine
			return l, nil
		}
	}
	err = l.isolate()
	return l, err
}

// isolate makes l an isolated lab, which takes root.
func (l *Lab) isolate() error {
	if os.Geteuid() != 0 {
		return errors.New("neither Docker nor Podman works here for this user, and a Podman of our own needs root")
	}
	l.Engine, l.Isolated = "podman", true
	return nil
}

// engineWorks reports whether an engine of the machine's own can run kind's nodes.
func engineWorks(ctx context.Context, engine string) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// `info` of both asks the server, where there is one.
	if exec.CommandContext(ctx, engine, "info").Run() != nil {
		return false
	}
	if engine == "docker" {
		return true // the daemon's privileges count, not ours
	}
	return canRaiseLimits() && !mixedCgroups()
}

// canRaiseLimits reports whether we hold CAP_SYS_RESOURCE, without which Podman's
// default limits make every container fail (setrlimit RLIMIT_NOFILE).
func canRaiseLimits() bool {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), "CapBnd:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && bits&(1<<unix.CAP_SYS_RESOURCE) != 0
		}
	}
	return false
}

// mixedCgroups reports whether cgroup v1 controllers and a v2 hierarchy are both
// mounted: crun, Podman's default runtime, refuses that.
func mixedCgroups() bool {
	return CgroupV1() && fileSystem("/sys/fs/cgroup/unified") == unix.CGROUP2_SUPER_MAGIC
}

// CgroupV1 reports whether the machine's controllers are those of cgroup v1, which
// the kubelet accepts only when told to.
func CgroupV1() bool { return fileSystem("/sys/fs/cgroup") != unix.CGROUP2_SUPER_MAGIC }

// fileSystem is the magic number of the file system at path, 0 if there is none.
func fileSystem(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Type) //nolint:unconvert // an int32 on some architectures
}
