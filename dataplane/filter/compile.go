// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Twins of types.h. The generated types give the sizes of the tables.
const (
	slotAmbiguous = 0xff
	protocolTCP   = 0
	protocolUDP   = 1
	protocols     = 2
	ports         = 1 << 16
	pageSize      = 256
)

// compiled is a Table in the form the programs read.
type compiled struct {
	table       Table
	vips        []netip.Addr
	placed      vipIndexes // where they are in the policy
	indexes     map[netip.Addr]int
	directory   [][protocols]uint16
	slotOfAll   [][protocols]uint8
	directories [][pageSize]uint16
	pages       [][pageSize]uint8

	knownDirectories map[[pageSize]uint16]uint16
	knownPages       map[[pageSize]uint8]uint16
}

// portMap is the slot of every port of one virtual IP.
type portMap [protocols][ports]uint8

func compile(t *Table) (*compiled, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	c := &compiled{
		table:            *t,
		indexes:          make(map[netip.Addr]int, len(t.VIPs)),
		knownDirectories: map[[pageSize]uint16]uint16{},
		knownPages:       map[[pageSize]uint8]uint16{},
	}
	for i, vip := range t.VIPs {
		c.vips = append(c.vips, vip.Unmap())
		c.indexes[vip.Unmap()] = i
	}
	return c, c.compilePorts()
}

// place gives each virtual IP its index in the policy: the one that it has, or else a free one.
// So the interface's table leads to the right place before and after a commit.
func (c *compiled) place(before vipIndexes) {
	c.placed = vipIndexes{}
	var fresh []netip.Addr
	for _, vip := range c.vips {
		if index := slices.Index(before[:], vip); index > 0 {
			c.placed[index] = vip
		} else {
			fresh = append(fresh, vip)
		}
	}
	for index := 1; len(fresh) > 0; index++ {
		if !c.placed[index].IsValid() {
			c.placed[index], fresh = fresh[0], fresh[1:]
		}
	}
}

func (c *compiled) compilePorts() error {
	special := make(map[netip.Addr]bool)
	for _, r := range c.table.Rules {
		if r.VIP.IsValid() {
			special[r.VIP.Unmap()] = true
		}
	}
	c.directory = make([][protocols]uint16, len(c.vips))
	c.slotOfAll = make([][protocols]uint8, len(c.vips))
	common := -1
	for i, vip := range c.vips {
		if !special[vip] && common >= 0 {
			c.directory[i], c.slotOfAll[i] = c.directory[common], c.slotOfAll[common]
			continue
		}
		if !special[vip] {
			common = i
		}
		if err := c.compileVIP(i, c.portMap(vip)); err != nil {
			return fmt.Errorf("virtual IP %s: %w", vip, err)
		}
	}
	return nil
}

func (c *compiled) portMap(vip netip.Addr) *portMap {
	m := new(portMap)
	for p := range m {
		for port := range m[p] {
			m[p][port] = bucket.DefaultSlot
		}
	}
	for _, special := range []bool{false, true} {
		for _, r := range c.table.Rules {
			if r.VIP.IsValid() != special || special && r.VIP.Unmap() != vip {
				continue
			}
			for port := int(r.From); port <= int(r.To); port++ {
				if r.TCP {
					m[protocolTCP][port] = r.Slot
				}
				if r.UDP {
					m[protocolUDP][port] = r.Slot
				}
			}
		}
	}
	return m
}

func (c *compiled) compileVIP(index int, m *portMap) error {
	for p := range m {
		var directory [pageSize]uint16
		for i := range directory {
			page, err := c.page([pageSize]uint8(m[p][i*pageSize:]))
			if err != nil {
				return err
			}
			directory[i] = page
		}
		d, err := c.addDirectory(directory)
		if err != nil {
			return err
		}
		c.directory[index][p] = d
		c.slotOfAll[index][p] = c.slotWithoutPorts(&m[p])
	}
	return nil
}

// slotWithoutPorts returns the slot that decides about a frame without ports.
func (c *compiled) slotWithoutPorts(slots *[ports]uint8) uint8 {
	first := slots[0]
	for _, s := range slots {
		if s != first {
			return slotAmbiguous
		}
	}
	if s := &c.table.Slots[first]; s.Filter == ModeMultiple && s.Affinity == AffinityNone {
		return slotAmbiguous
	}
	return first
}

