// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// waitUntilReady returns when all nodes are ready and pods can be reached by name.
func waitUntilReady(ctx context.Context, l *lab.Lab) error {
	step("waiting for the nodes")
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return err
	}
	config.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var problem error
	err = wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, 4*time.Minute, true,
		func(ctx context.Context) (bool, error) {
			problem = unready(ctx, client)
			return problem == nil, nil
		})
	if err != nil {
		return fmt.Errorf("the cluster does not become ready: %w", problem)
	}
	return routeToPods(ctx, l, client)
}

// unready says what is still missing.
func unready(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range nodes.Items {
		if !ready(n) {
			return fmt.Errorf("node %s is not ready", n.Name)
		}
	}
	dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if dns.Status.AvailableReplicas == 0 {
		return fmt.Errorf("no CoreDNS pod is available")
	}
	return nil
}

// ready reports whether a node reported Ready lately: the last report of a node that
// was stopped still says so for 40 seconds, but its lease does not run.
func ready(n corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// routeToPods lets programs in an isolated lab reach pods, and CoreDNS the engine's
// name server. The routes go with the bridge when all nodes are stopped.
func routeToPods(ctx context.Context, l *lab.Lab, client kubernetes.Interface) error {
	if !l.Isolated {
		return nil
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range nodes.Items {
		for _, address := range n.Status.Addresses {
			if address.Type != corev1.NodeInternalIP || strings.Contains(address.Address, ":") {
				continue
			}
			if _, err := l.Output(ctx, "ip", "route", "replace", n.Spec.PodCIDR, "via", address.Address); err != nil {
				return err
			}
		}
	}
	return nil
}
