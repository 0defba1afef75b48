// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a named network namespace, as "ip netns" knows it, and one thread that lives in it.
type Namespace struct {
	// Name as "ip netns exec" takes it.
	Name string

	work chan func()
	once sync.Once
}

// newNamespace makes a namespace with lo up, whose interfaces use link-local addresses at once.
func newNamespace(name string) (*Namespace, error) {
	n := &Namespace{Name: name, work: make(chan func())}
	started := make(chan error)
	go n.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	err := n.Do(func() error { return errors.Join(linkUp("lo")(), setSysctl("ipv6/conf/default/accept_dad", 0)) })
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// run is the thread inside. It is never unlocked, so that it ends with the goroutine and no other
// goroutine ever runs on it.
func (n *Namespace) run(started chan<- error) {
	runtime.LockOSThread()
	handle, err := netns.NewNamed(n.Name)
	if err != nil {
		started <- fmt.Errorf("make network namespace %s: %w", n.Name, err)
		return
	}
	_ = handle.Close()
	started <- nil
	for f := range n.work {
		f()
	}
}

// Do calls f on the thread inside the namespace. Sockets and processes that f makes stay there. f must not call Do.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	n.work <- func() { done <- f() }
	return <-done
}

func (n *Namespace) close() error {
	n.once.Do(func() { close(n.work) })
	return deleteNamespace(n.Name)
}

func deleteNamespace(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	return nil
}

// Run runs a command inside and returns what it prints.
func (n *Namespace) Run(command string, args ...string) (string, error) {
	var out []byte
	err := n.Do(func() (err error) {
		out, err = exec.Command(command, args...).CombinedOutput()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s %s in %s: %w: %s", command, strings.Join(args, " "), n.Name, err,
			strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Commands runs commands inside, whose words are separated by blanks, until one fails.
func (n *Namespace) Commands(lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if _, err := n.Run(words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// Process is a process of the rig.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// start runs a command inside, with its output in a file. Without detach it dies with the rig's process.
func (n *Namespace) start(log string, detach bool, env []string, command string, args ...string) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(command, args...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: detach}
	if !detach {
		// The signal is sent when the thread that started the process ends: that of the namespace.
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := n.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", command, n.Name, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{}), log: log}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *Process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to process %d: %w", s, p.PID(), err)
	}
	return nil
}

// end sends a signal and waits until the process is gone; one that goes on is killed, and that is an error.
func (p *Process) end(s os.Signal) error {
	if err := p.signal(s); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopLimit):
	}
	_ = p.signal(syscall.SIGKILL)
	<-p.done
	return fmt.Errorf("process %d did not end within %v of %v; its log: %s", p.PID(), stopLimit, s, p.log)
}

func linkUp(name string) func() error {
	return func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		return netlink.LinkSetUp(link)
	}
}

func linkDown(name string) func() error {
	return func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		return netlink.LinkSetDown(link)
	}
}
