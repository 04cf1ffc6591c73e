package kube

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// quorumTimeout is how long an API server may say that it has no etcd before that is
	// believed, and how long it may say nothing.
	quorumTimeout = 20 * time.Second
	quorumEvery   = time.Second

	// quorumReadTimeout is how long a read may take that shows that there is an etcd.
	quorumReadTimeout = 2 * time.Second
)

// noEtcd is what /readyz says where an API server cannot read from etcd.
var noEtcd = regexp.MustCompile(`(?m)^\[-\]etcd\S* .*$`)

// CheckEtcd fails where the API server says for a while that it has no working etcd.
// Whatever would be asked of it otherwise fails too, but each time only after a minute,
// and without naming the cause. config may be nil.
func CheckEtcd(ctx context.Context, client kubernetes.Interface, config *rest.Config) error {
	return checkEtcd(ctx, client, config, quorumTimeout, quorumEvery)
}

func checkEtcd(ctx context.Context, client kubernetes.Interface, config *rest.Config, within, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		answered, said := readyz(ctx, client)
		switch {
		case said == nil && (answered || last == nil):
			return nil
		case said != nil && (last == nil || ctx.Err() == nil):
			last = said
		}
		if sleep(ctx, every) != nil {
			return fmt.Errorf("%w\nhas etcd lost its quorum? look at its members on the control-plane nodes (crictl ps -a, and their logs below /var/log/pods), and at: kubectl get --raw '/readyz?verbose'", last)
		}
		client = elsewhere(client, config) // another API server may have one
	}
}

// readyz returns whether an API server answered, and what it says of its etcd, if that is
// nothing good. Whatever else it says is for others to judge.
func readyz(ctx context.Context, client kubernetes.Interface) (answered bool, bad error) {
	body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
	if err == nil {
		return true, nil
	}
	if found := noEtcd.Find(body); found != nil {
		if readsEtcd(ctx, client) {
			return true, nil
		}
		return true, fmt.Errorf("the API server has no working etcd: %s", found)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false, errors.New("the API server does not answer")
	}
	var status apierrors.APIStatus
	return errors.As(err, &status), nil
}

// readsEtcd says that the API server can read from etcd. The check behind /readyz has a
// connection of its own to etcd, and may be seconds behind the one that is used once etcd
// is back. A Lease is not served from a cache where no resource version is given.
func readsEtcd(ctx context.Context, client kubernetes.Interface) bool {
	ctx, cancel := context.WithTimeout(ctx, quorumReadTimeout)
	defer cancel()
	_, err := client.CoordinationV1().Leases(LeaseNamespace).Get(ctx, LeaseName, metav1.GetOptions{})
	return err == nil || apierrors.IsNotFound(err)
}
