// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const portHelp = `A port is one of
  PORT        all rules that contain the port
  ALL         all port rules
  VIP:PORT    the rule for that virtual IP alone that contains the port; also VIP:ALL
  ALL:PORT    the rule for all virtual IPs that contains the port
  NAME        the rule of that name
IPv6 addresses are written in square brackets: [fd00::100]:80.`

const allWord = "ALL"

// portSpec says which port rules a command is about: [<vip>:|ALL:](<port>|ALL), as WLBS had it, or a rule's name.
type portSpec struct {
	text string
	// virtualIP limits to rules for that address; allVIPs to rules without one. Neither: any rule.
	virtualIP string
	allVIPs   bool
	// port is what the rule must contain, -1 for every rule.
	port int32
	// name is set instead of all of the above.
	name string
}

func parsePort(text string) (portSpec, error) {
	p := portSpec{text: text, port: -1}
	address, port, qualified := cutPort(text)
	if qualified {
		switch addr, err := netip.ParseAddr(address); {
		case strings.EqualFold(address, allWord):
			p.allVIPs = !strings.EqualFold(port, allWord) // ALL:ALL is ALL
		case err != nil:
			return p, failf(ExitUsage, "port %q: %q is not an IP address or ALL", text, address)
		default:
			p.virtualIP = addr.String()
		}
	}
	if strings.EqualFold(port, allWord) {
		return p, nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err == nil:
		p.port = int32(number)
		return p, nil
	case !qualified && isRuleName(text):
		p.name = text
		return p, nil
	}
	return p, failf(ExitUsage, "port %q: %q is not a port from 0 to 65535, ALL or a rule's name", text, port)
}

func cutPort(text string) (address, port string, qualified bool) {
	if rest, bracketed := strings.CutPrefix(text, "["); bracketed {
		return strings.Cut(rest, "]:")
	}
	if address, port, qualified = strings.Cut(text, ":"); qualified {
		return address, port, true
	}
	return "", text, false
}

func isRuleName(text string) bool {
	return text != "" && text[0] != '-' && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		strings.Trim(text, "0123456789") != ""
}

// all reports whether the spec means every rule of the cluster.
func (p *portSpec) all() bool { return p.port < 0 && p.name == "" && p.virtualIP == "" && !p.allVIPs }

func (p *portSpec) matches(r *v1alpha1.PortRule) bool {
	switch {
	case p.name != "":
		return r.Name == p.name
	case p.virtualIP != "" && r.VirtualIP != p.virtualIP, p.allVIPs && r.VirtualIP != "":
		return false
	}
	return p.port < 0 || r.Ports.From <= p.port && p.port <= r.Ports.To
}

// rules returns the port rules of a cluster that the spec means. A rule that drops everything on every host has nothing
// that a host could enable or drain, so ALL passes over it.
func (p *portSpec) rules(cluster *v1alpha1.LoadBalancingCluster) ([]v1alpha1.PortRule, error) {
	var found []v1alpha1.PortRule
	var disabled, elsewhere string
	effective := cluster.Spec.EffectivePortRules()
	for i := range effective {
		r := &effective[i]
		switch anyVIP := (portSpec{port: p.port}); {
		case !p.matches(r):
			if p.virtualIP != "" && r.VirtualIP == "" && anyVIP.matches(r) {
				elsewhere = fmt.Sprintf("; rule %s contains it for all virtual IPs", r.Name)
			}
		case r.FilteringMode == v1alpha1.FilteringModeDisabled:
			disabled = r.Name
		default:
			found = append(found, *r)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case disabled != "":
		return nil, failf(ExitNoRule,
			"rule %s of cluster %s has filteringMode Disabled: all hosts drop its traffic, whatever its state",
			disabled, cluster.Name)
	case p.name != "":
		return nil, failf(ExitNoRule, "cluster %s has no rule %s", cluster.Name, p.name)
	case p.port < 0:
		return nil, failf(ExitNoRule, "cluster %s has no rule for %s", cluster.Name, p.text)
	}
	return nil, failf(ExitNoRule, "no rule of cluster %s contains port %s%s (WLBS event 25)", cluster.Name, p.text,
		elsewhere)
}

func whereWords(r *v1alpha1.PortRule) string {
	if r.VirtualIP == "" {
		return "for all virtual IPs"
	}
	return "for " + r.VirtualIP
}

// ruleVerb is a control command about port rules.
type ruleVerb struct {
	name  string
	state v1alpha1.RuleState
	// event holds the words of events 23, 24 and 39 of WLBS, which are also those of 41 to 43.
	event string
}

var ruleVerbs = []ruleVerb{
	{"enable", v1alpha1.RuleStateEnabled, "enabled traffic handling for"},
	{"disable", v1alpha1.RuleStateDisabled, "disabled ALL traffic handling for"},
	{"drain", v1alpha1.RuleStateDrained, "disabled NEW traffic handling for"},
}

// words say what a command did to the rules p means.
func (v *ruleVerb) words(p *portSpec, rules []v1alpha1.PortRule) string {
	if p.all() {
		return v.event + " all port rules"
	}
	names := make([]string, len(rules))
	for i := range rules {
		names[i] = rules[i].Name
	}
	what := "rule"
	if len(rules) > 1 {
		what = "rules"
	}
	switch {
	case p.name != "":
		return fmt.Sprintf("%s rule %s", v.event, p.name)
	case p.port < 0:
		return fmt.Sprintf("%s all port rules of %s (%s %s)", v.event, p.virtualIP, what, strings.Join(names, ", "))
	}
	return fmt.Sprintf("%s rule containing port %s (%s %s)", v.event, p.text, what, strings.Join(names, ", "))
}
