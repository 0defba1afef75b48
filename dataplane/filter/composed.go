// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// Limits of one interface.
const (
	// MaxClusters is how many clusters one interface can serve.
	MaxClusters = 64
	// MaxInterfaceVIPs is how many virtual IPs they can have together.
	MaxInterfaceVIPs = 1024
)

// vipCellsLog2 is the twin of VIP_CELLS_LOG2 in types.h.
const vipCellsLog2 = 16

// vipIndexes are the virtual IPs of one cluster by their indexes in its policy; the zero Addr
// is none. Index 0 is never used.
type vipIndexes [MaxVIPs + 1]netip.Addr

// composed is the table of an interface's virtual IPs in the form the programs read.
type composed struct {
	seed  uint64
	cells [1 << vipCellsLog2]uint16
}

// owned is a virtual IP and where it leads.
type owned struct {
	vip  netip.Addr
	cell uint16
}

// cellOf is the twin of the cells in struct vip_table.
func cellOf(number uint32, index int) uint16 { return uint16(number<<8) | uint16(index) }

// compose lays out virtual IPs, all different, under the seed given if that keeps them apart.
func compose(seed uint64, all []owned) (*composed, error) {
	if len(all) > MaxInterfaceVIPs {
		return nil, fmt.Errorf("%d virtual IPs on one interface, at most %d", len(all), MaxInterfaceVIPs)
	}
	seed, err := findSeed(seed, all)
	if err != nil {
		return nil, err
	}
	c := &composed{seed: seed}
	for i := range all {
		hi, lo := halves(all[i].vip)
		c.cells[vipCell(seed, hi, lo)] = all[i].cell
	}
	return c, nil
}

// isIn reports whether t is c already.
func (c *composed) isIn(t *wlbsVipTable) bool {
	return t.Seed == c.seed && slices.Equal(t.Cells[:], c.cells[:])
}

// store fills t, which no program reads.
func (c *composed) store(t *wlbsVipTable) {
	t.Seed = c.seed
	t.Cells = c.cells
}

// vipCell is the twin of vip_cell in hash.h.
func vipCell(seed, hi, lo uint64) uint32 {
	return uint32((lo ^ hi*0x9e3779b97f4a7c15) * seed >> (64 - vipCellsLog2))
}

// findSeed returns an odd seed under which no two addresses share a cell, so that the programs
// need one probe to tell a virtual IP from any other address: the one given if it does, and else
// another one. 1024 random addresses in 65536 cells are free of collisions under about one seed
// in 3000, 255 under three in five.
func findSeed(seed uint64, all []owned) (uint64, error) {
	const attempts = 1 << 17
	used := make([]uint32, 1<<vipCellsLog2) // by which attempt
	if seed&1 == 0 {
		seed = 0x9e3779b97f4a7c15
	}
	for attempt := range uint32(attempts) {
		if isFree(seed, all, used, attempt+1) {
			return seed, nil
		}
		seed = (bits.RotateLeft64(seed, 23)*0xd6e8feb86659fd93 + 0x632be59bd9b4e019) | 1
	}
	return 0, fmt.Errorf("no hash seed keeps the %d virtual IPs apart", len(all))
}

func isFree(seed uint64, all []owned, used []uint32, attempt uint32) bool {
	for i := range all {
		hi, lo := halves(all[i].vip)
		cell := &used[vipCell(seed, hi, lo)]
		if *cell == attempt {
			return false
		}
		*cell = attempt
	}
	return true
}
