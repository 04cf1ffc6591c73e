package nodeapi

import "time"

// The limits of a node's part. The node keeps to them, and a rotation waits for a node
// longer than they permit.
const (
	// ComponentTimeout is how long a component may take to become healthy, besides its
	// supervisor's back-off.
	ComponentTimeout = time.Minute
	// StopTimeout is how long a component may take to exit, besides an API server's
	// --shutdown-delay-duration. etcd is not killed after it: the commit fails, and etcd
	// continues with the certificate that it has loaded.
	StopTimeout = 2 * time.Minute
	// KillMargin is how long a supervisor may take after the grace period to kill and clean up.
	KillMargin = 30 * time.Second
	// SignatureTimeout is how long a request for a certificate may wait. A controller manager
	// that was restarted keeps its lease for half a minute; an approval by hand may take longer.
	SignatureTimeout = 10 * time.Minute
	// IdleTimeout is how long the process on a node waits for an order. The sender of the last
	// one has ended then.
	IdleTimeout = 15 * time.Minute
	// EtcdCopyLimit is how long a copy of etcd's data may take, see Order.CopyEtcd: a database of
	// the largest size that etcd suggests, 8 GiB, on a disk with 100 MB/s.
	EtcdCopyLimit = 100 * time.Second
)
