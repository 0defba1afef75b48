// SPDX-License-Identifier: Apache-2.0

// Command podnet is a pod network for test clusters whose nodes share one
// Ethernet segment. kind's own, kindnetd, is published as an image only.
//
// On its node it writes the CNI configuration for the node's pod CIDRs (plugins
// ptp, host-local, portmap) and keeps one route per CIDR of every other node, by
// way of that node's InternalIP. There is no overlay and no masquerading: pods
// see each other's own addresses.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("NODE_NAME")); err != nil {
		slog.Error("podnet ends", "err", err)
		os.Exit(1)
	}
}

// run follows the cluster's nodes until ctx ends. A watch that fails, or that the
// API server ends after some minutes, is begun again with a full list.
func run(ctx context.Context, node string) error {
	if node == "" {
		return fmt.Errorf("NODE_NAME is not set")
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := follow(ctx, client, node); err != nil {
			slog.Warn("following nodes failed, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// follow lists all nodes, then watches them, and applies every state it sees.
func follow(ctx context.Context, client kubernetes.Interface, me string) error {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	nodes := make(map[string]corev1.Node, len(list.Items))
	for _, n := range list.Items {
		nodes[n.Name] = n
	}
	if err := apply(nodes, me); err != nil {
		return err
	}
	w, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		n, ok := event.Object.(*corev1.Node)
		if !ok {
			return fmt.Errorf("watch nodes: %v", event.Object)
		}
		if event.Type == watch.Deleted {
			delete(nodes, n.Name)
		} else {
			nodes[n.Name] = *n
		}
		if err := apply(nodes, me); err != nil {
			return err
		}
	}
	return nil
}

// apply brings this node's CNI configuration and routes in line with nodes.
func apply(nodes map[string]corev1.Node, me string) error {
	if own := nodes[me].Spec.PodCIDRs; len(own) > 0 {
		if err := writeConfig(own); err != nil {
			return err
		}
	}
	return syncRoutes(wantedRoutes(nodes, me))
}
