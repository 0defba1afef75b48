// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// layout numbers the meaning of the pinned maps. Raise it with every change that leaves their
// sizes as they are.
const layout = 2

// shared is a map's value in memory that the programs read. A mapping, not map updates: an
// update copies a value without promising that a reader sees each word whole.
type shared[T any] struct {
	memory []byte
	value  *T
}

func mapShared[T any](m *ebpf.Map) (*shared[T], error) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if int(m.ValueSize()) < size {
		return nil, fmt.Errorf("map %s: value of %d bytes, expected %d", m, m.ValueSize(), size)
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: mmap: %w", m, err)
	}
	return &shared[T]{memory: memory, value: (*T)(unsafe.Pointer(&memory[0]))}, nil
}

func (s *shared[T]) close() error {
	if s.memory == nil {
		return nil
	}
	memory := s.memory
	s.memory, s.value = nil, nil
	if err := unix.Munmap(memory); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	return nil
}

// policy returns the policy in force.
func (s *wlbsState) policy() *wlbsPolicy {
	return &s.Policies[atomic.LoadUint32(&s.Header.Active)]
}

// commit makes c the policy in force: it fills the generation that no program reads, then
// flips one word. Nobody may read that generation any more, see awaitReaders.
func (s *wlbsState) commit(c *compiled, held *bucket.Table) {
	next := 1 - atomic.LoadUint32(&s.Header.Active)
	c.store(&s.Policies[next], held)
	atomic.StoreUint32(&s.Header.Active, next)
}

// vips returns the virtual IPs in force, by their indexes in the policy.
func (s *wlbsState) vips() vipIndexes {
	var out vipIndexes
	p := s.policy()
	for i := range p.Vips {
		if v := &p.Vips[i]; v.Hi|v.Lo != 0 {
			out[i] = addressOf(v.Hi, v.Lo)
		}
	}
	return out
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

// macWord returns a MAC as the programs compare it.
func macWord(mac net.HardwareAddr) uint64 {
	var b [8]byte
	copy(b[:6], mac)
	return binary.LittleEndian.Uint64(b[:])
}
