// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"
)

// scenarioArgs are the arguments of a command.
type scenarioArgs struct {
	hosts  []*simHost // all if none was named
	words  []string   // what is no host, and has no value
	links  [][2]*simHost
	values map[string]string
}

// parse sorts out the arguments: hosts, links (1->2, 1,2<->3), words and values (for=2s).
func (sc *scenario) parse(cmdArgs []datadriven.CmdArg) (*scenarioArgs, error) {
	a := &scenarioArgs{values: map[string]string{}}
	for _, arg := range cmdArgs {
		switch {
		case len(arg.Vals) > 0:
			a.values[arg.Key] = strings.Join(arg.Vals, ",")
		case strings.Contains(arg.Key, "->"):
			if err := sc.link(a, arg.Key); err != nil {
				return nil, err
			}
		case arg.Key[0] >= '0' && arg.Key[0] <= '9' && !strings.HasSuffix(arg.Key, "s"):
			hosts, err := sc.hosts(arg.Key)
			if err != nil {
				return nil, err
			}
			a.hosts = append(a.hosts, hosts...)
		default:
			a.words = append(a.words, arg.Key)
		}
	}
	if len(a.hosts) == 0 {
		a.hosts = sc.s.hosts
	}
	return a, nil
}

// hosts returns the hosts in a list of node numbers; * is all.
func (sc *scenario) hosts(list string) ([]*simHost, error) {
	if list == "*" {
		return sc.s.hosts, nil
	}
	var out []*simHost
	for n := range strings.SplitSeq(list, ",") {
		i, err := strconv.Atoi(n)
		if err != nil || i < 1 || i > len(sc.s.hosts) {
			return nil, fmt.Errorf("no host %q", n)
		}
		out = append(out, sc.s.hosts[i-1])
	}
	return out, nil
}

// link adds the links between two lists of hosts, in one direction or both.
func (sc *scenario) link(a *scenarioArgs, text string) error {
	left, right, _ := strings.Cut(text, "->")
	left, both := strings.CutSuffix(left, "<")
	from, err := sc.hosts(left)
	if err != nil {
		return err
	}
	to, err := sc.hosts(right)
	if err != nil {
		return err
	}
	for _, f := range from {
		for _, o := range to {
			if f == o {
				continue
			}
			a.links = append(a.links, [2]*simHost{f, o})
			if both {
				a.links = append(a.links, [2]*simHost{o, f})
			}
		}
	}
	return nil
}

func (a *scenarioArgs) word(i int) string {
	if i >= len(a.words) {
		return ""
	}
	return a.words[i]
}

// duration returns the value of a name, 0 if there is none.
func (a *scenarioArgs) duration(name string) (time.Duration, error) {
	v, ok := a.values[name]
	if !ok {
		return 0, nil
	}
	return time.ParseDuration(v)
}

// number sets out to the value of a name, if there is one.
func (a *scenarioArgs) number(name string, set func(int)) error {
	v, ok := a.values[name]
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	set(n)
	return nil
}
