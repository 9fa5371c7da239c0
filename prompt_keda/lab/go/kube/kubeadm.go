//go:build kubeadm

// What a node of kind needs more: kubeadm itself, and the CoreDNS plugins that kubeadm's Corefile names.
package main

import (
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/reload"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
)

func init() { others["kubeadm"] = kubeadm.Run }
