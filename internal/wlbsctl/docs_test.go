// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(kubetest.Path("docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Scripts rely on the documented exit codes.
func TestExitCodesAreDocumented(t *testing.T) {
	text := page(t, "kubectl-plugin.md")
	for code, says := range map[int]string{
		ExitOK: "done", ExitError: "any other error", ExitUsage: "wrong command line", ExitNotFound: "no such cluster",
		ExitRefused: "suspended", ExitNoRule: "no port rule", ExitHostStopped: "stopped host",
		ExitTimeout:      "`--wait` ran out",
		ExitNotConverged: "not converged", ExitStalled: "carries no traffic",
	} {
		row := fmt.Sprintf("\n| %d | ", code)
		_, after, found := strings.Cut(text, row)
		if line, _, _ := strings.Cut(after, "\n"); !found || !strings.Contains(line, says) {
			t.Errorf("exit code %d is not documented as %q: %q", code, says, line)
		}
	}
}

func TestCommandsAreDocumented(t *testing.T) {
	text := page(t, "kubectl-plugin.md")
	for _, cmd := range (&app{}).rootCommand().Commands() {
		name := cmd.Name()
		if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+" ") {
			t.Errorf("command %s is not documented", name)
		}
	}
}

// registry are the parameters of WLBS and NLB in public documents: KB Q193601, Q232454 and Q248346, cc962166, cc749554,
// ff716176, and the sample output of "wlbs params" on Windows 2003.
const registry = `
AliveMsgPeriod AliveMsgTolerance ClusterIPAddress ClusterNetworkMask ClusterName ClusterNetworkAddress
ClusterModeOnStart ConnectionCleanupDelay DedicatedIPAddress DedicatedNetworkMask DescriptorsPerAlloc
MaxDescriptorsAlloc MaxDescriptorAllocs HostPriority IPToMACEnable LicenseKey MaskSourceMAC MulticastSupportEnable
MulticastARPEnable NBTSupportEnable RemoteControlEnabled RemoteControlUDPPort NumActions NumPackets NumAliveMsgs
TCPConnectionTimeout IPSecConnectionTimeout GreDescriptorTimeout FilterICMP IPChangeDelay ScaleSingleClient
NetmonAliveMsgs RemoteControlCode RemoteMaintenanceEnabled IGMPSupport McastIPAddress BDATeaming TeamID Master
ReverseHash IdentityHeartbeatEnabled IdentityHeartbeatPeriod PersistedStates MaxConnectionDescriptors
UnicastInterHostCommSupport EnableTCPNotification CurrentVersion EffectiveVersion`

// Who knows WLBS finds every parameter and every command of it, with what became of it.
func TestWLBSIsMapped(t *testing.T) {
	text := page(t, "wlbs.md")
	parameters, commands, found := strings.Cut(text, "## 6. Commands")
	if !found {
		t.Fatal("docs/wlbs.md has no section of commands")
	}
	for name := range strings.FieldsSeq(registry) {
		if !strings.Contains(parameters, name) {
			t.Errorf("parameter %s is not in docs/wlbs.md", name)
		}
	}
	for _, name := range []string{"help", "ip2mac", "reload", "display", "query", "suspend", "resume", "start", "stop",
		"drainstop",
		"queryport", "params", "filter", "adjust", "igmp"} {
		if !strings.Contains(commands, name) {
			t.Errorf("command %s is not in docs/wlbs.md", name)
		}
	}
}
