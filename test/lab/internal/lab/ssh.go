package lab

import (
	"fmt"
	"os"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/ssh"
)

// prepareSSH makes the keys of the lab's ssh client and of every node's sshd,
// and writes their files. It comes before the nodes boot.
func (l *Lab) prepareSSH() error {
	client, err := ssh.NewKey()
	if err != nil {
		return err
	}
	hosts := l.sshHosts()
	for i := range hosts {
		if hosts[i].Key, err = ssh.NewKey(); err != nil {
			return err
		}
		if err := l.Nodes[i].WriteAll(ssh.NodeFiles(hosts[i].Key, client)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(l.path("ssh"), 0o700); err != nil {
		return fmt.Errorf("write the files of the ssh client: %w", err)
	}
	for name, text := range map[string]string{ssh.ClientKeyFile: client.Private, ssh.KnownHostsFile: ssh.KnownHosts(hosts)} {
		if err := os.WriteFile(l.path("ssh", name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the files of the ssh client: %w", err)
		}
	}
	return nil
}

// sshHosts are all nodes, in their order, without keys.
func (l *Lab) sshHosts() []ssh.Host {
	var hosts []ssh.Host
	for _, n := range l.Nodes {
		hosts = append(hosts, ssh.Host{Name: n.Name, Address: n.IP})
	}
	return hosts
}

// addUsers makes the users that a client can log in as, on a running node.
func (l *Lab) addUsers(n *Node) error {
	_, err := l.onNode(n, nil, "sh", "-c", ssh.AddUsers)
	return err
}

// SSHConfig is an ssh_config by which a client in the lab's network namespace
// reaches every node by its name.
func (l *Lab) SSHConfig() string { return ssh.ClientConfig(l.path("ssh"), l.sshHosts()) }
