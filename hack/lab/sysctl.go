// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The kernel settings that a cluster changes for the whole machine: the first two
// are ours, the others the kubelets' own doing.
var machineSysctls = []string{
	"fs/inotify/max_user_instances",
	"fs/inotify/max_user_watches",
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

// setSysctls raises what several nodes on one machine run out of: every systemd,
// kubelet and containerd takes several inotify instances, and the default is 128.
func setSysctls() error {
	if err := rememberSysctls(); err != nil {
		return err
	}
	return errors.Join(
		writeSysctl("fs/inotify/max_user_instances", "1024"),
		writeSysctl("fs/inotify/max_user_watches", "524288"),
	)
}

// sysctlFile holds the machine's own values.
const sysctlFile = runDir + "/sysctls.json"

func rememberSysctls() error {
	if _, err := os.Stat(sysctlFile); err == nil {
		return nil
	}
	values := map[string]string{}
	for _, name := range machineSysctls {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		values[name] = strings.TrimSpace(string(value))
	}
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(sysctlFile, text, 0o644)
}

// restoreSysctls puts back what rememberSysctls found.
func restoreSysctls() error {
	text, err := os.ReadFile(sysctlFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var values map[string]string
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	var errs []error
	for name, value := range values {
		errs = append(errs, writeSysctl(name, value))
	}
	return errors.Join(errs...)
}

func writeSysctl(name, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
}
