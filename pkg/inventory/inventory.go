// Package inventory holds what was found on a node, as values: components, the
// certificates they use, the authorities behind them, and what could not be
// inspected. It is what travels from a node to whoever plans, as JSON, and has
// nothing secret in it: no keys, no tokens, no raw file bytes.
//
// All paths are the host's, never those of a container or of a node pod's mounts.
package inventory

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Node is the inventory of one node at one moment.
type Node struct {
	Name           string         `json:"name"` // as the API knows the node
	Time           time.Time      `json:"time"` // the node's clock
	ProgramVersion string         `json:"programVersion"`
	Components     []Component    `json:"components,omitempty"`
	Certificates   []Certificate  `json:"certificates,omitempty"`
	Authorities    []Authority    `json:"authorities,omitempty"`
	Copies         []Copy         `json:"copies,omitempty"` // in people's homes
	NotInspected   []NotInspected `json:"notInspected,omitempty"`
	// Unused are certificates in places where certificates lie, that no component of this
	// node uses: backups, copies of another node's kubeconfig, files of a person. They are
	// listed with their expiry and never renewed.
	Unused []UnusedCertificate `json:"unused,omitempty"`
	// InMemory are certificates that components made at their start and keep in memory.
	InMemory    []InMemory `json:"inMemory,omitempty"`
	Findings    []Finding  `json:"findings,omitempty"`
	Rotations   []Rotation `json:"rotations,omitempty"` // newest first, from this node's journals
	Token       int64      `json:"token"`               // highest fencing token this node ever accepted
	CRISocket   string     `json:"criSocket,omitempty"` // path of the container runtime's socket
	DBusSocket  string     `json:"dbusSocket,omitempty"`
	KubeletConf string     `json:"kubeletConf,omitempty"` // the kubelet's kubeconfig: the node's own identity

	// Known is what the API says of the node, and Scanned when it was scanned. They are
	// filled in by who requested the scan, never by the node.
	Known   Known   `json:"-"`
	Scanned Scanned `json:"-"`
}

// Known is what the API says of a node.
type Known struct {
	ControlPlane bool     // it has the label of a control-plane node
	Etcd         bool     // it has a label that says that it runs etcd
	Addresses    []string // internal IP addresses
}

// Scanned is between which moments a node's clock was read, by the clock of who
// requested the scan; zero: not known.
type Scanned struct{ From, To time.Time }

// RuntimeKind says who starts and restarts a component.
type RuntimeKind string

// The kinds of runtimes that this version can restart.
const (
	StaticPod RuntimeKind = "StaticPod" // the kubelet, from a manifest
	Systemd   RuntimeKind = "Systemd"   // a unit
	DaemonSet RuntimeKind = "DaemonSet" // an ordinary pod: kubeadm's kube-proxy
	// Supervised: a child process of a unit that runs several components (k0s, RKE2). Its
	// Unit is that one. It is never stopped by itself, since that unit's control group holds
	// the other components too.
	Supervised RuntimeKind = "Supervised"
	None       RuntimeKind = "None" // found, but started by something unknown
)

