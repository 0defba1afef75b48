// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// TestAgentWritesItsOwnHostOnly uses the identity of an agent's pod, as one who broke into a node could.
func TestAgentWritesItsOwnHostOnly(t *testing.T) {
	c := newCluster(t, "identity")
	other := newCluster(t, "identity-other")
	c.awaitConverged(t)
	other.awaitConverged(t)
	agent := c.asAgent(t, c.workers[0])
	own, foreign := v1alpha1.HostObjectName(c.name, c.workers[0]), v1alpha1.HostObjectName(c.name, c.workers[1])

	for _, host := range []string{own, v1alpha1.HostObjectName(other.name, c.workers[0])} {
		if err := patch(t.Context(), agent.Status(), host, `{"status":{"traffic":{"invalid":0}}}`); err != nil {
			t.Errorf("an agent may not write the status of host %s on its own node: %v", host, err)
		}
	}
	for _, tc := range []struct {
		what string
		err  error
	}{
		{"write another node's status", patch(t.Context(), agent.Status(), foreign, `{"status":{"state":"Stopped"}}`)},
		{"write another cluster's host on another node", patch(t.Context(), agent.Status(), v1alpha1.HostObjectName(other.name, c.workers[1]), `{"status":{"state":"Stopped"}}`)},
		{"change its host's ID", patch(t.Context(), agent, own, `{"spec":{"hostID":9}}`)},
		{"remove its host's finalizer while it is in use", patch(t.Context(), agent, own, `{"metadata":{"finalizers":null}}`)},
		{"delete its host", agent.Delete(t.Context(), hostNamed(own))},
		{"tell its host to serve another address", patch(t.Context(), agent, own, `{"spec":{"virtualIPs":["192.0.2.1"]}}`)},
		{"write a cluster", agent.Patch(t.Context(), clusterNamed(c.name), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"interface":"eth1"}}`)))},
		{"write a cluster's status", agent.Status().Patch(t.Context(), clusterNamed(c.name), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"virtualIPs":[]}}`)))},
		{"list Secrets", agent.List(t.Context(), &corev1.SecretList{})},
		{"list Nodes", agent.List(t.Context(), &corev1.NodeList{})},
	} {
		switch {
		case tc.err == nil:
			t.Errorf("an agent can %s", tc.what)
		case !apierrors.IsForbidden(tc.err) && !apierrors.IsInvalid(tc.err):
			t.Errorf("that an agent would %s fails for another reason: %v", tc.what, tc.err)
		default:
			t.Logf("refused: %v", tc.err)
		}
	}
}

// asAgent returns a client with a token that is bound to an agent's pod, like the one in the pod.
func (c *vipCluster) asAgent(t *testing.T, node string) client.Client {
	t.Helper()
	pod, err := c.agentPod(t.Context(), node)
	must(t, err)
	account := &corev1.ServiceAccount{}
	account.Name, account.Namespace = pod.Spec.ServiceAccountName, pod.Namespace
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	must(t, c.api.SubResource("token").Create(t.Context(), account, request))
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = request.Status.Token
	agent, err := newClient(config)
	must(t, err)
	return agent
}

func patch(ctx context.Context, with any, host, body string) error {
	p := client.RawPatch("application/merge-patch+json", []byte(body))
	switch w := with.(type) {
	case client.SubResourceWriter:
		return w.Patch(ctx, hostNamed(host), p)
	case client.Client:
		return w.Patch(ctx, hostNamed(host), p)
	}
	return fmt.Errorf("%T cannot patch", with)
}

func clusterNamed(name string) *v1alpha1.LoadBalancingCluster {
	object := &v1alpha1.LoadBalancingCluster{}
	object.Name = name
	return object
}

func hostNamed(name string) *v1alpha1.LoadBalancingHost {
	host := &v1alpha1.LoadBalancingHost{}
	host.Name = name
	return host
}

// TestAgentHasFewCapabilities looks at the running process, not at what its pod asks for.
func TestAgentHasFewCapabilities(t *testing.T) {
	c := newCluster(t, "capabilities")
	c.awaitConverged(t)
	for _, node := range c.workers {
		pod, err := c.agentPod(t.Context(), node)
		must(t, err)
		p := theProcess(t, pod, "wlbs-agent")
		want := fmt.Sprintf("%016x", uint64(1)<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW|1<<unix.CAP_BPF|1<<unix.CAP_PERFMON|1<<unix.CAP_SYS_NICE)
		for field, value := range map[string]string{
			"CapEff": want, "CapPrm": want, "CapBnd": want, "CapInh": strings.Repeat("0", 16), "NoNewPrivs": "1", "Seccomp": "2",
		} {
			if p.status[field] != value {
				t.Errorf("the agent on %s has %s %s, want %s", node, field, p.status[field], value)
			}
		}
		mustMountOnly(t, pod, "/sys/fs/bpf", "/var/lib/kube-wlbs", "/run/kube-wlbs")
	}
}

// mustMountOnly checks which of the node's folders a pod has.
func mustMountOnly(t *testing.T, pod *corev1.Pod, folders ...string) {
	t.Helper()
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil && !slices.Contains(folders, v.HostPath.Path) {
			t.Errorf("pod %s mounts %s of its node", pod.Name, v.HostPath.Path)
		}
	}
	if pod.Spec.HostPID || pod.Spec.HostIPC {
		t.Errorf("pod %s shares its node's processes or IPC", pod.Name)
	}
}

// TestManagerHasNoPrivileges looks at the manager's process and its sockets.
func TestManagerHasNoPrivileges(t *testing.T) {
	e := env(t)
	pods, err := e.managerPods(t.Context())
	must(t, err)
	for i := range pods {
		pod := &pods[i]
		p := theProcess(t, pod, "wlbs-manager")
		if uid := strings.Fields(p.status["Uid"]); slices.Contains(uid, "0") {
			t.Errorf("the manager runs as root (Uid %v)", uid)
		}
		none := strings.Repeat("0", 16)
		for field, value := range map[string]string{"CapEff": none, "CapPrm": none, "CapBnd": none, "NoNewPrivs": "1", "Seccomp": "2"} {
			if p.status[field] != value {
				t.Errorf("the manager has %s %s, want %s", field, p.status[field], value)
			}
		}
		mustMountOnly(t, pod)
		var declared []uint16
		for _, port := range pod.Spec.Containers[0].Ports {
			declared = append(declared, uint16(port.ContainerPort))
		}
		slices.Sort(declared)
		if listens := p.listeners(t); !slices.Equal(listens, declared) {
			t.Errorf("the manager listens on the ports %v, its pod declares %v", listens, declared)
		}
	}
}
