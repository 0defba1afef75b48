// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// RenewLease lets the filter accept until the given time of CLOCK_MONOTONIC, see Now; one
// in the past ends the lease. The programs notice the end with a tick of the kernel's timer,
// so up to 10 ms late.
//
// The lease is kept in jiffies, the one clock that costs a program no call. They count the
// ticks of CLOCK_MONOTONIC, and stop with it while the machine is suspended.
func (f *Filter) RenewLease(until time.Duration) error {
	f.leasing.Lock()
	defer f.leasing.Unlock()
	jiffies, err := f.iface.jiffies()
	if err != nil {
		return fmt.Errorf("filter: renew lease: %w", err)
	}
	tick, err := tick()
	if err != nil {
		return fmt.Errorf("filter: renew lease: %w", err)
	}
	var lease uint64
	if left := until - Now(); left > 0 {
		lease = jiffies + uint64(left/tick)
	}
	atomic.StoreUint64(&f.state.value.Header.Lease, lease)
	return nil
}

// Revoke ends the lease: from the next packet on, nothing is accepted.
func (f *Filter) Revoke() error {
	f.leasing.Lock()
	defer f.leasing.Unlock()
	atomic.StoreUint64(&f.state.value.Header.Lease, 0)
	return nil
}

func (i *Interface) jiffies() (uint64, error) {
	i.programs.RLock()
	defer i.programs.RUnlock()
	var c wlbsClock
	if _, err := i.objects.WlbsClock.Run(&ebpf.RunOptions{Context: &c, ContextOut: &c}); err != nil {
		return 0, fmt.Errorf("read jiffies: %w", err)
	}
	return c.Jiffies, nil
}

// tick returns the length of a jiffy: what the kernel gives as the resolution of its coarse
// clocks.
func tick() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		return 0, fmt.Errorf("resolution of the coarse clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