// Component is a running, or at least configured, service on the node.
type Component struct {
	Service       certs.Service `json:"service"`
	Runtime       RuntimeKind   `json:"runtime"`
	Manifest      string        `json:"manifest,omitempty"`      // StaticPod: path of the manifest
	ContainerName string        `json:"containerName,omitempty"` // StaticPod, DaemonSet
	PodName       string        `json:"podName,omitempty"`       // StaticPod: name in the manifest, without the node's suffix
	PodNamespace  string        `json:"podNamespace,omitempty"`
	Unit          string        `json:"unit,omitempty"` // Systemd: "kubelet.service"
	PID           int           `json:"pid,omitempty"`  // 0: not running
	StartedAt     *time.Time    `json:"startedAt,omitempty"`
	// Args is the component's command line without its first word, environment
	// expanded; values of flags that could be secrets are not kept.
	Args []string `json:"args,omitempty"`
	// Health is a URL on this node that answers 200 when the component is healthy,
	// e.g. "https://127.0.0.1:6443/readyz"; empty where there is none.
	Health string `json:"health,omitempty"`
	// ClientURLs are etcd's client endpoints on this node, or, for the API server,
	// the etcd endpoints that it uses.
	ClientURLs []string `json:"clientURLs,omitempty"`
	// APIServer is where the API server of this node listens ("10.0.0.11:6443").
	APIServer string `json:"apiServer,omitempty"`
	// DBQuotaBytes is etcd's --quota-backend-bytes from flag, variable or configuration
	// file; 0: not set, so etcd's default applies; negative: no quota.
	DBQuotaBytes int64 `json:"dbQuotaBytes,omitempty"`
	// Note says what a person should know, e.g. that kubeadm's kube-proxy
	// authenticates with a ServiceAccount token and has no certificate.
	Note string `json:"note,omitempty"`
	// GraceSeconds is how long it may take to exit before it is killed; 0: as its service
	// has it.
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
}

// Restartable says whether a rotation can restart the component: something that is known
// starts it, and nothing else with it.
func (c *Component) Restartable() bool {
	return c.Runtime == StaticPod || c.Runtime == Systemd || c.Runtime == DaemonSet
}

// StoreKind says how a certificate and its key lie on disk.
type StoreKind string

// The kinds of stores.
const (
	Pair       StoreKind = "Pair"       // two PEM files
	Combined   StoreKind = "Combined"   // one PEM file with both, behind a symlink: the kubelet's *-current.pem
	Kubeconfig StoreKind = "Kubeconfig" // embedded in a kubeconfig, base64
)

// Store is where a certificate and its key lie.
type Store struct {
	Kind StoreKind `json:"kind"`
	Cert string    `json:"cert"`           // path of the certificate, the symlink or the kubeconfig
	Key  string    `json:"key,omitempty"`  // Pair: path of the key
	User string    `json:"user,omitempty"` // Kubeconfig: name of the user entry
	// Directories are the real directories (all symlinks resolved) in which files
	// must be replaced; a node pod mounts exactly these writable.
	Directories []string `json:"directories,omitempty"`
}

// IssuerKind says who can issue a certificate's successor.
type IssuerKind string

// The kinds of issuers.
const (
	LocalCA       IssuerKind = "LocalCA"       // the CA's key lies on this node
	KubernetesCSR IssuerKind = "KubernetesCSR" // certificates.k8s.io, through the node's own identity
	Throwaway     IssuerKind = "Throwaway"     // a CA made for this one leaf, its key thrown away: kubelet.crt
	NoIssuer      IssuerKind = "None"          // nobody within reach; Certificate.Reason says why
)

// Issuer is how a certificate's successor is issued.
type Issuer struct {
	Kind IssuerKind `json:"kind"`
	// CACert and CAKey are paths of the CA's certificate and key. With KubernetesCSR
	// they are set where that CA happens to lie here too, for when the API is away or
	// the node's identity is not to be trusted.
	CACert string `json:"caCert,omitempty"`
	CAKey  string `json:"caKey,omitempty"`
	Signer string `json:"signer,omitempty"` // KubernetesCSR: signerName
}

// Authority names a CA: its certificate's facts and where it lies on this node.
type Authority struct {
	certs.Facts
	Name  string   `json:"name"` // the subject's common name, e.g. "etcd-ca"
	Paths []string `json:"paths"`
	KeyOn string   `json:"keyPath,omitempty"` // path of its key; empty: not on this node
	// Renewed says that a certificate of the same name and key that is valid for longer
	// lies wherever this one does, so that nothing depends on this one.
	Renewed bool         `json:"renewed,omitempty"`
	Status  certs.Status `json:"status"`
	Reason  string       `json:"reason,omitempty"`
}

