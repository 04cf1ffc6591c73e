package component

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	etcdserverpb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/store"
)

// memberTimeout is how long one member may take to answer: a healthy one takes
// milliseconds.
const memberTimeout = 3 * time.Second

// Etcd asks the etcd cluster that this node knows (its own member's, or the external
// one of its API server) with a client certificate of this node. It is nil where the
// node knows none; what goes wrong is told in the result.
func Etcd(ctx context.Context, root hostfs.Root, node inventory.Node) *inventory.Etcd {
	endpoints, local := etcdEndpoints(node)
	if len(endpoints) == 0 {
		return nil
	}
	client, err := dialEtcd(ctx, root, node, endpoints)
	if err != nil {
		return &inventory.Etcd{Error: err.Error()}
	}
	defer func() { _ = client.Close() }()
	asking, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	list, err := client.MemberList(asking)
	if err != nil {
		return &inventory.Etcd{Error: fmt.Sprintf("list members through %s: %v", strings.Join(endpoints, ", "), err)}
	}
	out := &inventory.Etcd{Members: make([]inventory.Member, len(list.Members))}
	if local {
		out.LocalID = list.Header.GetMemberId()
	}
	leaders := make([]uint64, len(list.Members))
	var all sync.WaitGroup
	for n, m := range list.Members {
		all.Go(func() { out.Members[n], leaders[n] = askMember(ctx, client, m) })
	}
	all.Wait()
	for _, id := range leaders {
		if id != 0 {
			out.LeaderID = id
		}
	}
	out.Alarms = etcdAlarms(ctx, client, out.Members)
	ownQuota(out, node)
	return out
}

// etcdEndpoints returns where to ask, and whether that is this node's own member.
func etcdEndpoints(node inventory.Node) (endpoints []string, local bool) {
	if c := node.Component(certs.Etcd); c != nil && len(c.ClientURLs) > 0 {
		return c.ClientURLs, true
	}
	if c := node.Component(certs.KubeAPIServer); c != nil {
		return c.ClientURLs, false
	}
	return nil, false
}

func dialEtcd(ctx context.Context, root hostfs.Root, node inventory.Node, endpoints []string) (*clientv3.Client, error) {
	config := clientv3.Config{
		Context: ctx, Endpoints: endpoints, DialTimeout: memberTimeout,
		Logger: zap.NewNop(), // what goes wrong is in the errors
	}
	if slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "https://") }) {
		tlsConfig, err := etcdTLS(root, node)
		if err != nil {
			return nil, err
		}
		config.TLS = tlsConfig
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}

// etcdTLS picks a client certificate of this node that etcd accepts, the one that is
// made for asking about health first.
func etcdTLS(root hostfs.Root, node inventory.Node) (*tls.Config, error) {
	var candidates []inventory.Certificate
	for _, c := range node.Certificates {
		if c.Client != nil && c.Client.Kind == inventory.ToEtcd {
			candidates = append(candidates, c)
		}
	}
	slices.SortStableFunc(candidates, func(a, b inventory.Certificate) int { return etcdRank(a) - etcdRank(b) })
	problems := []error{errors.New("no client certificate for etcd on this node can be used")}
	for _, c := range candidates {
		config, err := clientTLS(root, c)
		if err == nil {
			return config, nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", c.Name, err))
	}
	return nil, errors.Join(problems...)
}

func etcdRank(c inventory.Certificate) int {
	rank := 0
	if c.Name != "etcd-healthcheck-client" {
		rank++
	}
	if c.Status == certs.Expired || c.Status == certs.Invalid || c.Status == certs.NotYetValid {
		rank += 2
	}
	return rank
}

// clientTLS loads a client certificate and the authorities by which it knows its server.
func clientTLS(root hostfs.Root, c inventory.Certificate) (*tls.Config, error) {
	content, err := store.Read(root, c.Store)
	if err != nil {
		return nil, err
	}
	if content.KeyErr != nil {
		return nil, content.KeyErr
	}
	pair := tls.Certificate{PrivateKey: content.Key.Signer}
	for _, link := range content.Chain {
		pair.Certificate = append(pair.Certificate, link.Raw)
	}
	bundle, err := root.ReadFile(c.Client.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read trust bundle: %w", err)
	}
	roots, err := certs.ParsePEM(bundle)
	if err != nil {
		return nil, fmt.Errorf("read trust bundle %q: %w", c.Client.CAFile, err)
	}
	pool := x509.NewCertPool()
	for _, ca := range roots {
		pool.AddCert(ca)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: pool}, nil
}

// askMember asks one member about itself; it also returns whom it follows.
func askMember(ctx context.Context, client *clientv3.Client, m *etcdserverpb.Member) (inventory.Member, uint64) {
	out := inventory.Member{ID: m.ID, Name: m.Name, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	if len(m.ClientURLs) == 0 {
		out.Error = "it was never started"
		return out, 0
	}
	var last error
	for _, u := range m.ClientURLs {
		asking, cancel := context.WithTimeout(ctx, memberTimeout)
		status, err := client.Status(asking, u)
		cancel()
		if err != nil {
			last = fmt.Errorf("ask %s: %w", hostOf(u), err)
			continue
		}
		out.RaftIndex, out.DBSize, out.DBQuota = status.RaftIndex, status.DbSize, status.DbSizeQuota
		switch {
		case len(status.Errors) > 0:
			out.Error = strings.Join(status.Errors, "; ")
		case status.Leader == 0:
			out.Error = "it knows no leader"
		default:
			out.Healthy = true
		}
		return out, status.Leader
	}
	out.Error = last.Error()
	return out, 0
}

func hostOf(clientURL string) string {
	if u, err := url.Parse(clientURL); err == nil && u.Host != "" {
		return u.Host
	}
	return clientURL
}

// defaultQuota is etcd's own, for a member that is not told otherwise.
const defaultQuota = 2 << 30

// ownQuota fills in the quota of this node's member from its command line, where it
// did not tell itself. Those of others are not known here.
func ownQuota(e *inventory.Etcd, node inventory.Node) {
	c := node.Component(certs.Etcd)
	if c == nil {
		return
	}
	quota := int64(defaultQuota)
	for i, arg := range c.Args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name != "quota-backend-bytes" {
			continue
		}
		if !joined && i+1 < len(c.Args) {
			value = c.Args[i+1]
		}
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil || n < 0:
			return // etcd would not start so, or has no quota
		case n > 0:
			quota = n
		}
	}
	for i := range e.Members {
		if m := &e.Members[i]; m.ID == e.LocalID && m.DBQuota == 0 {
			m.DBQuota = quota
		}
	}
}

// etcdAlarms names alarms and the members that raised them.
func etcdAlarms(ctx context.Context, client *clientv3.Client, members []inventory.Member) []string {
	asking, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	list, err := client.AlarmList(asking)
	if err != nil {
		return []string{"alarms are not known: " + err.Error()}
	}
	var out []string
	for _, a := range list.Alarms {
		on := fmt.Sprintf("%x", a.MemberID)
		for _, m := range members {
			if m.ID == a.MemberID && m.Name != "" {
				on = m.Name
			}
		}
		out = append(out, a.Alarm.String()+" on "+on)
	}
	return out
}
