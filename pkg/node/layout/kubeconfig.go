package layout

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"sigs.k8s.io/yaml"
)

// KubeconfigFile holds the relevant fields of a kubeconfig. It holds no key, only whether a
// user has one embedded.
type KubeconfigFile struct {
	Users   []KubeconfigUser
	current string
}

// KubeconfigUser is a user entry with the cluster that its context leads to.
type KubeconfigUser struct {
	Name         string
	EmbeddedCert bool   // client-certificate-data
	certData     string // the same, base64; no secret
	CertFile     string // client-certificate, as written
	KeyFile      string // client-key, as written
	EmbeddedKey  bool   // client-key-data
	Other        string // "token", "exec", "password": how it authenticates without a certificate
	// Cluster is the cluster of the user's context, or the file's only one.
	Cluster KubeconfigCluster
}

// KubeconfigCluster holds the address of a user's API server, and its trust bundle.
type KubeconfigCluster struct {
	Server        string
	TLSServerName string
	CAFile        string // certificate-authority, as written
	CAData        []byte // certificate-authority-data, decoded: PEM
	Insecure      bool   // insecure-skip-tls-verify
}

// HostPort is the server's address; the default ports are filled in.
func (c KubeconfigCluster) HostPort() string { return hostPort(c.Server) }

type rawKubeconfig struct {
	Kind           string `json:"kind"`
	CurrentContext string `json:"current-context"`
	Clusters       []struct {
		Name    string `json:"name"`
		Cluster struct {
			Server        string `json:"server"`
			TLSServerName string `json:"tls-server-name"`
			CAFile        string `json:"certificate-authority"`
			CAData        []byte `json:"certificate-authority-data"`
			Insecure      bool   `json:"insecure-skip-tls-verify"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string `json:"name"`
		User struct {
			CertFile  string `json:"client-certificate"`
			CertData  string `json:"client-certificate-data"`
			KeyFile   string `json:"client-key"`
			KeyData   string `json:"client-key-data"`
			Token     string `json:"token"`
			TokenFile string `json:"tokenFile"`
			Username  string `json:"username"`
			Exec      any    `json:"exec"`
			Provider  any    `json:"auth-provider"`
		} `json:"user"`
	} `json:"users"`
	Contexts []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
}

// ParseKubeconfig reads a kubeconfig. The error never quotes its content.
func ParseKubeconfig(data []byte) (*KubeconfigFile, error) {
	var raw rawKubeconfig
	if err := yaml.Unmarshal(data, &raw); err != nil {
		// The YAML library's message may quote the file, and so a key.
		return nil, errors.New("parse kubeconfig: not valid YAML or JSON of a kubeconfig")
	}
	if raw.Kind != "" && raw.Kind != "Config" || len(raw.Users)+len(raw.Clusters) == 0 {
		return nil, errors.New("parse kubeconfig: no clusters and users in it")
	}
	out := &KubeconfigFile{}
	for _, c := range raw.Contexts {
		if c.Name == raw.CurrentContext {
			out.current = c.Context.User
		}
	}
	for _, u := range raw.Users {
		user := KubeconfigUser{
			Name:         u.Name,
			EmbeddedCert: u.User.CertData != "", certData: u.User.CertData, CertFile: u.User.CertFile,
			EmbeddedKey: u.User.KeyData != "", KeyFile: u.User.KeyFile,
		}
		switch {
		case u.User.Exec != nil:
			user.Other = "exec"
		case u.User.Token != "" || u.User.TokenFile != "":
			user.Other = "token"
		case u.User.Username != "" || u.User.Provider != nil:
			user.Other = "password"
		}
		user.Cluster = raw.clusterOf(u.Name)
		out.Users = append(out.Users, user)
	}
	return out, nil
}

func (raw *rawKubeconfig) clusterOf(user string) KubeconfigCluster {
	name := ""
	found := false
	for _, c := range raw.Contexts {
		if c.Context.User == user && (!found || c.Name == raw.CurrentContext) {
			name = c.Context.Cluster
			found = true
		}
	}
	for _, c := range raw.Clusters {
		if c.Name == name || len(raw.Clusters) == 1 {
			return KubeconfigCluster{c.Cluster.Server, c.Cluster.TLSServerName, c.Cluster.CAFile, c.Cluster.CAData, c.Cluster.Insecure}
		}
	}
	return KubeconfigCluster{}
}

// CurrentUser is the user of the current context, as which a component with this file
// authenticates; nil if the file names none.
func (k *KubeconfigFile) CurrentUser() *KubeconfigUser {
	for i := range k.Users {
		if k.Users[i].Name == k.current {
			return &k.Users[i]
		}
	}
	if len(k.Users) == 1 && k.current == "" {
		return &k.Users[0]
	}
	return nil
}

// hostPort extracts host and port of a URL; a bare host:port is taken as it is.
func hostPort(server string) string {
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// certificateKind returns, for messages, how a user without a certificate authenticates.
func (u *KubeconfigUser) certificateKind() string {
	if u.Other == "" {
		return "no credentials at all"
	}
	return fmt.Sprintf("a %s", map[string]string{"token": "token", "exec": "credential plugin", "password": "password"}[u.Other])
}
