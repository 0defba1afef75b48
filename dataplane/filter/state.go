// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// layout numbers the meaning of the pinned maps. Raise it with every change that leaves
// their sizes as they are.
const layout = 1

// state is the memory that the programs read. A mapping, not map updates: an update copies
// a value without promising that a reader sees each word whole.
type state struct {
	memory []byte
	shared *wlbsState
}

func mapState(m *ebpf.Map) (*state, error) {
	size := int(unsafe.Sizeof(wlbsState{}))
	if int(m.ValueSize()) != size {
		return nil, fmt.Errorf("map state: value of %d bytes, expected %d", m.ValueSize(), size)
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map state: mmap: %w", err)
	}
	return &state{memory: memory, shared: (*wlbsState)(unsafe.Pointer(&memory[0]))}, nil
}

func (s *state) close() error {
	if s.memory == nil {
		return nil
	}
	memory := s.memory
	s.memory, s.shared = nil, nil
	if err := unix.Munmap(memory); err != nil {
		return fmt.Errorf("map state: munmap: %w", err)
	}
	return nil
}

func (s *state) active() *wlbsPolicy {
	return &s.shared.Policies[atomic.LoadUint32(&s.shared.Active)]
}

// commit makes c the policy in force: it fills the generation that no program reads, then
// flips one word. Nobody may read that generation any more, see awaitReaders.
func (s *state) commit(c *compiled, held *bucket.Table) {
	next := 1 - atomic.LoadUint32(&s.shared.Active)
	c.store(&s.shared.Policies[next], held)
	atomic.StoreUint32(&s.shared.Active, next)
}

// awaitReaders returns when no program still runs that began before the call: the last
// commit's old generation has no reader left. Programs run under RCU, and the global
// membarrier waits for a grace period; where the kernel refuses it (nohz_full), a program
// is as good as certainly done after 20 ms, as it cannot sleep.
func awaitReaders() {
	const membarrierGlobal = 1
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		<-time.After(20 * time.Millisecond)
	}
}