// Served is a TLS endpoint on this node that must show a certificate.
type Served struct {
	Address    string `json:"address"`              // host:port, reachable from this node
	ServerName string `json:"serverName,omitempty"` // SNI, where the endpoint serves several certificates
	// FingerprintSHA256 is what the endpoint shows; empty when no handshake succeeded.
	FingerprintSHA256 string     `json:"fingerprintSHA256,omitempty"`
	NotAfter          *time.Time `json:"notAfter,omitempty"`
	Error             string     `json:"error,omitempty"`
}

// ClientKind says against what a client certificate can be proven.
type ClientKind string

// The kinds of proof for client certificates.
const (
	// ToAPIServer: a SelfSubjectReview names the certificate's user and, from
	// Kubernetes 1.32 on, its fingerprint (credential-id).
	ToAPIServer ClientKind = "APIServer"
	// ToAPIServerAsProxy: the same, as front proxy with the request headers.
	ToAPIServerAsProxy ClientKind = "FrontProxy"
	// ToEtcd: an authenticated request to /health or /version.
	ToEtcd ClientKind = "Etcd"
	// ToKubelet: an authenticated request to /healthz on port 10250.
	ToKubelet ClientKind = "Kubelet"
)

// Client is a server to which a client certificate authenticates.
type Client struct {
	Kind    ClientKind `json:"kind"`
	Address string     `json:"address"` // host:port, reachable from this node
	// ServerName is whom to expect where that is not the address's host.
	ServerName string `json:"serverName,omitempty"`
	// CAFile is the trust bundle for the server's certificate: PEM, or a kubeconfig
	// that embeds it. Empty: the client itself does not verify the server either.
	CAFile string `json:"caFile,omitempty"`
}

// Certificate is one certificate with its key on this node.
type Certificate struct {
	certs.Facts
	Service certs.Service `json:"service"` // the owner; the first of UsedBy
	// UsedBy are the services on this node whose processes load this pair and must
	// be restarted to let go of it. Usually just the owner.
	UsedBy []certs.Service `json:"usedBy,omitempty"`
	Name   string          `json:"name"` // kubeadm's name for this role: "apiserver", "etcd-peer", "admin.conf"
	Store  Store           `json:"store"`
	Issuer Issuer          `json:"issuerRef"`
	Served []Served        `json:"served,omitempty"`
	Client *Client         `json:"client,omitempty"`
	// PublicKeySHA256 is the lower-case hex SHA-256 of the DER SubjectPublicKeyInfo. Keys are
	// compared by it, since one key may lie in several files.
	PublicKeySHA256 string `json:"publicKeySHA256,omitempty"`
	// KeyUses are the uses of this certificate's private key, or of its public half, for
	// something other than a certificate. A key with such a use is kept when the
	// certificate is renewed.
	KeyUses []KeyUse `json:"keyUses,omitempty"`
	// KeyFile is the real path (symlinks resolved) of the file that holds the private key;
	// empty where it is embedded in a kubeconfig. Certificates with one key file can only
	// get a new key together.
	KeyFile string `json:"keyFile,omitempty"`
	// LifeSeconds is for how long it was made to be valid, see certs.Life; 0: not known.
	LifeSeconds int64 `json:"lifeSeconds,omitempty"`
	// OtherUsers read a file of this certificate and are none of the components: other
	// static pods, units, containers, hard links.
	OtherUsers []OtherUser `json:"otherUsers,omitempty"`
	// SelfManaged says that the component renews this certificate by itself too.
	SelfManaged bool `json:"selfManaged,omitempty"`
	// FileMount says that a file of it is mounted into its container by itself. The
	// container goes on seeing the file that was replaced until it is started anew.
	FileMount bool         `json:"fileMount,omitempty"`
	Status    certs.Status `json:"status"`
	Reason    string       `json:"reason,omitempty"` // why the status is not OK, or why no issuer can be had
}

// ID names a certificate within its node: service, role and place.
func (c Certificate) ID() string {
	id := string(c.Service) + "/" + c.Name + "@" + c.Store.Cert
	if c.Store.User != "" {
		id += "#" + c.Store.User
	}
	return id
}

