package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
)

// makeNetwork makes the network namespace with the bridge.
func (l *Lab) makeNetwork() error {
	if err := l.namespace().Create(); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"link", "add", node.Bridge, "type", "bridge"},
		{"addr", "add", fmt.Sprintf("%s/%d", gateway, prefixBits), "dev", node.Bridge},
		{"link", "set", node.Bridge, "up"},
	} {
		if err := l.namespace().IP(command...); err != nil {
			return err
		}
	}
	return nil
}

// hosts is the hosts file of all nodes and clients.
func (l *Lab) hosts() string {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	endpoint := gateway
	if !l.Spec.LoadBalancer {
		endpoint = l.Nodes[0].IP
	}
	fmt.Fprintf(&text, "%s %s\n", endpoint, EndpointName)
	for _, n := range l.Nodes {
		fmt.Fprintf(&text, "%s %s\n", n.IP, n.Name)
	}
	return text.String()
}

// writeHosts writes the hosts file for clients. The host's own name is in it
// too, because programs look up their host.
func (l *Lab) writeHosts() error {
	text := l.hosts()
	if name, err := os.Hostname(); err == nil {
		text += "127.0.1.1 " + name + "\n"
	}
	if err := os.WriteFile(l.path("hosts"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the hosts file: %w", err)
	}
	return nil
}

// networkFile is the node's network configuration, for systemd-networkd. The
// default route leads nowhere, since the namespace does not forward, but the
// kubelet and kube-proxy find their addresses by it.
func (l *Lab) networkFile(n *Node) string {
	var text strings.Builder
	fmt.Fprintf(&text, "[Match]\nName=host0\n\n[Network]\nAddress=%s/%d\nGateway=%s\nIPForward=yes\nLinkLocalAddressing=no\n",
		n.IP, prefixBits, gateway)
	for _, other := range l.Nodes {
		if other.PodCIDR != "" && other.Name != n.Name {
			fmt.Fprintf(&text, "\n[Route]\nDestination=%s\nGateway=%s\n", other.PodCIDR, other.IP)
		}
	}
	return text.String()
}

const networkPath = "/etc/systemd/network/10-host0.network"

// containerNetwork is the configuration for the pods of a node. Every pod gets
// a link of its own that the node routes to: a bridge would deliver between
// pods of one node behind the back of the service rules.
func containerNetwork(cidr string) (string, error) {
	data, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0",
		"name":       "lab",
		"plugins": []any{
			map[string]any{
				"type": "ptp",
				"ipam": map[string]any{
					"type":   "host-local",
					"ranges": []any{[]any{map[string]any{"subnet": cidr}}},
					"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
					// Forgotten at a reboot, as the pods are.
					"dataDir": "/run/cni",
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}, "", "  ")
	return string(data) + "\n", err
}

// connectPods gives every node the range of pod addresses that the cluster
// assigned to it, and every other node and the namespace a route there.
func (l *Lab) connectPods() error {
	for i := range l.Nodes {
		n := &l.Nodes[i]
		if n.Role == EtcdHost {
			continue
		}
		err := waitFor(fmt.Sprintf("the pod range of node %q", n.Name), l.waitLimit(), func() error {
			out, err := l.kubectl("get", "node", n.Name, "-o", "jsonpath={.spec.podCIDR}")
			if err == nil && out == "" {
				err = fmt.Errorf("the controller manager has assigned none")
			}
			n.PodCIDR = out
			return err
		})
		if err != nil {
			return err
		}
		if err := l.namespace().IP("route", "replace", n.PodCIDR, "via", n.IP); err != nil {
			return err
		}
	}
	if err := l.save(); err != nil {
		return err
	}
	return l.eachNode(func(n *Node) error {
		if n.Role == EtcdHost {
			return nil
		}
		network, err := containerNetwork(n.PodCIDR)
		if err != nil {
			return err
		}
		if err := l.writeOn(n, networkPath, l.networkFile(n)); err != nil {
			return err
		}
		for _, other := range l.Nodes {
			if other.Name == n.Name || other.PodCIDR == "" {
				continue
			}
			// The file is for the next boot; reloading it now would
			// take the link down for a moment.
			if _, err := l.onNode(n, nil, "ip", "route", "replace", other.PodCIDR, "via", other.IP); err != nil {
				return err
			}
		}
		return l.writeOn(n, "/etc/cni/net.d/10-lab.conflist", network)
	})
}

// writeOn writes a file of a running node.
func (l *Lab) writeOn(n *Node, path, data string) error {
	_, err := l.onNode(n, strings.NewReader(data), "sh", "-c", `mkdir -p "$(dirname "$1")" && cat >"$1.new" && mv "$1.new" "$1"`, "sh", path)
	return err
}
