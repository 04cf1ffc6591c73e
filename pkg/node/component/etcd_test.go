package component

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	etcdserverpb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	grpccredentials "google.golang.org/grpc/credentials"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// member is an etcd member that answers over gRPC, and over nothing else.
type member struct {
	etcdserverpb.UnimplementedClusterServer
	etcdserverpb.UnimplementedMaintenanceServer

	cluster *etcdCluster
	status  etcdserverpb.StatusResponse
	url     string
}

// etcdCluster holds the state that its members report.
type etcdCluster struct {
	tree    *certstest.Tree
	plain   bool   // without TLS
	allowed string // the only client that is let in; empty: all that etcd's CA has signed
	members []*etcdserverpb.Member
}

func (m *member) MemberList(context.Context, *etcdserverpb.MemberListRequest) (*etcdserverpb.MemberListResponse, error) {
	return &etcdserverpb.MemberListResponse{Header: m.status.Header, Members: m.cluster.members}, nil
}

func (m *member) Status(context.Context, *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	return &m.status, nil
}

func (m *member) Alarm(context.Context, *etcdserverpb.AlarmRequest) (*etcdserverpb.AlarmResponse, error) {
	return &etcdserverpb.AlarmResponse{Header: m.status.Header}, nil
}

// startMember runs a member of this id. It follows member 1, in term 7.
func (c *etcdCluster) startMember(t *testing.T, id uint64) *member {
	t.Helper()
	m := &member{cluster: c, status: etcdserverpb.StatusResponse{Header: &etcdserverpb.ResponseHeader{MemberId: id},
		Leader: 1, RaftTerm: 7, RaftIndex: 5000, RaftAppliedIndex: 5000}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{keyPair(c.tree.Pairs["etcd-server"])},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(c.tree.EtcdCA),
		VerifyConnection: func(s tls.ConnectionState) error {
			if c.allowed != "" && s.PeerCertificates[0].Subject.CommonName != c.allowed {
				return fmt.Errorf("CN is not %s", c.allowed)
			}
			return nil
		}}
	scheme := "https://"
	options := []grpc.ServerOption{grpc.Creds(grpccredentials.NewTLS(conf))}
	if c.plain {
		scheme = "http://"
		options = nil
	}
	server := grpc.NewServer(options...)
	etcdserverpb.RegisterClusterServer(server, m)
	etcdserverpb.RegisterMaintenanceServer(server, m)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	m.url = scheme + listener.Addr().String()
	c.members = append(c.members, &etcdserverpb.Member{ID: id, Name: fmt.Sprintf("cp%d", id), ClientURLs: []string{m.url}})
	return m
}

// etcdOf is a cluster of three, seen by the node of its first member.
func etcdOf(t *testing.T) (*etcdCluster, inventory.Node, []*member) {
	t.Helper()
	tree, node := kubeadmNode(t, "127.0.0.1:2379")
	c := &etcdCluster{tree: tree}
	members := []*member{c.startMember(t, 1), c.startMember(t, 2), c.startMember(t, 3)}
	node.Components = []inventory.Component{{Service: certs.Etcd, ClientURLs: []string{members[0].url}}}
	return c, node, members
}

func TestEtcdAsItIs(t *testing.T) {
	c, node, members := etcdOf(t)
	members[2].status.IsLearner = true
	members[2].status.RaftAppliedIndex = 4000
	members[1].status.DbSize = 5
	members[1].status.DbSizeQuota = 8 << 30
	e := EtcdHealth(t.Context(), c.tree.Root, node)
	if e.Error != "" || e.LeaderID != 1 || e.LocalID != 1 || len(e.Members) != 3 || len(e.Alarms) > 0 {
		t.Fatalf("%+v", e)
	}
	for _, m := range e.Members {
		if !m.Healthy || m.LeaderID != 1 || m.RaftTerm != 7 || m.RaftIndex != 5000 {
			t.Errorf("%+v", m)
		}
	}
	if m := e.Members[2]; !m.Learner || m.RaftAppliedIndex != 4000 {
		t.Errorf("a member that has become a learner since: %+v", m)
	}
	if e.Members[0].DBQuota != defaultQuota || e.Members[1].DBQuota != 8<<30 {
		t.Errorf("quotas: %+v", e.Members)
	}
}

