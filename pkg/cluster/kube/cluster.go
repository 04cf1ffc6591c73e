package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
)

// APIServer is the access to the API server before nodes are scanned.
type APIServer struct {
	Client    kubernetes.Interface
	Namespace string // where node pods run
}

// Nodes lists all nodes.
func (s *APIServer) Nodes(ctx context.Context) ([]kubenode.Node, error) {
	return ListNodes(ctx, s.Client)
}

// Permitted returns an error that names every missing permission, or one that says that the
// API server has no working etcd.
func (s *APIServer) Permitted(ctx context.Context, use Use) error {
	if err := CheckEtcd(ctx, s.Client, nil); err != nil {
		return err
	}
	return CheckPermissions(ctx, s.Client, use, s.Namespace)
}

// MayRotate is Permitted for a rotation.
func (s *APIServer) MayRotate(ctx context.Context) error { return s.Permitted(ctx, UseRotate) }

// DefaultValidity is [CertificateValidity].
func (s *APIServer) DefaultValidity(ctx context.Context) (time.Duration, error) {
	return CertificateValidity(ctx, s.Client)
}

// Holder is [Holder].
func (s *APIServer) Holder(ctx context.Context) (*HeldError, error) { return Holder(ctx, s.Client) }

// SecretCopies is [FindInSecrets].
func (s *APIServer) SecretCopies(ctx context.Context, fingerprints []string) (Copies, error) {
	return FindInSecrets(ctx, s.Client, fingerprints)
}

// ListNodes returns every node of the cluster, sorted by name.
func ListNodes(ctx context.Context, client kubernetes.Interface) ([]kubenode.Node, error) {
	var out []kubenode.Node
	options := metav1.ListOptions{Limit: 500}
	for {
		page, err := client.CoreV1().Nodes().List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		for i := range page.Items {
			out = append(out, kubenode.Describe(&page.Items[i]))
		}
		if page.Continue == "" {
			break
		}
		options.Continue = page.Continue
	}
	slices.SortFunc(out, func(a, b kubenode.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Cluster is a real cluster.
type Cluster struct {
	fleet.Cluster
	API     *APIServer
	Scanner *Scanner

	nodes  *Nodes
	locker *Locker
}

// Held is [Locker.Held].
func (c *Cluster) Held(ctx context.Context) error { return c.locker.Held(ctx) }

// Connect makes a cluster; it sends no request yet. locker describes the holder of the lock;
// its Client is filled in.
func Connect(config *rest.Config, pods PodOptions, locker Locker) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig: %w", err)
	}
	locker.Client = &reconnecting{client, config}
	scanner := &Scanner{Client: client, Config: config, Pods: pods}
	nodes := &Nodes{Client: client, Config: config, Pods: pods}
	return &Cluster{
		Cluster: fleet.Cluster{
			Nodes:    nodes,
			Locker:   &locker,
			Signers:  &Signers{Client: client},
			Observer: &Observer{Client: client},
			Scanner:  scanner,
		},
		API:     &APIServer{Client: &reconnecting{client, config}, Namespace: pods.podNamespace()},
		Scanner: scanner,
		nodes:   nodes,
		locker:  &locker,
	}, nil
}

// ReportWaits has f called when a node takes long to start or to end a pod.
func (c *Cluster) ReportWaits(f func(node, what string)) {
	c.nodes.Waiting = f
	c.Scanner.Waiting = f
}
