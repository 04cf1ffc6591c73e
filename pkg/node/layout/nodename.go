package layout

import (
	"encoding/base64"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// nodeUser is the prefix of a kubelet's user name at the API server, before its node's name.
const nodeUser = "system:node:"

// nodeName is the node's name in the API: of the options, the kubelet's certificate, the
// kubelet's flags, or the host.
func (d *discovery) nodeName(given string) string {
	if given != "" {
		return given
	}
	for _, c := range d.out.Node.Certificates {
		if c.Service == certs.Kubelet && c.Client != nil {
			if name, ok := strings.CutPrefix(d.commonName(c.Store), nodeUser); ok && name != "" {
				return name
			}
		}
	}
	if d.kubelet != nil {
		if name := d.kubelet.program.args.lastValue("hostname-override"); name != "" {
			return strings.ToLower(name)
		}
	}
	for _, file := range []string{"/proc/sys/kernel/hostname", "/etc/hostname"} {
		if data, err := d.root.ReadFile(file); err == nil {
			if name := strings.ToLower(strings.TrimSpace(string(data))); name != "" {
				return name
			}
		}
	}
	return ""
}

// commonName is that of the certificate in a store; empty where it cannot be read.
func (d *discovery) commonName(s inventory.Store) string {
	data, err := d.root.ReadFile(s.Cert)
	if err != nil {
		return ""
	}
	if s.Kind == inventory.Kubeconfig {
		k, err := ParseKubeconfig(data)
		if err != nil {
			return ""
		}
		data = nil
		for _, u := range k.Users {
			if u.Name == s.User {
				data, _ = base64.StdEncoding.DecodeString(u.certData) // not base64: no name
			}
		}
	}
	chain, err := certs.ParsePEM(data)
	if err != nil {
		return ""
	}
	return chain[0].Subject.CommonName
}
