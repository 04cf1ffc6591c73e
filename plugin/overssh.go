package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// errNoAnswer means that the API server cannot be asked: it does not answer, or has no etcd.
var errNoAnswer = errors.New("the API server cannot be asked")

// errNotAgreed means that a rotation without the lock was not agreed to, and there is no terminal for the question.
var errNotAgreed = hint.AddTo(errors.New("a rotation without the cluster's lock has to be agreed to, and there is no terminal"),
	"make sure that no other rotation is in progress, then add --yes")

// errOtherCluster means that a host is not of the cluster of the kubeconfig.
var errOtherCluster = errors.New("the kubeconfig is of another cluster")

// answeringCluster returns the cluster of the kubeconfig, if its API server answers and the hosts
// are nodes of it.
func (a *app) answeringCluster(ctx context.Context, conn connection, hosts *ssh.Hosts) (*cluster, error) {
	c, err := a.dial(conn)
	if err != nil {
		return nil, err
	}
	// Without an answer, the rotation over ssh works without the API server. A login of the
	// operator may be part of the request.
	asking, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	all, err := c.api.Nodes(asking)
	var rootCA []byte
	if err == nil {
		rootCA, err = c.rootCA(asking)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !isRefusal(err):
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	case err != nil:
		return nil, err
	}
	for _, name := range hosts.WithKubelet() {
		if !slices.ContainsFunc(all, func(n kubenode.Node) bool { return n.Name == name }) {
			return nil, hint.AddTo(fmt.Errorf("%w: it has no node %q, as a host names itself", errOtherCluster, name), "--kubeconfig and --context choose another one")
		}
	}
	return c, compareCluster(rootCA, hosts.Scanned())
}

// isRefusal reports whether an error is the answer of a working API server, where another rotation
// may hold the lock. An answer to credentials that have expired is one, too.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !kube.IsRestarting(err)
}

// clusterOverSSH is a cluster whose nodes are reached over ssh. Where the API server answers, the
// lock, signatures and the state of nodes come from there, as in a rotation with pods. Where it does
// not, the reason is returned as well.
func (a *app) clusterOverSSH(ctx context.Context, conn connection, hosts *ssh.Hosts) (c *cluster, without, err error) {
	c, err = a.answeringCluster(ctx, conn, hosts)
	if errors.Is(err, errNoAnswer) {
		return clusterOfHosts(hosts), err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return &cluster{
		Cluster: fleet.Cluster{Nodes: nodesOverSSH{Hosts: hosts, pods: c.Nodes}, Locker: c.Locker, Signers: c.Signers, Observer: c.Observer, Scanner: hosts},
		api:     apiOverSSH{api: c.api, hosts: hosts},
		who:     c.who, held: c.held,
	}, nil, nil
}

// withoutLock says that a rotation takes no lock, and why.
func withoutLock(why error) string {
	return "Without the cluster's lock: " + reasonOf(why) + ". Make sure that no other rotation is in progress."
}

// reasonOf is why the API server does not answer, in one line.
func reasonOf(err error) string {
	return strings.TrimPrefix(firstLine(err), errNoAnswer.Error()+": ")
}

// nodesOverSSH are hosts of a cluster whose API server answers.
type nodesOverSSH struct {
	*ssh.Hosts

	pods fleet.Nodes
}

// Close ends the processes of a rotation; with rotation "" those of every rotation, in pods, too,
// where the user may delete these. A node refuses a second process in any case.
func (n nodesOverSSH) Close(ctx context.Context, rotation string) (int, error) {
	removed := 0
	if rotation == "" {
		var err error
		if removed, err = n.pods.Close(ctx, ""); err != nil && !apierrors.IsForbidden(err) {
			return removed, err
		}
	}
	ended, err := n.Hosts.Close(ctx, rotation)
	return removed + ended, err
}

// apiOverSSH is the API server for a rotation of hosts.
type apiOverSSH struct {
	api

	hosts *ssh.Hosts
}

// MayRotate asks for the permissions of a rotation without pods.
func (a apiOverSSH) MayRotate(ctx context.Context) error {
	return a.Permitted(ctx, kube.UseRotateOverSSH)
}

// Nodes lists the hosts, and the nodes of the control plane, which count for its health. A host that
// is reached need not be Ready.
func (a apiOverSSH) Nodes(ctx context.Context) ([]kubenode.Node, error) {
	all, err := a.api.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	own, err := a.hosts.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(own, func(h kubenode.Node) bool {
		return slices.ContainsFunc(all, func(n kubenode.Node) bool { return n.Name == h.Name })
	})
	for _, n := range all {
		reached := a.hosts.Has(n.Name)
		if reached {
			n.Ready = true
		}
		if reached || n.ControlPlane || n.Etcd {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b kubenode.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
