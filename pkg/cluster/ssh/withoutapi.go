package ssh

import (
	"context"
	"errors"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// MayRotate returns nil: who may log in as root may rotate.
func (h *Hosts) MayRotate(context.Context) error { return nil }

// DefaultValidity returns 0: certificates live as long as their predecessors.
func (h *Hosts) DefaultValidity(context.Context) (time.Duration, error) { return 0, nil }

// DryRun returns nil: no API server has to admit anything.
func (h *Hosts) DryRun(context.Context, string, []plan.Step) error { return nil }

// Acquire returns a lock without an object in the API: a token above that of every node. Each
// node takes one process at a time, and refuses the orders of a rotation with an older token.
func (h *Hosts) Acquire(_ context.Context, _ string, minToken int64) (fleet.Lock, error) {
	return nodeLock(minToken + 1), nil
}

// nodeLock is a lock that only the nodes keep.
type nodeLock int64

// Token returns the fencing token.
func (l nodeLock) Token() int64 { return int64(l) }

// Confirm returns nil: each node checks the token of every order.
func (l nodeLock) Confirm(context.Context) error { return nil }

// Release returns nil: there is nothing to release.
func (l nodeLock) Release(context.Context) error { return nil }

// errNoAPI means that something can be signed by the certificates API only.
var errNoAPI = errors.New("only the certificates API can sign this, and this rotation does not use the API")

// Approve returns nil for a kubelet's client certificate, which the controller manager approves
// itself. For every other request it fails.
func (h *Hosts) Approve(_ context.Context, _ string, csr nodeapi.CSR) error {
	if csr.Signer == certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	return errNoAPI
}

// Issue fails: there is no certificates API.
func (h *Hosts) Issue(context.Context, string, nodeapi.CSR) ([]byte, error) { return nil, errNoAPI }
