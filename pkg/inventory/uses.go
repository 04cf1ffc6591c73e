package inventory

import (
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// KeyUseKind is another use of a private key, beside its certificate.
type KeyUseKind string

// The kinds of further uses of a key.
const (
	// ServiceAccountKey: it signs or verifies ServiceAccount tokens. A new key invalidates
	// every token that the old one signed.
	ServiceAccountKey KeyUseKind = "ServiceAccountKey"
	// SigningKey: it signs certificates, as a CA's key does.
	SigningKey KeyUseKind = "SigningKey"
	// EtcdAuthKey: it signs or verifies the tokens of etcd's own users (--auth-token=jwt).
	EtcdAuthKey KeyUseKind = "EtcdAuthKey"
	// KubeconfigKey: it belongs to a certificate that is embedded in a kubeconfig, which names the
	// key's file. The two are never renewed.
	KubeconfigKey KeyUseKind = "KubeconfigKey"
)

// KeyUse is one further use of a key.
type KeyUse struct {
	Kind    KeyUseKind    `json:"kind"`
	Service certs.Service `json:"service"`
	Setting string        `json:"setting"` // the flag, variable or field that names it: "--service-account-key-file"
	Path    string        `json:"path"`
}

// String describes the use: "signs or verifies ServiceAccount tokens
// (--service-account-key-file of kube-apiserver)".
func (u KeyUse) String() string {
	what := "signs or verifies ServiceAccount tokens"
	switch u.Kind {
	case SigningKey:
		what = "signs certificates"
	case EtcdAuthKey:
		what = "signs or verifies the tokens of etcd's users"
	case KubeconfigKey:
		what = "belongs to a certificate in a kubeconfig"
	case ServiceAccountKey:
	}
	if u.Service == "" {
		return fmt.Sprintf("%s (%s %s)", what, u.Setting, u.Path)
	}
	return fmt.Sprintf("%s (%s of %s)", what, u.Setting, u.Service)
}

// KeptKey returns why a certificate's key is kept when the certificate is renewed, as the rest of a
// sentence about the key: the other use of the key, or of that of another certificate with the
// same key file, or the command that keeps it. Empty: the key is replaced.
func (n *Node) KeptKey(c Certificate) string {
	if c.Issuer.Kind == RestartCommand {
		return fmt.Sprintf("is kept by %q", CommandName(c.Issuer.Command))
	}
	if len(c.KeyUses) > 0 {
		return "also " + c.KeyUses[0].String()
	}
	for _, other := range n.SharingKey(c) {
		if len(other.KeyUses) > 0 {
			return "also " + other.KeyUses[0].String()
		}
	}
	return ""
}

// SharingKey returns the other certificates of the node whose private key lies in the same
// file.
func (n *Node) SharingKey(c Certificate) []Certificate {
	var out []Certificate
	for _, other := range n.Certificates {
		if c.KeyFile != "" && other.KeyFile == c.KeyFile && other.ID() != c.ID() {
			out = append(out, other)
		}
	}
	return out
}

// OtherUserKind is the kind of another user of a certificate's file.
type OtherUserKind string

// The kinds of other users.
const (
	OtherStaticPod OtherUserKind = "StaticPod" // a static pod that mounts or names it
	OtherUnit      OtherUserKind = "Systemd"   // a systemd unit that names it
	OtherContainer OtherUserKind = "Docker"    // a Docker container of no pod that mounts or names it
	OtherHardLink  OtherUserKind = "HardLink"  // another name of the same file, which keeps the old content
)

// OtherUser is a static pod, unit, Docker container or hard link that uses a certificate's file
// and is no component.
type OtherUser struct {
	Kind          OtherUserKind `json:"kind"`
	Name          string        `json:"name"`               // of the pod or unit; "container NAME"; path of the hard link
	Manifest      string        `json:"manifest,omitempty"` // StaticPod
	ContainerName string        `json:"containerName,omitempty"`
	ContainerID   string        `json:"containerID,omitempty"` // Docker
	PodName       string        `json:"podName,omitempty"`
	PodNamespace  string        `json:"podNamespace,omitempty"`
	Unit          string        `json:"unit,omitempty"` // Systemd
	// Restartable means that a rotation can restart it: its supervisor is known.
	Restartable bool `json:"restartable,omitempty"`
	// GraceSeconds is a static pod's terminationGracePeriodSeconds, a unit's TimeoutStopSec or a
	// Docker container's stop timeout; 0: its unit has the default or no limit.
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
}
