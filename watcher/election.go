package watcher

import (
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseName is the Lease by which watchers elect their leader.
const leaseName = "rotate-certs-watcher"

// election is how watchers agree on who does the work. It fences nothing: that is what
// the cluster's lock and the nodes' tokens are for. So it may be slow, and has to be: a
// rotation of the only API server must not cost its own watcher the leadership.
type election struct {
	lock                resourcelock.Interface // nil: no election
	lease, renew, retry time.Duration
}

func newElection(o Options) (election, error) {
	e := election{lease: 60 * time.Second, renew: 50 * time.Second, retry: 2 * time.Second}
	if !o.LeaderElection {
		return e, nil
	}
	identity, err := identity()
	if err != nil {
		return e, err
	}
	// A request that hangs must not use up the time to renew in.
	config := rest.CopyConfig(o.Config)
	config.Timeout = e.renew / 5
	e.lock, err = resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.Pods.Namespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: identity}, config, e.renew)
	if err != nil {
		return e, fmt.Errorf("elect a leader: %w", err)
	}
	return e, nil
}

// identity tells one watcher from the others. In a pod it is the pod's name, so that a
// container that was killed and started again is the leader that it was, at once.
func identity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name this watcher: %w", err)
	}
	if inPod() {
		return host, nil
	}
	return host + "_" + string(uuid.NewUUID()), nil
}

func inPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// instance names the leader in this pod to the cluster's lock: what a container that was
// killed has held, its successor takes over at once.
func instance() string {
	host, err := os.Hostname()
	if err != nil || !inPod() {
		return ""
	}
	return "rotate-certs-watcher/" + host
}
