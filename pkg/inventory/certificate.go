package inventory

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// StoreKind is the form in which a certificate and its key are on disk.
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

// IssuerKind is the kind of issuer of a certificate's successor.
type IssuerKind string

// The kinds of issuers.
const (
	LocalCA       IssuerKind = "LocalCA"       // the CA's key lies on this node
	KubernetesCSR IssuerKind = "KubernetesCSR" // certificates.k8s.io, through the node's own identity
	Throwaway     IssuerKind = "Throwaway"     // a CA made for this one leaf, its key dropped: kubelet.crt
	OtherNode     IssuerKind = "OtherNode"     // the CA's key lies on another node, which signs; see plan.FindSigners
	UnitStart     IssuerKind = "UnitStart"     // the program of a systemd unit makes a new one whenever it starts: k0s
	UnitCommand   IssuerKind = "UnitCommand"   // a command of the distribution has it made again while its systemd unit is stopped: RKE2, K3s
	// RestartCommand: a command of the distribution signs a new one for the old key, and restarts its
	// systemd unit itself: MicroK8s.
	RestartCommand IssuerKind = "RestartCommand"
	NoIssuer       IssuerKind = "None" // none; Certificate.Reason is the cause
)

// Issuer is how a certificate's successor is issued.
type Issuer struct {
	Kind IssuerKind `json:"kind"`
	// CACert and CAKey are paths of the CA's certificate and key. With KubernetesCSR they are set
	// for use when the API server is not reachable or the node's identity is compromised: the
	// key, if it is on this node as well; else the certificate, by which the node checks what
	// another one signs.
	CACert string `json:"caCert,omitempty"`
	CAKey  string `json:"caKey,omitempty"`
	Signer string `json:"signer,omitempty"` // KubernetesCSR: signerName
	// Authority identifies the CA that signed the certificate, see certs.AuthorityID. It is set
	// if another node that has its key could sign the successor: with NoIssuer, when CACert is
	// the CA's certificate on this node, and with KubernetesCSR.
	Authority string `json:"authority,omitempty"`
	// Reason is, with NoIssuer and Authority, the remark in Certificate.Reason that this node
	// cannot sign.
	Reason string `json:"reason,omitempty"`
	// Unit is the systemd unit of UnitStart, UnitCommand and RestartCommand. With NoIssuer it is a unit whose
	// start would do harm, so that it must not be restarted for other certificates either.
	Unit string `json:"unit,omitempty"`
	// Command is, with UnitCommand and RestartCommand, a program on the node with its arguments, separated by
	// blanks. Part is its name for the certificates that it renews together with this one.
	Command string `json:"command,omitempty"`
	Part    string `json:"part,omitempty"`
	// Backups is the directory in which the command of UnitCommand keeps the files that it removes,
	// each time in a subdirectory of its own: see [Issuer.BackupPattern].
	Backups string `json:"backups,omitempty"`
}

// IsByUnit reports whether a distribution makes the successor, with a restart of its systemd
// unit.
func (i Issuer) IsByUnit() bool { return i.Kind == UnitStart || i.IsByCommand() }

// IsByCommand reports whether a command of the distribution renews the certificate.
func (i Issuer) IsByCommand() bool { return i.Kind == UnitCommand || i.Kind == RestartCommand }

// Renewer names the action that renews a certificate by its unit: "a restart of
// k0scontroller.service", or a command.
func (i Issuer) Renewer() string {
	switch i.Kind {
	case UnitCommand:
		return fmt.Sprintf("%q with %s stopped", CommandName(i.Command), i.Unit)
	case RestartCommand:
		return fmt.Sprintf("%q", CommandName(i.Command))
	}
	return "a restart of " + i.Unit
}

// RenewsWith reports whether the renewal of a certificate by its unit also renews another one.
func (i Issuer) RenewsWith(other Issuer) bool {
	return i.IsByUnit() && i.Kind == other.Kind && i.Unit == other.Unit && i.Part == other.Part
}

