// SPDX-License-Identifier: Apache-2.0

package words

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestWriteParams(t *testing.T) {
	cluster := &v1alpha1.LoadBalancingCluster{Spec: v1alpha1.LoadBalancingClusterSpec{
		Mode: v1alpha1.ModeIGMPMulticast, VirtualIPs: []string{"172.18.0.100", "fd00:172:18::100"},
		PortRules: []v1alpha1.PortRule{
			{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 80}, Protocol: v1alpha1.ProtocolTCP,
				Affinity: v1alpha1.AffinityNone},
			{Name: "dns6", Ports: v1alpha1.PortRange{From: 53, To: 53}, FilteringMode: v1alpha1.FilteringModeSingle,
				VirtualIP: "fd00:172:18::100"},
			{Name: "off", Ports: v1alpha1.PortRange{From: 0, To: 65535}, Protocol: v1alpha1.ProtocolUDP,
				FilteringMode: v1alpha1.FilteringModeDisabled},
			{Name: "even", Ports: v1alpha1.PortRange{From: 443, To: 443}, Protocol: v1alpha1.ProtocolTCP,
				AffinityTimeoutSeconds: new(int32(1800))},
		},
	}}
	cluster.Name, cluster.Generation = "web", 3
	host := &v1alpha1.LoadBalancingHost{
		Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: "node-b", HostID: 2,
			DesiredState: v1alpha1.DesiredStateDrained, Rules: []v1alpha1.HostRule{
				{Name: "http", LoadWeight: new(int32(30)), State: v1alpha1.RuleStateDrained},
				{Name: "dns6", HandlingPriority: new(int32(7))},
			}},
		Status: v1alpha1.LoadBalancingHostStatus{
			State: v1alpha1.HostDraining, ClusterGeneration: new(int64(2)),
			Traffic:   v1alpha1.HostTraffic{Connections: new(int64(17)), Untracked: new(int64(4))},
			Dataplane: v1alpha1.HostDataplane{Interface: "eth0", Hook: v1alpha1.HookXDP, HostMAC: "02:42:ac:12:00:03"},
		},
	}
	var b strings.Builder
	if err := WriteParams(&b, cluster, host); err != nil {
		t.Fatal(err)
	}
	want := `Cluster web (172.18.0.100)
Retrieving parameters
HostName                  = node-b
HostPriority              = 2
ClusterIPAddress          = 172.18.0.100
McastIPAddress            = 239.255.0.100
ClusterName               = web
ClusterNetworkAddress     = 01-00-5e-7f-00-64
MulticastSupportEnable    = ENABLED
IGMPSupport               = ENABLED
AliveMsgPeriod            = 200
AliveMsgTolerance         = 5
MaxConnectionDescriptors  = 262144
ClusterModeOnStart        = DRAINED
HostState                 = DRAINING
VirtualIPAddresses        = 172.18.0.100,fd00:172:18::100
Mode                      = IGMPMulticast
Interface                 = eth0
HostNetworkAddress        = 02-42-ac-12-00-03
FilterHook                = XDP
StallWindow               = 5000
StallMinPackets           = 16
StallAction               = Report
SpecGeneration            = 3
GenerationInForce         = 2

PortRules (4):
      VIP        Start  End  Prot   Mode   Pri Load Affinity Timeout State    Name
---------------- ----- ----- ---- -------- --- ---- -------- ------- -------- ----
All                 80    80 TCP  Multiple       30 None             Drained  http
fd00:172:18::100    53    53 Both Single     7                       Enabled  dns6
All                  0 65535 UDP  Disabled                           Enabled  off
All                443   443 TCP  Multiple      Eql Single      1800 Enabled  even

Statistics:
Number of active connections        = 17
Number of connections not tracked   = 4
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("WriteParams() (-want +got):\n%s", diff)
	}
}

// An object that was only just created must not break anything.
func TestWriteParamsOfAnEmptyHost(t *testing.T) {
	var b strings.Builder
	if err := WriteParams(&b, &v1alpha1.LoadBalancingCluster{}, &v1alpha1.LoadBalancingHost{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HostState                 = UNKNOWN\n", "Interface                 = NONE\n",
		"GenerationInForce         = NONE\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q lacks %q", b.String(), want)
		}
	}
}

// The addresses are those of Microsoft's article on the operation modes of NLB, for 192.168.192.4.
func TestWriteIP2MAC(t *testing.T) {
	var b strings.Builder
	if err := WriteIP2MAC(&b, MACsOf(netip.MustParseAddr("192.168.192.4"), v1alpha1.ModeMulticast)); err != nil {
		t.Fatal(err)
	}
	want := `Cluster:             192.168.192.4
Unicast MAC:         02-bf-c0-a8-c0-04
Multicast MAC:       03-bf-c0-a8-c0-04  <- in force
IGMP Multicast MAC:  01-00-5e-7f-c0-04
`
	if b.String() != want {
		t.Errorf("WriteIP2MAC() = %q, want %q", b.String(), want)
	}
}