// TestEtcdIsAskedWithACertificateThatItAccepts, whichever of the node's that is.
func TestEtcdIsAskedWithACertificateThatItAccepts(t *testing.T) {
	for _, allowed := range []string{"kube-etcd-healthcheck-client", "kube-apiserver-etcd-client", "cp1", "none of them"} {
		t.Run(allowed, func(t *testing.T) {
			c, node, members := etcdOf(t)
			c.allowed = allowed
			e := EtcdHealth(t.Context(), c.tree.Root, node)
			p := HealthOf(t.Context(), c.tree.Root, node, inventory.Component{Service: certs.Etcd, Health: members[0].url + "/health"})
			if allowed == "none of them" {
				// The alert is not always read before the connection breaks.
				if !strings.Contains(e.Error, "etcd-healthcheck-client: ") || !strings.Contains(e.Error, "; etcd-peer: ") {
					t.Errorf("%q", e.Error)
				}
				if p.Healthy || !p.Unasked {
					t.Errorf("%+v", p)
				}
				return
			}
			if e.Error != "" || len(e.Members) != 3 || !e.Members[0].Healthy {
				t.Errorf("%+v", e)
			}
			// Its client URL speaks gRPC only, as beside --listen-client-http-urls.
			if !p.Healthy || p.Unasked {
				t.Errorf("%+v", p)
			}
			members[0].status.Leader = 0
			p = HealthOf(t.Context(), c.tree.Root, node, inventory.Component{Service: certs.Etcd, Health: members[0].url + "/health"})
			if p.Healthy || p.Unasked || p.Message != "it knows no leader" {
				t.Errorf("without a leader: %+v", p)
			}
		})
	}
}

// TestEtcdWithoutTLS that speaks gRPC only at its client URL, too.
func TestEtcdWithoutTLS(t *testing.T) {
	tree, node := kubeadmNode(t, "127.0.0.1:2379")
	c := &etcdCluster{tree: tree, plain: true}
	m := c.startMember(t, 1)
	node.Components = []inventory.Component{{Service: certs.Etcd, ClientURLs: []string{m.url}, Health: m.url + "/health"}}
	if e := EtcdHealth(t.Context(), tree.Root, node); e.Error != "" || len(e.Members) != 1 || !e.Members[0].Healthy {
		t.Errorf("%+v", e)
	}
	if p := HealthOf(t.Context(), tree.Root, node, node.Components[0]); !p.Healthy {
		t.Errorf("%+v", p)
	}
	m.status.Errors = []string{"memberID:1 alarm:NOSPACE"}
	if p := HealthOf(t.Context(), tree.Root, node, node.Components[0]); p.Healthy || p.Unasked || !strings.Contains(p.Message, "NOSPACE") {
		t.Errorf("with an alarm: %+v", p)
	}
}

// TestEtcdWithoutACertificateForIt is an error of the result.
func TestEtcdWithoutACertificateForIt(t *testing.T) {
	c, node, _ := etcdOf(t)
	if e := EtcdHealth(t.Context(), c.tree.Root, onlyCertificates(node, "admin.conf")); !strings.Contains(e.Error, "no client certificate for etcd on this node") {
		t.Errorf("%+v", e)
	}
}

// TestAMemberIsKnownByItsID: members that advertise addresses which lead to this node's
// own member are not healthy by its answer.
func TestAMemberIsKnownByItsID(t *testing.T) {
	c, node, members := etcdOf(t)
	for _, m := range c.members {
		m.ClientURLs = []string{members[0].url} // as https://127.0.0.1:2379
	}
	e := EtcdHealth(t.Context(), c.tree.Root, node)
	if len(e.Members) != 3 || !e.Members[0].Healthy || e.Members[0].AnsweredBy != 0 {
		t.Fatalf("%+v", e)
	}
	for _, m := range e.Members[1:] {
		if m.Healthy || m.AnsweredBy != 1 || m.RaftIndex != 0 || m.LeaderID != 0 ||
			!strings.Contains(m.Error, `member "cp1" answers at its address 127.0.0.1:`) || !strings.Contains(m.Error, "--advertise-client-urls") {
			t.Errorf("%+v", m)
		}
	}
}

// TestEachAddressOfAMemberIsTried until the member itself answers.
func TestEachAddressOfAMemberIsTried(t *testing.T) {
	c, node, members := etcdOf(t)
	c.members[1].ClientURLs = []string{members[0].url, "https://127.0.0.1:1", members[1].url}
	e := EtcdHealth(t.Context(), c.tree.Root, node)
	if m := e.Members[1]; !m.Healthy || m.AnsweredBy != 0 || m.Error != "" {
		t.Errorf("%+v", m)
	}
}

// TestTheLeaderOfTheNewestTerm is the cluster's, where the members name several.
func TestTheLeaderOfTheNewestTerm(t *testing.T) {
	c, node, members := etcdOf(t)
	members[1].status.Leader = 2
	members[1].status.RaftTerm = 8
	e := EtcdHealth(t.Context(), c.tree.Root, node)
	if e.LeaderID != 2 || e.Members[0].LeaderID != 1 || e.Members[1].LeaderID != 2 {
		t.Errorf("%+v", e)
	}
}
