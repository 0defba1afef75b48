// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
)

func TestResolve(t *testing.T) {
	m := &modules{
		files: parseDependencies("kernel/drivers/net/veth.ko:\n" +
			"kernel/net/8021q/8021q.ko: kernel/net/802/mrp.ko kernel/net/llc/llc.ko\n" +
			"kernel/net/802/mrp.ko:\nkernel/net/llc/llc.ko:\n" +
			"kernel/crypto/crc32c-generic.ko.xz:\n"),
		builtin: parseBuiltin("kernel/drivers/virtio/virtio-pci.ko\n"),
		aliases: parseAliases("# comment\nalias rtnl-link-veth veth\nalias rtnl-link-vlan 8021q\nalias crypto-crc32c* crc32c_generic\n"),
	}
	for name, want := range map[string][]string{
		"veth":            {"kernel/drivers/net/veth.ko"},
		"rtnl-link-veth":  {"kernel/drivers/net/veth.ko"},
		"rtnl-link-vlan":  {"kernel/net/llc/llc.ko", "kernel/net/802/mrp.ko", "kernel/net/8021q/8021q.ko"},
		"crypto-crc32c-1": {"kernel/crypto/crc32c-generic.ko.xz"},
		"crc32c-generic":  {"kernel/crypto/crc32c-generic.ko.xz"},
		"virtio_pci":      nil,
	} {
		if got, err := m.resolve(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if got, err := m.resolve("rtnl-link-unheard-of"); err == nil {
		t.Errorf("%v, want an error", got)
	}
}

func TestWithRun(t *testing.T) {
	got := withRun([]string{"/t/test", "-test.v", "-test.run=^TestA"}, []string{"TestAB", "TestAC"})
	if want := []string{"/t/test", "-test.v", "-test.run=^(TestAB|TestAC)$"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
