// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestDestination(t *testing.T) {
	const modules = "lib/modules/6.1.0-56-amd64/"
	for name, want := range map[string]string{
		"./boot/vmlinuz-6.1.0-56-amd64":                                       "vmlinuz",
		"./usr/lib/modules/7.3.4+deb13-amd64/vmlinuz":                         "vmlinuz",
		"./" + modules + "kernel/net/sched/cls_bpf.ko":                        modules + "kernel/net/sched/cls_bpf.ko",
		"./usr/" + modules + "kernel/net/sched/cls_bpf.ko.xz":                 modules + "kernel/net/sched/cls_bpf.ko.xz",
		"./" + modules + "kernel/drivers/net/veth.ko.xz":                      modules + "kernel/drivers/net/veth.ko.xz",
		"./" + modules + "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko": modules + "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko",
		"./" + modules + "modules.builtin":                                    modules + "modules.builtin",
		"./" + modules + "modules.dep":                                        "",
		"./" + modules + "kernel/net/bluetooth/bluetooth.ko":                  "",
		"./" + modules + "kernel/drivers/gpu/drm/drm.ko":                      "",
		"./usr/share/doc/linux-image/copyright":                               "",
		"./boot/System.map-6.1.0-56-amd64":                                    "",
	} {
		if got := destination(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
