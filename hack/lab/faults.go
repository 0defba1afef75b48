// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// Port is the bridge's port that leads to a node: the machine's end of the node's
// eth0. It changes when the node is started again.
func (l *Lab) Port(ctx context.Context, node string) (string, error) {
	out, err := l.InNodeNet(ctx, node, "ip", "-json", "link", "show", "dev", "eth0")
	if err != nil {
		return "", err
	}
	inside, err := parseLinks(out)
	if err != nil || len(inside) != 1 {
		return "", fmt.Errorf("eth0 of node %s is not understood: %q", node, out)
	}
	if out, err = l.Output(ctx, "ip", "-json", "link", "show", "type", "veth"); err != nil {
		return "", err
	}
	ports, err := parseLinks(out)
	if err != nil {
		return "", err
	}
	for _, p := range ports {
		if p.Index == inside[0].Peer {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("node %s has no port on this machine (interface %d)", node, inside[0].Peer)
}

type link struct {
	Index int    `json:"ifindex"`
	Name  string `json:"ifname"`
	Peer  int    `json:"link_index"`
}

func parseLinks(text string) ([]link, error) {
	var links []link
	err := json.Unmarshal([]byte(text), &links)
	return links, err
}

// Unplug takes a node's link down from the switch's side, as a pulled cable does.
func (l *Lab) Unplug(ctx context.Context, node string) error { return l.setPort(ctx, node, "down") }

// Plug brings the link back.
func (l *Lab) Plug(ctx context.Context, node string) error { return l.setPort(ctx, node, "up") }

func (l *Lab) setPort(ctx context.Context, node, state string) error {
	port, err := l.Port(ctx, node)
	if err != nil {
		return err
	}
	_, err = l.Output(ctx, "ip", "link", "set", "dev", port, state)
	return err
}

// faultTable holds our rules, and nothing else.
const faultTable = "bridge kube-wlbs-faults"

// Block lets no frame of node from reach node to. One direction: call it twice to
// keep two nodes apart. It holds for the ports the nodes have now.
func (l *Lab) Block(ctx context.Context, from, to string) error {
	in, err := l.Port(ctx, from)
	if err != nil {
		return err
	}
	out, err := l.Port(ctx, to)
	if err != nil {
		return err
	}
	return l.nft(ctx, fmt.Sprintf(`table %[1]s {
  chain forward { type filter hook forward priority 0; policy accept; }
}
add rule %[1]s forward iifname %[2]q oifname %[3]q drop
`, faultTable, in, out))
}

// Partition keeps the nodes of two groups apart, both ways.
func (l *Lab) Partition(ctx context.Context, left, right []string) error {
	for _, a := range left {
		for _, b := range right {
			if err := l.Block(ctx, a, b); err != nil {
				return err
			}
			if err := l.Block(ctx, b, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// Heal ends all that Block and Partition did.
func (l *Lab) Heal(ctx context.Context) error {
	return l.nft(ctx, fmt.Sprintf("table %[1]s {}\ndelete table %[1]s\n", faultTable))
}

func (l *Lab) nft(ctx context.Context, rules string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Env = l.Environ()
	cmd.Stdin = strings.NewReader(rules)
	_, err := output(cmd)
	return err
}
