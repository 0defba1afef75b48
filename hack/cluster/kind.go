// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// builtImagePrefix begins the names of images that hack/kubernetes makes.
const builtImagePrefix = "kube-wlbs.invalid/"

func newProvider(l *lab.Lab, options ...cluster.ProviderOption) *cluster.Provider {
	engine := cluster.ProviderWithDocker()
	if l.Engine == "podman" {
		engine = cluster.ProviderWithPodman()
	}
	return cluster.NewProvider(append(options, engine)...)
}

// clusterConfig is one control plane, which also is what a cluster of many has
// least of, and three workers: the fewest in which a majority can lose one.
func clusterConfig(l *lab.Lab) *v1alpha4.Cluster {
	config := &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Networking: v1alpha4.Networking{
			APIServerAddress: "127.0.0.1",
			PodSubnet:        "10.244.0.0/16",
			ServiceSubnet:    "10.96.0.0/16",
		},
		KubeadmConfigPatches: []string{kubeletConfig(l)},
	}
	for _, role := range []v1alpha4.NodeRole{
		v1alpha4.ControlPlaneRole, v1alpha4.WorkerRole, v1alpha4.WorkerRole, v1alpha4.WorkerRole,
	} {
		config.Nodes = append(config.Nodes, v1alpha4.Node{Role: role, Image: l.NodeImage})
	}
	return config
}

// kubeletConfig is a patch of what kind tells the kubelets.
func kubeletConfig(l *lab.Lab) string {
	var b strings.Builder
	b.WriteString("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n")
	if lab.CgroupV1() {
		b.WriteString("failCgroupV1: false\n") // refused by default since Kubernetes 1.35
	}
	if strings.HasPrefix(l.NodeImage, builtImagePrefix) {
		// kind's own choice, /kubelet, would have to be made in every hierarchy first.
		b.WriteString("cgroupRoot: /\nresolvConf: /kind/pod-resolv.conf\n")
	}
	return b.String()
}

// chooseImage decides which image the nodes are made from. Where kind's own can be
// had, it is used; an isolated lab has no way out, and gets one that is built here.
func chooseImage(ctx context.Context, l *lab.Lab) error {
	if l.NodeImage != "" {
		return nil // chosen before this process entered the lab, or long ago
	}
	if !l.Isolated {
		step("looking for kind's node image")
		if _, err := l.Output(ctx, l.Engine, "pull", defaults.Image); err == nil {
			l.NodeImage = defaults.Image
		}
	}
	if l.NodeImage == "" {
		name, err := scriptOutput(ctx, "hack/kubernetes/build", "image-name")
		if err != nil {
			return err
		}
		l.NodeImage = name
	}
	return choosePrograms(ctx, l)
}

// choosePrograms finds kubectl, or builds it.
func choosePrograms(ctx context.Context, l *lab.Lab) error {
	if !strings.HasPrefix(l.NodeImage, builtImagePrefix) {
		if _, err := l.Output(ctx, "kubectl", "version", "--client"); err == nil {
			return nil
		}
	}
	programs, err := scriptOutput(ctx, "hack/kubernetes/build", "envtest")
	l.Programs = programs
	return err
}

// loadNodeImage gives a built image to the engine, if it has not got it.
func loadNodeImage(ctx context.Context, l *lab.Lab) error {
	if !strings.HasPrefix(l.NodeImage, builtImagePrefix) || l.HasImage(ctx, l.NodeImage) {
		return nil
	}
	name, err := scriptOutput(ctx, "hack/kubernetes/build", "image-name")
	if err != nil {
		return err
	}
	archive, err := scriptOutput(ctx, "hack/kubernetes/build", "node-image")
	if err != nil {
		return err
	}
	step("loading the node image")
	l.NodeImage = name
	return l.LoadImage(ctx, archive, builtImagePrefix+"node")
}

func trimmed(b []byte) string { return strings.TrimSpace(string(b)) }

// logs collects what the nodes have logged.
func logs(folder string) error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	if err := l.Enter(); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return newProvider(l).CollectLogs(l.Name, folder)
}
