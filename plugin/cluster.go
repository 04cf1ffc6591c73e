package plugin

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// cluster is everything that the commands need of a cluster. app.connect makes it; tests
// replace it.
type cluster struct {
	fleet.Cluster
	api      api
	journals journals
	who      *identity // the operator's own client certificate; nil: none
	// held returns an error where another rotation holds the lock; nil: it is not checked.
	held func(context.Context) error
	// rootCA returns the CAs of the API server, as PEM; nil: there is no API server.
	rootCA func(context.Context) ([]byte, error)
}

// api is the access of the commands to the API server.
type api interface {
	fleet.API
	// Permitted returns an error that names every permission that is missing.
	Permitted(ctx context.Context, use kube.Use) error
	// Holder returns the holder of the cluster's lock; nil: it is free.
	Holder(ctx context.Context) (*kube.HeldError, error)
	// SecretCopies finds certificates by their fingerprints in Secrets.
	SecretCopies(ctx context.Context, fingerprints []string) (kube.Copies, error)
}

// journals reads the journals of one rotation. Nodes that could not be read are returned as
// exclusions.
type journals interface {
	Journals(ctx context.Context, nodes []string, rotation string) ([]nodeapi.Journal, []plan.NotInspected, error)
}

// connectCluster makes the real cluster; it sends no request yet.
func (a *app) connectCluster(c connection) (*cluster, error) {
	pods := kube.PodOptions{Namespace: c.namespace, Image: c.image}
	if c.pullSecret != "" {
		pods.ImagePullSecrets = []string{c.pullSecret}
	}
	made, err := kube.Connect(c.config, pods, kube.Locker{Holder: whoAndWhere(), TakeOver: c.takeOver,
		Waiting: func(held *kube.HeldError, atMost time.Duration) {
			a.printLine(fmt.Sprintf("the lock of %s has expired; waiting %s in case its holder renews it (--take-over does not wait)", held.Holder, printers.ElapsedTime(atMost)))
		},
		Displaced: func(held *kube.HeldError) { a.printLine(displacedText(held)) },
	})
	if err != nil {
		return nil, err
	}
	made.ReportWaits(func(node, what string) { a.printLine(node + ": " + what) })
	remembering := rememberingAPI{api: made.API, server: c.config.Host, file: c.remembered, now: a.now}
	return &cluster{Cluster: made.Cluster, api: remembering, journals: made.Scanner, who: c.identity, held: made.Held, rootCA: made.API.RootCA}, nil
}

// displacedText names the holder from whom the lock was taken.
func displacedText(held *kube.HeldError) string {
	return printers.CleanText(fmt.Sprintf("took the lock from %s, who had held it since %s", held.Holder, held.Since.UTC().Format("2006-01-02 15:04:05 UTC")))
}

// whoAndWhere is the name of this process's user and machine, as holder of the lock.
func whoAndWhere() string {
	name := "unknown"
	host := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
