package kube

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// ErrNoEtcd means that the API server has no working etcd, or does not answer.
var ErrNoEtcd = errors.New("the API server")

// noEtcd is the line in /readyz of an API server that cannot read from etcd.
var noEtcd = regexp.MustCompile(`(?m)^\[-\]etcd\S* .*$`)

// CheckEtcd fails where the API server reports for a while that it has no working etcd.
// Without this check every request would fail after a minute, without the cause. config may be
// nil.
func CheckEtcd(ctx context.Context, client kubernetes.Interface, config *rest.Config) error {
	// An API server that reports that it has no etcd, or does not answer, may do better in a while.
	return checkEtcd(ctx, client, config, 20*time.Second, wait.RequestEvery)
}

func checkEtcd(ctx context.Context, client kubernetes.Interface, config *rest.Config, within, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		answered, said := etcdReadiness(ctx, client)
		switch {
		case said == nil && (answered || last == nil):
			return nil
		case said != nil && (last == nil || ctx.Err() == nil):
			last = said
		}
		if wait.SleepFor(ctx, every) != nil {
			return hint.AddTo(last,
				"has etcd lost its quorum? see its members on the control-plane nodes (crictl ps -a, logs below /var/log/pods), and kubectl get --raw '/readyz?verbose'")
		}
		client = viaNewConnection(client, config) // another API server may have one
	}
}

// etcdReadiness returns whether an API server answered, and an error if it has no working etcd. Its
// other checks are not evaluated.
func etcdReadiness(ctx context.Context, client kubernetes.Interface) (answered bool, bad error) {
	body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
	if err == nil {
		return true, nil
	}
	if found := noEtcd.Find(body); found != nil {
		if readsEtcd(ctx, client) {
			return true, nil
		}
		return true, fmt.Errorf("%w has no working etcd: %s", ErrNoEtcd, found)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false, fmt.Errorf("%w does not answer", ErrNoEtcd)
	}
	var status apierrors.APIStatus
	return errors.As(err, &status), nil
}

// readsEtcd reports whether the API server can read from etcd. The check behind /readyz has
// its own connection to etcd, and may recover seconds later than the one that serves requests.
// A Lease is not served from a cache where no resource version is given.
func readsEtcd(ctx context.Context, client kubernetes.Interface) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := client.CoordinationV1().Leases(LeaseNamespace).Get(ctx, LeaseName, metav1.GetOptions{})
	return err == nil || apierrors.IsNotFound(err)
}
