package plugin

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// cluster is everything that the commands need of a cluster. It is put together in one
// place, app.connect, so that tests can put another in its place.
type cluster struct {
	fleet.Cluster
	api      api
	journals journals
	who      *identity // the person's own client certificate; nil: none
}

// api is what the commands ask of the API server themselves.
type api interface {
	// Nodes lists all nodes.
	Nodes(ctx context.Context) ([]kube.Node, error)
	// Permitted returns an error that names every permission that is missing.
	Permitted(ctx context.Context, use kube.Use) error
	// DefaultValidity is the lifetime that the cluster's kubeadm configuration gives
	// to certificates; 0 where there is none.
	DefaultValidity(ctx context.Context) (time.Duration, error)
	// Holder says who holds the cluster's lock; nil: nobody.
	Holder(ctx context.Context) (*kube.HeldError, error)
}

// journals reads what nodes remember of one rotation. What could not be read is
// returned as exclusions.
type journals interface {
	Journals(ctx context.Context, nodes []string, rotation string) ([]journal.Log, []plan.Exclusion, error)
}

// connect puts a real cluster together; nothing is asked of it yet.
func (a *app) connect(c connection) (*cluster, error) {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig: %w", err)
	}
	pods := kube.PodOptions{Namespace: c.namespace, Image: c.image}
	if c.pullSecret != "" {
		pods.ImagePullSecrets = []string{c.pullSecret}
	}
	locker := &kube.Locker{Client: client, Holder: whoAndWhere(), Waiting: func(held *kube.HeldError, atMost time.Duration) {
		a.say(fmt.Sprintf("the lock of %s has run out; watching for up to %s whether it is still alive", held.Holder, took(atMost)))
	}}
	scanner := &kube.Scanner{Client: client, Config: c.config, Pods: pods}
	return &cluster{
		Cluster: fleet.Cluster{
			Nodes:    &kube.Nodes{Client: client, Config: c.config, Pods: pods},
			Locker:   locker,
			Signers:  &kube.Signers{Client: client},
			Observer: &kube.Observer{Client: client},
			Scanner:  scanner,
		},
		api:      &apiServer{client: client, namespace: c.namespace},
		journals: scanner,
		who:      c.identity,
	}, nil
}

// whoAndWhere names this person for the next one who finds the lock held.
func whoAndWhere() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// apiServer is the real api.
type apiServer struct {
	client    kubernetes.Interface
	namespace string
}

func (s *apiServer) Nodes(ctx context.Context) ([]kube.Node, error) {
	return kube.ListNodes(ctx, s.client)
}

func (s *apiServer) Permitted(ctx context.Context, use kube.Use) error {
	return kube.CheckPermissions(ctx, s.client, use, s.namespace)
}

func (s *apiServer) DefaultValidity(ctx context.Context) (time.Duration, error) {
	return kube.CertificateValidity(ctx, s.client)
}

func (s *apiServer) Holder(ctx context.Context) (*kube.HeldError, error) {
	return kube.Holder(ctx, s.client)
}