func (c *compiled) page(content [pageSize]uint8) (uint16, error) {
	if i, ok := c.knownPages[content]; ok {
		return i, nil
	}
	if len(c.pages) == len(wlbsPolicy{}.Pages) {
		return 0, fmt.Errorf("too many different port ranges: they need more than %d pages", len(c.pages))
	}
	i := uint16(len(c.pages))
	c.pages = append(c.pages, content)
	c.knownPages[content] = i
	return i, nil
}

func (c *compiled) addDirectory(content [pageSize]uint16) (uint16, error) {
	if i, ok := c.knownDirectories[content]; ok {
		return i, nil
	}
	if len(c.directories) == len(wlbsPolicy{}.Directories) {
		return 0, fmt.Errorf("too many different sets of port rules: at most %d", len(c.directories))
	}
	i := uint16(len(c.directories))
	c.directories = append(c.directories, content)
	c.knownDirectories[content] = i
	return i, nil
}

// tcpSlot returns the slot of a virtual IP's TCP port.
func (c *compiled) tcpSlot(vip netip.AddrPort) (int, bool) {
	i, ok := c.indexes[vip.Addr()]
	if !ok {
		return 0, false
	}
	page := c.directories[c.directory[i][protocolTCP]][vip.Port()/pageSize]
	return int(c.pages[page][vip.Port()%pageSize]), true
}

// sameMapping reports whether every connection has the same slot and bucket under o.
func (c *compiled) sameMapping(o *compiled) bool {
	if len(c.vips) != len(o.vips) || len(c.table.Rules) != len(o.table.Rules) {
		return false
	}
	for i := range c.vips {
		if c.vips[i] != o.vips[i] {
			return false
		}
	}
	for i := range c.table.Rules {
		if c.table.Rules[i] != o.table.Rules[i] {
			return false
		}
	}
	for i := range c.table.Slots {
		if c.table.Slots[i].Filter != o.table.Slots[i].Filter || c.table.Slots[i].Affinity != o.table.Slots[i].Affinity {
			return false
		}
	}
	return true
}

// store fills p, which no program reads. held are, per slot, the buckets in which this host
// may have connections of earlier epochs.
func (c *compiled) store(p *wlbsPolicy, held *bucket.Table) {
	*p = wlbsPolicy{Epoch: c.table.Epoch}
	for index, vip := range c.placed {
		if !vip.IsValid() {
			continue
		}
		i := c.indexes[vip]
		v := &p.Vips[index]
		v.Hi, v.Lo = halves(vip)
		v.Directory, v.SlotOfAll = c.directory[i], c.slotOfAll[i]
	}
	copy(p.Directories[:], c.directories)
	copy(p.Pages[:], c.pages)
	for i := range c.table.Slots {
		storeSlot(&p.Slots[i], &c.table.Slots[i], held[i])
	}
}

func storeSlot(to *wlbsSlot, s *Slot, held bucket.Map) {
	to.ClientMaskV4Lo, to.ClientMaskV6Lo = ^uint64(0), ^uint64(0)
	switch s.Affinity {
	case AffinityNone:
		to.PortMask = 0xffff
	case AffinitySingle:
	case AffinityNetwork:
		to.ClientMaskV4Lo = 1<<56 - 1 // the address's last octet is the last in memory
		to.ClientMaskV6Lo = 0
	}
	if s.Filter == ModeDisabled {
		return // nothing own, nothing held: nothing gets in
	}
	to.Own = uint64(s.Own)
	if s.sticks() {
		to.Sticky = s.Sticky
	}
	to.Busy = uint64(s.Busy & s.Own)
	to.Held = uint64(held.Minus(s.Own))
}

func storeHeld(to *wlbsSlot, s *Slot, held bucket.Map) {
	if s.Filter != ModeDisabled {
		atomic.StoreUint64(&to.Held, uint64(held.Minus(s.Own)))
	}
}

func storeBusy(to *wlbsSlot, s *Slot) {
	if s.Filter != ModeDisabled {
		atomic.StoreUint64(&to.Busy, uint64(s.Busy&s.Own))
	}
}

// halves returns an address as the programs load it: two words in memory order, IPv4 mapped.
func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
}

func addressOf(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], hi)
	binary.LittleEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b).Unmap()
}
