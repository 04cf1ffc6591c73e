package component

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// EtcdHealth reads the state of the etcd cluster that this node uses (its own member's, or the
// external one of its API server) with a client certificate of this node. It is nil if the node
// uses no etcd. Errors are part of the result.
func EtcdHealth(ctx context.Context, root hostfs.Root, node inventory.Node) *inventory.Etcd {
	endpoints, local := etcdEndpoints(node)
	if len(endpoints) == 0 {
		return nil
	}
	client, list, err := openEtcd(ctx, root, node, endpoints)
	if err != nil {
		return &inventory.Etcd{Error: err.Error()}
	}
	defer func() { _ = client.Close() }()
	out := &inventory.Etcd{Members: make([]inventory.Member, len(list.Members))}
	if local {
		out.LocalID = list.Header.GetMemberId()
	}
	var all sync.WaitGroup
	for n, m := range list.Members {
		all.Go(func() { out.Members[n], _ = askMember(ctx, client, m) })
	}
	all.Wait()
	nameOtherMembers(out.Members)
	out.LeaderID = leaderOf(out.Members)
	out.Alarms = etcdAlarms(ctx, client, out.Members)
	addOwnQuota(out, node)
	return out
}

// etcdEndpoints returns the client URLs of etcd, and whether they are those of this node's own
// member.
func etcdEndpoints(node inventory.Node) (endpoints []string, local bool) {
	if c := node.ComponentOf(certs.Etcd); c != nil && len(c.ClientURLs) > 0 {
		return c.ClientURLs, true
	}
	if c := node.ComponentOf(certs.KubeAPIServer); c != nil {
		return c.ClientURLs, false
	}
	return nil, false
}

// openEtcd connects with the first of the node's client certificates that etcd accepts,
// and lists the members. The caller closes the client.
func openEtcd(ctx context.Context, root hostfs.Root, node inventory.Node, endpoints []string) (*clientv3.Client, *clientv3.MemberListResponse, error) {
	configs, problems := etcdConfigs(root, node, endpoints)
	for _, config := range configs {
		client, err := dialEtcd(ctx, endpoints, config.tls)
		if err != nil {
			return nil, nil, err
		}
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		list, err := client.MemberList(asking)
		cancel()
		if err == nil {
			return client, list, nil
		}
		_ = client.Close()
		problems = append(problems, fmt.Errorf("%s: %w", config.name, err))
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break // a rejected certificate is an error at once
		}
	}
	return nil, nil, fmt.Errorf("list members through %s: %w", strings.Join(endpoints, ", "), joinErrors(problems))
}

// joinErrors puts several errors into one line.
func joinErrors(problems []error) error {
	if len(problems) == 0 {
		return errors.New("no client certificate for etcd on this node")
	}
	err := problems[0]
	for _, p := range problems[1:] {
		err = fmt.Errorf("%w; %w", err, p)
	}
	return err
}

// etcdConfig is one way to connect to etcd.
type etcdConfig struct {
	name string
	tls  *tls.Config // nil: without TLS
}

// etcdConfigs returns the configurations to try in turn, and an error for each unusable
// certificate.
func etcdConfigs(root hostfs.Root, node inventory.Node, endpoints []string) (out []etcdConfig, problems []error) {
	if !slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "https://") }) {
		return []etcdConfig{{name: "without TLS"}}, nil
	}
	clients := etcdClients(node)
	for _, c := range clients {
		pair, err := loadPair(root, c.Store)
		p := verifier{target: inventory.Client{Kind: inventory.ToEtcd, CAFile: etcdCAFile(c, clients)}, pair: pair}
		if err == nil {
			err = p.prepareTLS(root)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.Name, err))
			continue
		}
		out = append(out, etcdConfig{name: c.Name, tls: p.conf})
	}
	return out, problems
}

// etcdCAFile returns the trust bundle for etcd: that of the certificate's user, or of another
// client on the node.
func etcdCAFile(c inventory.Certificate, clients []inventory.Certificate) string {
	for _, other := range append([]inventory.Certificate{c}, clients...) {
		if other.Client != nil && other.Client.CAFile != "" {
			return other.Client.CAFile
		}
	}
	return ""
}

// failFast ends a call as soon as no endpoint can be connected to, and returns the reason: a
// refused connection, a rejected certificate. Without it etcd's client retries until the
// deadline, and its error does not name the reason.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

func dialEtcd(ctx context.Context, endpoints []string, conf *tls.Config) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: endpoints, DialTimeout: probeTimeout, TLS: conf,
		MaxUnaryRetries: 1, DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
		Logger: zap.NewNop(), // the errors are sufficient
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}
