package watcher

import (
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseName is the Lease of the leader election.
const leaseName = "rotate-certs-watcher"

// election has the timing of the leader election. It fences nothing: the cluster's lock and
// the fencing tokens of the nodes do. It must be slow: a rotation of the only API server must
// not end the leadership of its own watcher.
type election struct {
	lock                resourcelock.Interface // nil: no election
	lease, renew, retry time.Duration
}

func newElection(o Options) (election, error) {
	e := election{lease: 60 * time.Second, renew: 50 * time.Second, retry: 2 * time.Second}
	if !o.LeaderElection {
		return e, nil
	}
	identity, err := leaderIdentity()
	if err != nil {
		return e, err
	}
	// A request that hangs must leave time for another try before the deadline.
	config := rest.CopyConfig(o.Config)
	config.Timeout = e.renew / 5
	e.lock, err = resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.Pods.Namespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: identity}, config, e.renew)
	if err != nil {
		return e, fmt.Errorf("elect a leader: %w", err)
	}
	return e, nil
}

// leaderIdentity is the identity of this watcher. In a pod it is the name of the pod, so that
// a restarted container continues as leader at once.
func leaderIdentity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("read host name: %w", err)
	}
	if inPod() {
		return host, nil
	}
	return host + "_" + string(uuid.NewUUID()), nil
}

func inPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// lockHolder is the name with which watchers hold the cluster's lock.
const lockHolder = "rotate-certs-watcher"

// lockInstance identifies this pod to the cluster's lock: a restarted container takes over the
// lock of its predecessor at once.
func lockInstance() string {
	host, err := os.Hostname()
	if err != nil || !inPod() {
		return ""
	}
	return lockHolder + "/" + host
}

// leading runs on the leader only.
type leading func(context.Context) error

// Start runs it.
func (l leading) Start(ctx context.Context) error {
	if err := l(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// NeedLeaderElection restricts it to the leader.
func (leading) NeedLeaderElection() bool { return true }
