// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

// accelVariable asks qemu for another accelerator than emulation. None is looked for: a /dev/kvm
// that can be opened need not run a guest.
const accelVariable = "KUBE_WLBS_VM_ACCEL"

// Machine is an emulated one that ends by itself.
type Machine struct {
	Kernel Unpacked
	Arch   string
	Root   string
	// Cards on it, each on the segment of its hub.
	Cards []Card
	// Console is the file that the kernel's messages go to.
	Console string
	// Limit is how long it may run.
	Limit time.Duration
}

// Card is an emulated network card.
type Card struct {
	// Model is qemu's word, MAC the card's permanent address.
	Model, MAC string
	// Hub is the number of the segment that it is on.
	Hub int
}

func qemu(arch string) (program string, args []string) {
	if arch == "arm64" {
		return "qemu-system-aarch64", []string{"-M", "virt", "-cpu", "neoverse-n1"}
	}
	return "qemu-system-x86_64", []string{"-M", "q35", "-cpu", "max"}
}

// command of the machine. Events leave it by the first extra file.
func (m *Machine) command(ctx context.Context) *exec.Cmd {
	program, args := qemu(m.Arch)
	accel, console := os.Getenv(accelVariable), "ttyS0"
	if accel == "" {
		accel = "tcg,thread=multi"
	}
	if m.Arch == "arm64" {
		console = "ttyAMA0"
	}
	const memory, processors = "3G", "2"
	args = append(args,
		"-accel", accel, "-smp", processors, "-m", memory, "-display", "none", "-monitor", "none", "-no-reboot", "-nic",
		"none",
		"-kernel", m.Kernel.image(), "-initrd", m.Root,
		"-append", "console="+console+" panic=-1 mitigations=off quiet loglevel=5 random.trust_cpu=on"+
			// Watchdogs bark where the host gives no time.
			" nowatchdog rcupdate.rcu_cpu_stall_suppress=1",
		"-serial", "file:"+m.Console, "-device", "virtio-rng-pci",
		"-chardev", "file,id=events,path=/dev/fd/3",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=events",
	)
	for i, c := range m.Cards {
		args = append(args,
			"-netdev", fmt.Sprintf("hubport,id=n%d,hubid=%d", i, c.Hub),
			// Without its ROM, which waits for the network to boot from.
			"-device", fmt.Sprintf("%s,netdev=n%d,mac=%s,romfile=", c.Model, i, c.MAC))
	}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // who sets the accelerator may run programs anyway
	cmd.Stderr = os.Stderr
	return cmd
}

// run boots the machine, hands over its events and waits until it is off. One that did not do all
// of its job is an error.
func (m *Machine) run(ctx context.Context, handle func(job.Event)) error {
	ctx, cancel := context.WithTimeout(ctx, m.Limit)
	defer cancel()
	events, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer events.Close()
	cmd := m.command(ctx)
	cmd.ExtraFiles = []*os.File{write}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return err
	}
	done, readErr := readEvents(events, handle)
	if err := cmd.Wait(); err != nil {
		return errors.Join(fmt.Errorf("machine: %w", err), ctx.Err(), readErr)
	}
	if !done {
		return errors.Join(fmt.Errorf("the machine ended before its job; %s ends with:\n%s", filepath.Base(m.Console),
			m.lastWords()), readErr)
	}
	return errors.Join(readErr, m.complaint())
}

// trouble is what the kernel says when a program of ours, or a test, has hurt it.
var trouble = regexp.MustCompile(`(?m)^.*(BUG:|Oops|WARNING: |Call Trace|general protection|KASAN|hung_task).*$`)

// complaint is an error if the kernel complained.
func (m *Machine) complaint() error {
	content, err := os.ReadFile(m.Console)
	if err != nil {
		return err
	}
	if found := trouble.Find(content); found != nil {
		return fmt.Errorf("the kernel complains in %s: %s", m.Console, bytes.TrimSpace(found))
	}
	return nil
}

// readEvents until there are no more, and reports whether the job was done.
func readEvents(in *os.File, handle func(job.Event)) (done bool, err error) {
	lines := bufio.NewReader(in)
	for {
		line, readErr := lines.ReadBytes('\n')
		if readErr != nil {
			return done, err
		}
		var e job.Event
		if jsonErr := json.Unmarshal(line, &e); jsonErr != nil {
			err = errors.Join(err, fmt.Errorf("event %q: %w", line, jsonErr))
			continue
		}
		done = done || e.Done
		handle(e)
	}
}

// lastWords are the end of the console.
func (m *Machine) lastWords() string {
	const most = 20
	content, err := os.ReadFile(m.Console)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
