// Package settings is the table of the flags, variables and configuration fields in which the
// components of Kubernetes 1.30 to 1.37 and etcd 3.5 to 3.7 are given certificates, keys, CA
// bundles, kubeconfigs, and files that may name more of these. Discovery, the decision whether
// a restart is needed, and docs/settings.md follow it. Tests compare it with the components'
// own lists of flags.
package settings

import (
	"slices"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Names is the kind of file that a setting names.
type Names string

// The kinds of files that settings name.
const (
	Certificate        Names = "certificate"        // Setting.Key names its key
	PrivateKey         Names = "private key"        // of the certificate of another setting
	SNIPairs           Names = "certificates, keys" // "cert,key[:name,…]", repeated
	CABundle           Names = "CA bundle"
	Kubeconfig         Names = "kubeconfig"
	TokenKey           Names = "ServiceAccount key" // signs or verifies ServiceAccount tokens
	EtcdAuthKey        Names = "keys of etcd's tokens"
	SigningCertificate Names = "signing certificate" // Setting.Key names its key
	SigningKey         Names = "signing key"
	Configuration      Names = "configuration file" // may name more of these
	SelfMade           Names = "self-made pair"     // the component makes certificate and key itself
	// Nothing: its description mentions certificates, keys or kubeconfigs, but it names no such
	// file; Setting.Note describes it.
	Nothing Names = "nothing"
)

// Verification is how the use of a new certificate is verified.
type Verification string

// The ways of verification.
const (
	Served      Verification = "handshake with the component"
	ServedPeers Verification = "handshake with the component's peer port"
	APIServer   Verification = "request to the kubeconfig's API server"
	FrontProxy  Verification = "request to this node's API server as front proxy"
	EtcdMember  Verification = "request to etcd"
	EtcdPeer    Verification = "request to the component's peer port"
	NodeKubelet Verification = "request to this node's kubelet"
	// Health: its server is not known, or not part of the cluster.
	Health Verification = "health of the component after its restart"
)

// Setting is one row of the table.
type Setting struct {
	Service certs.Service
	// Flag is the flag without dashes. etcd reads it from the variable ETCD_… as well.
	Flag string
	// Field is the path of the same setting in the component's configuration file. Without a
	// Flag it is what messages and docs/settings.md call the row.
	Field string
	Names Names
	Key   string // Certificate, SigningCertificate: the flag that names the key
	// Role is the name under which the certificate is listed. "": the file's name.
	Role         string
	Verification Verification
	// Reloads is the reason why the component need not be restarted to use a new certificate;
	// "": it must be.
	Reloads string
	// Holders are others that commonly use the same file.
	Holders string
	Note    string
}

// SettingName is the name in messages: the flag, or else the field.
func (s Setting) SettingName() string {
	if s.Flag == "" {
		return s.Field
	}
	return "--" + s.Flag
}

// EnvironmentVariable is the environment variable of an etcd setting; "" for other components.
func (s Setting) EnvironmentVariable() string {
	if s.Service != certs.Etcd || s.Flag == "" {
		return ""
	}
	return EtcdVariable(s.Flag)
}

// EtcdVariable is the environment variable in which etcd reads a flag.
func EtcdVariable(flag string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// AllSettings returns the table in the order in which components are listed.
func AllSettings() []Setting {
	return slices.Concat(etcd, kubelet, apiServer, controllerManager, scheduler, proxy)
}

// rowsByService is the table by component.
var rowsByService = sync.OnceValue(func() map[certs.Service][]Setting {
	out := map[certs.Service][]Setting{}
	for _, row := range AllSettings() {
		out[row.Service] = append(out[row.Service], row)
	}
	return out
})

// RowsOf returns a component's rows, which the caller does not change.
func RowsOf(s certs.Service) []Setting {
	return rowsByService()[s]
}

// ReloadReason returns the reason why a service need not be restarted to use the successor of
// the certificate with a name; "": it must be restarted, or the name is not in the table.
func ReloadReason(s certs.Service, name string) string {
	for _, row := range AllSettings() {
		if row.Service == s && row.Role == name && row.Reloads != "" {
			return row.Reloads
		}
	}
	return ""
}
