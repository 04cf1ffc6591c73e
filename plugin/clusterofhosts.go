package plugin

import (
	"context"
	"errors"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
)

// clusterOfHosts is the cluster that the commands work on where there is no API.
func clusterOfHosts(hosts *ssh.Hosts) *cluster {
	return &cluster{
		Cluster: fleet.Cluster{Nodes: hosts, Locker: hosts, Signers: hosts, Observer: hosts, Scanner: hosts},
		api:     apiOfHosts{hosts}, journals: hosts,
	}
}

// apiOfHosts answers what the commands ask of the API server.
type apiOfHosts struct{ *ssh.Hosts }

// Permitted returns nil: who may log in as root has every permission.
func (apiOfHosts) Permitted(context.Context, kube.Use) error { return nil }

// Holder returns nil: without the API there is no lock but the nodes' own.
func (apiOfHosts) Holder(context.Context) (*kube.HeldError, error) { return nil, nil }

// SecretCopies fails: Secrets are in the API.
func (apiOfHosts) SecretCopies(context.Context, []string) (kube.Copies, error) {
	return kube.Copies{}, errors.New("read secrets: this rotation does not use the API")
}