// BackupPattern matches the directories in which the command of UnitCommand keeps the files
// that it has removed.
func (i Issuer) BackupPattern() string { return i.Backups + "/tls-*" }

// Authority names a CA: its certificate's facts and where it lies on this node.
type Authority struct {
	certs.Facts
	ID    string   `json:"id"`   // by which nodes know the same CA, see certs.AuthorityID
	Name  string   `json:"name"` // the subject's common name, e.g. "etcd-ca"
	Paths []string `json:"paths"`
	KeyOn string   `json:"keyPath,omitempty"` // path of its key; empty: not on this node
	// Renewed means that every file with this certificate also holds one of the same name and
	// key that is valid for longer, so that nothing depends on this one.
	Renewed bool         `json:"renewed,omitempty"`
	Status  certs.Status `json:"status"`
	Reason  string       `json:"reason,omitempty"`
}

// Served is a TLS endpoint on this node that must serve a certificate.
type Served struct {
	Address    string `json:"address"`              // host:port, reachable from this node
	ServerName string `json:"serverName,omitempty"` // SNI, where the endpoint serves several certificates
	// FingerprintSHA256 is that of the served certificate; empty if no handshake succeeded.
	FingerprintSHA256 string     `json:"fingerprintSHA256,omitempty"`
	NotAfter          *time.Time `json:"notAfter,omitempty"`
	Error             string     `json:"error,omitempty"`
}

// ClientKind is the kind of server that can verify a client certificate.
type ClientKind string

// The kinds of verification for client certificates.
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
	// ServerName is the server's name if it differs from the host of the address.
	ServerName string `json:"serverName,omitempty"`
	// CAFile is the trust bundle for the server's certificate: PEM, or a kubeconfig
	// that embeds it. Empty: the client itself does not verify the server either.
	CAFile string `json:"caFile,omitempty"`
}

// Certificate is one certificate with its key on this node.
type Certificate struct {
	certs.Facts
	Service certs.Service `json:"service"` // the owner; the first of UsedBy
	// UsedBy lists the services on this node whose processes load this pair and must be
	// restarted to stop using it. Usually just the owner.
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
	// LifeSeconds is for how long it was made to be valid, see certs.LifeOf; 0: not known.
	LifeSeconds int64 `json:"lifeSeconds,omitempty"`
	// OtherUsers read a file of this certificate and are none of the components: other
	// static pods, units, containers, hard links.
	OtherUsers []OtherUser `json:"otherUsers,omitempty"`
	// MayUse are static pods and Docker containers that are no components and mount a directory in which a file of
	// this certificate lies, while they name no file below it.
	MayUse []string `json:"mayUse,omitempty"`
	// SelfManaged means that the component also renews this certificate itself.
	SelfManaged bool `json:"selfManaged,omitempty"`
	// Signers are the nodes that have the key of its CA, by name, with OtherNode.
	// plan.FindSigners fills them in, never the node.
	Signers []string `json:"-"`
	// Pinned means that the kubelet's kubeconfig holds or names it while the kubelet uses
	// another one. Only a kubelet that has lost the other one needs it.
	Pinned bool `json:"pinned,omitempty"`
	// FileMount means that a file of it is mounted into its container without its directory, or is
	// a credential of its unit. The component continues to see the replaced file until it is restarted.
	FileMount bool `json:"fileMount,omitempty"`
	// BrokenChain means that it is Invalid only because of its CA, which has expired or did not
	// sign it: its component can load it.
	BrokenChain bool `json:"brokenChain,omitempty"`
	// Refused means that it is Invalid only because Go programs refuse the algorithm of its
	// signature or the size of its key: its component can load it, and a successor has neither.
	Refused bool         `json:"refused,omitempty"`
	Status  certs.Status `json:"status"`
	Reason  string       `json:"reason,omitempty"` // why the status is not OK, or why no issuer can be had
}

// ID names a certificate within its node: service, role and place.
func (c Certificate) ID() string {
	id := string(c.Service) + "/" + c.Name + "@" + c.Store.Cert
	if c.Store.User != "" {
		id += "#" + c.Store.User
	}
	return id
}
