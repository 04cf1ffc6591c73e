package layout

import (
	"net"
	"net/url"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

const loopback = "127.0.0.1"

// LoopbackName is the server name by which an API server's own client connects to it: the
// server shows a certificate that it made in memory at its start.
const LoopbackName = "apiserver-loopback-client"

// localAddress returns the address at which a listener on bind is reached from the node itself:
// the loopback address if it listens on all addresses.
func localAddress(bind string) string {
	if listensEverywhere(bind) {
		return loopback
	}
	return bind
}

// listensEverywhere reports whether a listener on bind listens on every address of the node.
func listensEverywhere(bind string) bool {
	ip := net.ParseIP(bind)
	return bind == "" || ip != nil && ip.IsUnspecified()
}

func joinHostPort(host, port string) string { return net.JoinHostPort(host, port) }

// httpsEndpoints returns the TLS endpoints of a component's listen URLs, as addresses that are
// reachable from the node.
func httpsEndpoints(urls []string) []inventory.Served {
	var out []inventory.Served
	for _, u := range localURLs(urls) {
		if parsed, err := url.Parse(u); err == nil && parsed.Scheme == "https" {
			out = append(out, inventory.Served{Address: parsed.Host})
		}
	}
	return out
}

// localURLs rewrites listen URLs into URLs for requests, without duplicates. Values without
// host and port are left out.
func localURLs(urls []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" || u.Port() == "" || u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		ask := u.Scheme + "://" + joinHostPort(localAddress(u.Hostname()), u.Port())
		if !seen[ask] {
			seen[ask] = true
			out = append(out, ask)
		}
	}
	return out
}

// isLoopback reports whether a host:port is certainly on this node.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
