package layout

import (
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// fibTrie lists 10.0.0.11 and 10.0.0.100 as the node's own, and a network that is not.
const fibTrie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.0
        /24 link UNICAST
     +-- 10.0.0.8/29 2 0 2
        |-- 10.0.0.11
           /32 host LOCAL
        |-- 10.0.0.100
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
`

func TestEndpointsOfSNIPairs(t *testing.T) {
	const at = "127.0.0.1:6443"
	ca := certstest.NewCA(t, "ca")
	for name, tt := range map[string]struct {
		values []string
		flags  []string
		want   [][]string // for each pair: "address name"
		byName bool       // the default certificate is requested by a name that does not exist
	}{
		"names":                       {values: []string{"/a.pem,/a.key:api.example.com, b.example.com"}, want: [][]string{{at + " api.example.com", at + " b.example.com"}}},
		"names of the certificate":    {values: []string{"/a.pem,/a.key"}, want: [][]string{{at + " a.example.com", at + " a"}}},
		"an address of the node":      {values: []string{"/a.pem,/a.key:10.0.0.100"}, want: [][]string{{"10.0.0.100:6443 "}}},
		"an address of another node":  {values: []string{"/a.pem,/a.key:10.0.0.7"}, want: [][]string{nil}},
		"an address and a name":       {values: []string{"/a.pem,/a.key:10.0.0.7,api.example.com"}, want: [][]string{{at + " api.example.com"}}},
		"where it does not listen":    {values: []string{"/a.pem,/a.key:10.0.0.100"}, flags: []string{"--bind-address=10.0.0.11"}, want: [][]string{nil}},
		"the default's address":       {values: []string{"/a.pem,/a.key:127.0.0.1"}, want: [][]string{{at + " "}}, byName: true},
		"IPv6":                        {values: []string{"/a.pem,/a.key:fd00::1"}, want: [][]string{{"[fd00::1]:6443 "}}},
		"not as the server writes it": {values: []string{"/a.pem,/a.key:FD00::1"}, want: [][]string{nil}},
		"a wildcard":                  {values: []string{"/a.pem,/a.key:*.example.com"}, want: [][]string{{at + " rotate-certs.example.com"}}},
		"capitals match nothing":      {values: []string{"/a.pem,/a.key:API.example.com"}, want: [][]string{nil}},
		"the first of two has a name": {values: []string{"/a.pem,/a.key:x.example.com", "/b.pem,/b.key:x.example.com,y.example.com"},
			want: [][]string{{at + " x.example.com"}, {at + " y.example.com"}}},
		"a flag's name goes before a certificate's": {values: []string{"/a.pem,/a.key", "/b.pem,/b.key:a.example.com"},
			want: [][]string{{at + " a"}, {at + " a.example.com"}}},
		"a common name that is no name of a host": {values: []string{"/odd.pem,/odd.key"}, want: [][]string{nil}},
		"the server's own client":                 {values: []string{"/a.pem,/a.key:apiserver-loopback-client"}, want: [][]string{nil}},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.WriteFile("/proc/1/net/fib_trie", fibTrie)
			n.WriteFile("/proc/1/net/if_inet6", "fd000000000000000000000000000001 02 40 00 80     eth0\n")
			n.WriteFile("/a.pem", string(ca.Leaf(t, certstest.Name("a"), certstest.SANs("a.example.com", "10.0.0.100")).CertPEM()))
			n.WriteFile("/odd.pem", string(ca.Leaf(t, certstest.Name("my_vip"), certstest.SANs("10.0.0.7")).CertPEM()))
			flags := append([]string{"--tls-cert-file=/default.pem", "--tls-private-key-file=/default.key"}, tt.flags...)
			for _, v := range tt.values {
				flags = append(flags, "--tls-sni-cert-key="+v)
			}
			apiServerUnit(n, flags...)
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			var got [][]string
			for _, c := range l.Node.Certificates[1:] {
				var pair []string
				for _, s := range c.Served {
					pair = append(pair, s.Address+" "+s.ServerName)
				}
				got = append(got, pair)
			}
			if !slices.EqualFunc(got, tt.want, slices.Equal) {
				t.Errorf("asked for at %q, want %q", got, tt.want)
			}
			if s := findCertificate(t, l, "apiserver").Served[0]; (s.ServerName == NoSuchName) != tt.byName {
				t.Errorf("the default certificate is asked for at %+v", s)
			}
		})
	}
}
