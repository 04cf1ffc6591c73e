package layout

import (
	"encoding/hex"
	"net"
	"slices"
	"strings"
)

// localIP reports whether an address is certainly one of the node's own: a connection to it
// does not leave the node.
func (d *discovery) localIP(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	if !d.localRead {
		d.localRead = true
		d.localIPs = localAddresses(d)
	}
	return slices.ContainsFunc(d.localIPs, ip.Equal)
}

// localAddresses reads the addresses of the host's network from the kernel's tables, as
// its first process sees them.
func localAddresses(d *discovery) (out []net.IP) {
	if data, err := d.root.ReadFile("/proc/1/net/fib_trie"); err == nil {
		out = parseFibTrie(string(data))
	}
	data, err := d.root.ReadFile("/proc/1/net/if_inet6")
	if err != nil {
		return out
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if raw, err := hex.DecodeString(fields[0]); err == nil && len(raw) == net.IPv6len {
			out = append(out, net.IP(raw))
		}
	}
	return out
}

// parseFibTrie returns the addresses that /proc/net/fib_trie lists as "/32 host LOCAL",
// each on the line after the address.
func parseFibTrie(text string) (out []net.IP) {
	var last net.IP
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "|--":
			last = net.ParseIP(fields[1])
		case last != nil && slices.Equal(fields, []string{"/32", "host", "LOCAL"}):
			out = append(out, last)
		}
	}
	return out
}
