package main

import (
	"fmt"
	"os"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/lab"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/parts"
)

func up(args []string) error {
	flags, name := newFlags("up")
	spec := lab.Spec{}
	flags.IntVar(&spec.ControlPlanes, "control-planes", 3, "number of control-plane nodes")
	flags.IntVar(&spec.Workers, "workers", 1, "number of worker nodes")
	flags.IntVar(&spec.EtcdHosts, "etcd-hosts", 0, "number of hosts with etcd that are no nodes; 0: etcd runs on the control planes")
	flags.StringVar(&spec.EtcdLayout, "etcd-layout", "", `files of the etcd hosts: "kubespray" for its directory and names; "" is kubeadm's`)
	flags.BoolVar(&spec.LoadBalancer, "load-balancer", true, "a load balancer before the API servers; without it the endpoint is the first node")
	flags.StringVar(&spec.NodePrefix, "node-prefix", "", "what the nodes' names begin with, before cp1, w1, …")
	flags.StringVar(&spec.CrashLoopMax, "crash-loop-backoff-max", "1s", `longest pause before the kubelet restarts a container; "" leaves the kubelet's default`)
	flags.StringVar(&spec.Topology, "topology", "", `how the cluster is made: "systemd" for components that are all systemd units; "" is kubeadm's`)
	flags.StringVar(&spec.Kubernetes, "kubernetes", "", "minor version of Kubernetes, as 1.36; a version is built once, which takes ten minutes (default that of build/kubernetes)")
	config := flags.String("config", "", "file with kubeadm, kubelet and kube-proxy configuration to merge over the lab's own")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("up: unexpected argument %q", flags.Arg(0))
	}
	spec.Name = *name
	if *config != "" {
		data, err := os.ReadFile(*config)
		if err != nil {
			return fmt.Errorf("read kubeadm configuration: %w", err)
		}
		spec.Config = string(data)
	}
	if err := checkHost(); err != nil {
		return err
	}
	unlock, err := lab.Lock(spec.Name, os.Stderr)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := lab.Up(spec, os.Stderr)
	if err != nil {
		return err
	}
	option := ""
	if spec.Name != "default" {
		option = " --name " + spec.Name
	}
	self := os.Args[0]
	fmt.Printf(`
KUBECONFIG=%s
It works inside the lab's network namespace:
  %s run%s -- kubectl get nodes
On a node:
  %s exec%s %s -- journalctl -u kubelet -n 20
`, l.Kubeconfig(), self, option, self, option, l.Nodes[0].Name)
	return nil
}

func down(args []string) error {
	flags, name := newFlags("down")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("removing a lab needs root")
	}
	unlock, err := lab.Lock(*name, os.Stderr)
	if err != nil {
		return err
	}
	defer unlock()
	return lab.Down(*name)
}

func build(args []string) error {
	flags, _ := newFlags("build")
	kubernetes := flags.String("kubernetes", "", "minor version of Kubernetes, as 1.36 (default that of build/kubernetes)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := checkHost(); err != nil {
		return err
	}
	source, err := parts.FindSource()
	if err != nil {
		return err
	}
	cache := parts.Cache{Dir: parts.DefaultDir(), Source: source, Kubernetes: *kubernetes, Log: os.Stderr}
	_, err = cache.All()
	return err
}

func checkHost() error {
	return lab.CheckHost(true, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
}