// KeyUseKind says what a private key does besides belonging to a certificate.
type KeyUseKind string

// The kinds of further uses of a key.
const (
	// ServiceAccountKey: it signs or verifies ServiceAccount tokens. A new key invalidates
	// every token that the old one signed.
	ServiceAccountKey KeyUseKind = "ServiceAccountKey"
	// SigningKey: it signs certificates, as a CA's key does.
	SigningKey KeyUseKind = "SigningKey"
	// EtcdTokenKey: it signs or verifies the tokens of etcd's own users (--auth-token=jwt).
	EtcdTokenKey KeyUseKind = "EtcdTokenKey"
)

// KeyUse is one further use of a key.
type KeyUse struct {
	Kind    KeyUseKind    `json:"kind"`
	Service certs.Service `json:"service"`
	Setting string        `json:"setting"` // the flag, variable or field that names it: "--service-account-key-file"
	Path    string        `json:"path"`
}

// String says what the key does: "signs or verifies ServiceAccount tokens
// (--service-account-key-file of kube-apiserver)".
func (u KeyUse) String() string {
	what := "signs or verifies ServiceAccount tokens"
	switch u.Kind {
	case SigningKey:
		what = "signs certificates"
	case EtcdTokenKey:
		what = "signs or verifies the tokens of etcd's users"
	case ServiceAccountKey:
	}
	if u.Service == "" {
		return fmt.Sprintf("%s (%s %s)", what, u.Setting, u.Path)
	}
	return fmt.Sprintf("%s (%s of %s)", what, u.Setting, u.Service)
}

