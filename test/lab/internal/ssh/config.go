package ssh

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
)

// The users that a client can log in as, besides root.
const (
	Operator = "ops"   // may become root with sudo, without a password
	Guest    = "guest" // may not
)

// hostKeyPath is the only host key of a node.
const hostKeyPath = "/etc/ssh/ssh_host_ecdsa_key"

// NodeFiles are the files of a node's sshd: it accepts one client's key, for
// every user, and no password.
func NodeFiles(host, client Key) []node.File {
	const authorizedPath = "/etc/ssh/lab_authorized_keys"
	settings := fmt.Sprintf(`HostKey %s
AuthorizedKeysFile %s
AuthenticationMethods publickey
PermitRootLogin prohibit-password
`, hostKeyPath, authorizedPath)
	return []node.File{
		{Path: "/etc/ssh/sshd_config.d/lab.conf", Text: settings},
		{Path: authorizedPath, Text: client.Public + " lab\n"},
		{Path: hostKeyPath, Text: host.Private, Secret: true},
		{Path: hostKeyPath + ".pub", Text: host.Public + "\n"},
		{Path: "/etc/sudoers.d/lab", Text: Operator + " ALL=(ALL) NOPASSWD: ALL\n"},
	}
}

// AddUsers is a shell command that makes the users on a running node.
const AddUsers = "useradd --create-home --shell /bin/bash " + Operator + " && useradd --create-home --shell /bin/bash " + Guest

// Host is a node as a client reaches it.
type Host struct {
	Name, Address string
	Key           Key
}

// KnownHosts is a client's file of host keys.
func KnownHosts(hosts []Host) string {
	var text strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&text, "%s,%s %s\n", h.Name, h.Address, h.Key.Public)
	}
	return text.String()
}

// The client's files, in a directory of their own.
const (
	ClientKeyFile  = "id_ecdsa"
	KnownHostsFile = "known_hosts"
)

// ClientConfig is an ssh_config for the client whose files are in dir.
func ClientConfig(dir string, hosts []Host) string {
	var text strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&text, "Host %s\n  HostName %s\n\n", h.Name, h.Address)
	}
	fmt.Fprintf(&text, `Host *
  User root
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
`, filepath.Join(dir, ClientKeyFile), filepath.Join(dir, KnownHostsFile))
	return text.String()
}
