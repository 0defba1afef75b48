// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// nameServerDir is where Podman, run by root, keeps the state of its name server,
// whatever its configuration says of other folders: a process ID, and one file of
// names and addresses for each network.
const nameServerDir = "/run/containers/networks/aardvark-dns"

// dropStaleNames ends a name server that an earlier lab, whose nodes are no more,
// has left, and removes its files. It would serve a network namespace that is gone,
// or answer with old addresses; and if it was killed, Podman would send signals to
// whoever has its process ID now.
func dropStaleNames(ctx context.Context) error {
	pidFile := filepath.Join(nameServerDir, "aardvark.pid")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return errors.Join(ignoreGone(err), removeFile(namesFile))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s is not understood: %w", pidFile, err)
	}
	if isNameServer(pid) {
		others, err := servesOthers()
		if err != nil {
			return err
		}
		if others {
			return fmt.Errorf("the name server of this machine's own Podman (process %d) is running: "+
				"stop its containers, or set KUBE_WLBS_ENGINE=podman to use it", pid)
		}
		if err := end(ctx, pid); err != nil {
			return err
		}
	}
	return errors.Join(removeFile(pidFile), removeFile(namesFile))
}

// namesFile holds our nodes' names.
const namesFile = nameServerDir + "/" + networkName

func isNameServer(pid int) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.HasPrefix(string(name), "aardvark-dns")
}

// servesOthers reports whether the name server has names of networks that are not ours.
func servesOthers() (bool, error) {
	entries, err := os.ReadDir(nameServerDir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name() != networkName && e.Name() != "aardvark.pid" {
			return true, nil
		}
	}
	return false, nil
}

// end asks a process to end, and returns when it is gone.
func end(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for signal := unix.SIGTERM; unix.Kill(pid, signal) == nil; signal = 0 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
