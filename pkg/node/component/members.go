package component

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	etcdserverpb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// askMember asks one member about itself, at each of its client URLs until it is the one
// that answers. It also returns whom the member follows.
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
		if id := status.Header.GetMemberId(); id != m.ID {
			out.AnsweredBy = id
			last = strangerError(hostOf(u), fmt.Sprintf("%x", id))
			continue
		}
		out.AnsweredBy = 0
		fill(&out, status)
		return out, status.Leader
	}
	out.Error = last.Error()
	return out, 0
}

// strangerError says that another member answers where this one should.
func strangerError(address, other string) error {
	return fmt.Errorf("unknown: member %s answers at its address %s; --advertise-client-urls must be an address that leads to this member from every node",
		other, address)
}

// nameStrangers puts names for ids into what askMember says of another member's answers.
func nameStrangers(members []inventory.Member) {
	for i := range members {
		for _, other := range members {
			if members[i].AnsweredBy == other.ID && other.ID != 0 && other.Name != "" {
				members[i].Error = strings.Replace(members[i].Error, fmt.Sprintf("member %x answers", other.ID), fmt.Sprintf("member %q answers", other.Name), 1)
			}
		}
	}
}

// fill takes over what a member says of itself.
func fill(m *inventory.Member, status *clientv3.StatusResponse) {
	m.Learner = m.Learner || status.IsLearner
	m.LeaderID, m.RaftTerm = status.Leader, status.RaftTerm
	m.RaftIndex, m.RaftAppliedIndex = status.RaftIndex, status.RaftAppliedIndex
	m.DBSize, m.DBQuota = status.DbSize, status.DbSizeQuota
	if err := unhealthy(status); err != nil {
		m.Error = err.Error()
		return
	}
	m.Healthy = true
}

// unhealthy returns what a member's own words say against its health.
func unhealthy(status *clientv3.StatusResponse) error {
	switch {
	case len(status.Errors) > 0:
		return errors.New(strings.Join(status.Errors, "; "))
	case status.Leader == 0:
		return errors.New("it knows no leader")
	}
	return nil
}

// leaderOf is the leader that the members name; where they differ, the one of the newest
// term. 0: none.
func leaderOf(members []inventory.Member) uint64 {
	var leader, term uint64
	for _, m := range members {
		if m.LeaderID != 0 && (leader == 0 || m.RaftTerm > term) {
			leader, term = m.LeaderID, m.RaftTerm
		}
	}
	return leader
}

// memberHealth asks etcd for its health by its Status, for a client URL that speaks gRPC
// only, as with --listen-client-http-urls. ok is false where it could not be asked so.
func memberHealth(ctx context.Context, root hostfs.Root, node inventory.Node, healthURL string) (p inventory.Probe, ok bool) {
	u, err := url.Parse(healthURL)
	if err != nil {
		return inventory.Probe{}, false
	}
	p.Address = u.Scheme + "://" + u.Host
	configs, _ := etcdConfigs(root, node, []string{p.Address})
	for _, config := range configs {
		status, err := statusOf(ctx, p.Address, config)
		if err != nil {
			continue
		}
		if err := unhealthy(status); err != nil {
			p.Message = err.Error()
		} else {
			p.Healthy = true
		}
		return p, true
	}
	return inventory.Probe{}, false
}

func statusOf(ctx context.Context, endpoint string, config etcdConfig) (*clientv3.StatusResponse, error) {
	client, err := dialEtcd(ctx, []string{endpoint}, config.tls)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	asking, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	return client.Status(asking, endpoint)
}

func hostOf(clientURL string) string {
	if u, err := url.Parse(clientURL); err == nil && u.Host != "" {
		return u.Host
	}
	return clientURL
}

// defaultQuota is etcd's own, for a member that is not told otherwise.
const defaultQuota = 2 << 30

// ownQuota fills in the quota of this node's member from its configuration, where it did
// not tell itself: before 3.6, and with the default. Those of others are not known here.
func ownQuota(e *inventory.Etcd, node inventory.Node) {
	c := node.Component(certs.Etcd)
	if c == nil || c.DBQuotaBytes < 0 {
		return
	}
	for i := range e.Members {
		if m := &e.Members[i]; m.ID == e.LocalID && m.DBQuota == 0 {
			m.DBQuota = c.DBQuotaBytes
			if m.DBQuota == 0 {
				m.DBQuota = defaultQuota
			}
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