// KeptKey says what else a certificate's key is used for, or that of another certificate
// with the same key file. Such a key is kept when the certificate is renewed; empty: it
// gets a new one.
func (n *Node) KeptKey(c Certificate) string {
	if len(c.KeyUses) > 0 {
		return c.KeyUses[0].String()
	}
	for _, other := range n.SharingKey(c) {
		if len(other.KeyUses) > 0 {
			return other.KeyUses[0].String()
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

// OtherUserKind says what reads a certificate's file.
type OtherUserKind string

// The kinds of other users.
const (
	OtherStaticPod OtherUserKind = "StaticPod" // a static pod that mounts or names it
	OtherUnit      OtherUserKind = "Systemd"   // a systemd unit that names it
	OtherHardLink  OtherUserKind = "HardLink"  // another name of the same file, which keeps the old content
)

// OtherUser is something that reads a certificate's file and is no component.
type OtherUser struct {
	Kind          OtherUserKind `json:"kind"`
	Name          string        `json:"name"`               // of the pod or unit; path of the hard link
	Manifest      string        `json:"manifest,omitempty"` // StaticPod
	ContainerName string        `json:"containerName,omitempty"`
	PodName       string        `json:"podName,omitempty"`
	PodNamespace  string        `json:"podNamespace,omitempty"`
	Unit          string        `json:"unit,omitempty"` // Systemd
	// Restartable says that the rotation can restart it: what runs it was found.
	Restartable bool `json:"restartable,omitempty"`
	// GraceSeconds is a static pod's terminationGracePeriodSeconds.
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
}

// UnusedKind says why a certificate is taken to be in no use.
type UnusedKind string

// The kinds of unused certificates.
const (
	UnusedBackup UnusedKind = "Backup" // its file's name, or its place beside an original, says so
	UnusedCopy   UnusedKind = "Copy"   // a kubeconfig of another node or of an administrator, copied here
	UnusedFile   UnusedKind = "File"   // no component names it
)

// UnusedCertificate is a certificate that no component of this node uses.
type UnusedCertificate struct {
	certs.Facts
	Kind   UnusedKind `json:"kind"`
	Path   string     `json:"path"`
	User   string     `json:"user,omitempty"` // of a kubeconfig
	Reason string     `json:"reason"`
}

// Copy is a client certificate in a person's kubeconfig, which may be one that a
// rotation replaces elsewhere. It is nobody's to renew.
type Copy struct {
	Path              string `json:"path"`
	FingerprintSHA256 string `json:"fingerprintSHA256"`
}

// NotInspected is something that is, or should be, there and could not be looked at.
type NotInspected struct {
	Service certs.Service `json:"service,omitempty"`
	Path    string        `json:"path,omitempty"`
	Reason  string        `json:"reason"`
	// Informational says that it is as it should be, or that nobody can change it: a node
	// without a node program, a component that authenticates with a token. It asks for
	// nothing to be done.
	Informational bool `json:"informational,omitempty"`
}

// FindingKind says what a finding is about.
type FindingKind string

// The kinds of findings.
const (
	FileMode  FindingKind = "FileMode"  // more may read or write a file than the CIS benchmark allows
	FileOwner FindingKind = "FileOwner" // somebody else than root owns it
	Memory    FindingKind = "Memory"    // a certificate in a component's memory expires soon
	Names     FindingKind = "Names"     // a serving certificate does not name its node any more
)

// Finding is something that has drifted from how it should be, and that no rotation
// changes. It does not make a certificate less valid, so it is no status.
type Finding struct {
	Kind    FindingKind   `json:"kind"`
	Service certs.Service `json:"service,omitempty"` // empty: a CA's file
	Path    string        `json:"path"`
	Text    string        `json:"text"`
}

// UnreadJournals begins the reason where a node's journals could not all be read.
const UnreadJournals = "read this node's journals: "

// Component returns the component of a service, or nil.
func (n *Node) Component(s certs.Service) *Component {
	for i := range n.Components {
		if n.Components[i].Service == s {
			return &n.Components[i]
		}
	}
	return nil
}

// ControlPlane says whether the node runs a component of the control plane, or has the
// label of a node that does, and so must be taken one at a time.
func (n *Node) ControlPlane() bool {
	if n.Known.ControlPlane || n.Known.Etcd {
		return true
	}
	for _, s := range []certs.Service{certs.KubeAPIServer, certs.Etcd, certs.KubeControllerManager, certs.KubeScheduler} {
		if n.Component(s) != nil {
			return true
		}
	}
	return false
}

// Rotation is what a node's journal knows of one rotation.
type Rotation struct {
	ID        string          `json:"id"`
	Token     int64           `json:"token"`
	Scope     string          `json:"scope"` // canonical form of what was asked for, see plan.Scope
	StartTime time.Time       `json:"startTime"`
	LastTime  time.Time       `json:"lastTime,omitzero"` // of the newest record, by this node's clock
	State     RotationState   `json:"state"`
	Services  []certs.Service `json:"services,omitempty"` // this node's part
	Renewed   []Renewal       `json:"renewed,omitempty"`  // what was renewed and proven here
	// Unproven says that the old certificates were put back at boot (RolledBack), or that
	// the new ones stay since the old ones have expired (Committed), and
	// that nothing has shown since that the node runs on them.
	Unproven bool `json:"unproven,omitempty"`
}

// Renewal is a certificate before and after.
type Renewal struct {
	ID  string      `json:"id"` // Certificate.ID
	Old certs.Facts `json:"old"`
	New certs.Facts `json:"new"`
	// KeptKey says what else the key is used for, where the new certificate is for the old
	// key; empty: its key is new.
	KeptKey string `json:"keptKey,omitempty"`
}

// RotationState is how far a node's part of a rotation is.
type RotationState string

// The states of a rotation on a node.
const (
	Staging    RotationState = "Staging"    // begun, nothing visible changed
	Failed     RotationState = "Failed"     // could not be staged, nothing visible changed
	Staged     RotationState = "Staged"     // signed, nothing visible changed
	Committing RotationState = "Committing" // files or components are between old and new
	Committed  RotationState = "Committed"  // new and proven
	RolledBack RotationState = "RolledBack" // old again, and proven
	Broken     RotationState = "Broken"     // neither could be proven: a person must look
	Finished   RotationState = "Finished"   // the whole rotation, on all nodes, came to its end
)
