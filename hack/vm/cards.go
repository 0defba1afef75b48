// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// hostArch is the architecture whose programs this machine has.
const hostArch = runtime.GOARCH

const (
	// cardTest is the rig's test that runs on cards.
	cardTest = "TestCards"
	// cardsVariable tells it which cards there are: MODEL=MAC,MAC... of the client and the hosts,
	// each with two of them, and a blank before the next model.
	cardsVariable = "KUBE_WLBS_CARDS"
	// cardHosts is how many hosts there are beside the client, cardsEach how many cards each has.
	cardHosts, cardsEach = 3, 2
)

// model is a card that qemu emulates, and what is special about it.
type model struct {
	// name in tests; device is qemu's, driver the kernel's.
	name, device, driver string
}

func allModels() []model {
	return []model{
		{"virtio-net", "virtio-net-pci", "virtio_net"}, // native XDP
		{"e1000e", "e1000e", "e1000e"},                 // none: TCX, or clsact
		{"vmxnet3", "vmxnet3", "vmxnet3"},              // native XDP from 6.6 on
	}
}

func modelNames() []string {
	var names []string
	for _, m := range allModels() {
		names = append(names, m.name)
	}
	return names
}

// chooseModels by name.
func chooseModels(names []string) ([]model, error) {
	var out []model
	for _, name := range names {
		i := slices.IndexFunc(allModels(), func(m model) bool { return m.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no card %q, there are %v", name, modelNames())
		}
		out = append(out, allModels()[i])
	}
	return out, nil
}

// macOf a card: all of one model are on hub number hub.
func macOf(hub, host, card int) string {
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", hub, card, host)
}

// cardsOf are those of the machine: all of one model are on one segment.
func cardsOf(chosen []model) []Card {
	var out []Card
	for i, m := range chosen {
		for host := range cardHosts + 1 {
			for card := range cardsEach {
				out = append(out, Card{Model: m.device, MAC: macOf(i, host, card), Hub: i})
			}
		}
	}
	return out
}

func drivers(chosen []model) []string {
	var out []string
	for _, m := range chosen {
		out = append(out, m.driver)
	}
	return out
}

// cardsEnv tells the test which cards there are.
func cardsEnv(chosen []model) string {
	var out []string
	for i, m := range chosen {
		var macs []string
		for host := range cardHosts + 1 {
			for card := range cardsEach {
				macs = append(macs, macOf(i, host, card))
			}
		}
		out = append(out, m.name+"="+strings.Join(macs, ","))
	}
	return cardsVariable + "=" + strings.Join(out, " ")
}

// cardRun restricts the test to some of its subtests.
func cardRun(pattern string) string {
	if pattern == "" {
		return "^" + cardTest + "$"
	}
	return "^" + cardTest + "$/" + pattern
}
