// SPDX-License-Identifier: Apache-2.0

// Command guest is the first process of a test machine: it mounts what tests need, works off a
// job, tells of it through a virtio port, and powers the machine off. By the name modprobe it
// loads modules, for itself and for the kernel. So a machine needs no program of its
// architecture but what is cross-compiled here.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

func main() {
	if filepath.Base(os.Args[0]) == "modprobe" {
		if err := modprobe(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "modprobe:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Println("guest:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("guest: power off:", err)
	}
}

func run() error {
	if err := errors.Join(mountAll(), environment(), hostname()); err != nil {
		return err
	}
	content, err := os.ReadFile(job.File)
	if err != nil {
		return err
	}
	var j job.Job
	if err := json.Unmarshal(content, &j); err != nil {
		return fmt.Errorf("%s: %w", job.File, err)
	}
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	for _, m := range append([]string{"virtio_pci", "virtio_console", "virtio_rng"}, j.Modules...) {
		if err := modprobe([]string{m}); err != nil {
			fmt.Printf("guest: module %s: %v\n", m, err)
		}
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	r := &reporter{out: json.NewEncoder(port)}
	r.tell(job.Event{Booted: release})
	for _, s := range j.Steps {
		r.step(s)
	}
	r.tell(job.Event{Done: true})
	return port.Close()
}

// openPort waits for the device: drivers find it after they are loaded.
func openPort() (*os.File, error) {
	const limit, interval = 10 * time.Second, 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += interval {
		found, err := filepath.Glob(job.Port)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return os.OpenFile(found[0], os.O_WRONLY, 0)
		}
		if waited > limit {
			return nil, fmt.Errorf("no device %s", job.Port)
		}
		<-time.After(interval)
	}
}
