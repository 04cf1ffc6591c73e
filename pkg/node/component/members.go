package component

import (
	"cmp"
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

// askMember reads the status of one member, at each of its client URLs until the member itself
// answers. It also returns the ID of the member's leader.
func askMember(ctx context.Context, client *clientv3.Client, m *etcdserverpb.Member) (inventory.Member, uint64) {
	out := inventory.Member{ID: m.ID, Name: m.Name, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	if len(m.ClientURLs) == 0 {
		out.Error = "it was never started"
		return out, 0
	}
	var last error
	for _, u := range m.ClientURLs {
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		status, err := client.Status(asking, u)
		cancel()
		if err != nil {
			last = fmt.Errorf("ask %s: %w", hostOf(u), err)
			continue
		}
		if id := status.Header.GetMemberId(); id != m.ID {
			out.AnsweredBy = id
			last = otherMemberError(hostOf(u), fmt.Sprintf("%x", id))
			continue
		}
		out.AnsweredBy = 0
		addStatus(&out, status)
		return out, status.Leader
	}
	out.Error = last.Error()
	return out, 0
}

// otherMemberError means that another member answers at the address of this one.
func otherMemberError(address, other string) error {
	return fmt.Errorf("unknown: member %s answers at its address %s; --advertise-client-urls must be an address that leads to this member from every node",
		other, address)
}

// nameOtherMembers replaces IDs by names in the errors of [otherMemberError].
func nameOtherMembers(members []inventory.Member) {
	for i := range members {
		for _, other := range members {
			if members[i].AnsweredBy == other.ID && other.ID != 0 && other.Name != "" {
				members[i].Error = strings.Replace(members[i].Error, fmt.Sprintf("member %x answers", other.ID), fmt.Sprintf("member %q answers", other.Name), 1)
			}
		}
	}
}

// addStatus copies the status that a member reports.
func addStatus(m *inventory.Member, status *clientv3.StatusResponse) {
	m.Learner = m.Learner || status.IsLearner
	m.LeaderID = status.Leader
	m.RaftTerm = status.RaftTerm
	m.RaftIndex = status.RaftIndex
	m.RaftAppliedIndex = status.RaftAppliedIndex
	m.DBSize = status.DbSize
	m.DBQuota = status.DbSizeQuota
	if err := statusError(status); err != nil {
		m.Error = err.Error()
		return
	}
	m.Healthy = true
}

// statusError returns an error if a member reports that it is unhealthy.
func statusError(status *clientv3.StatusResponse) error {
	switch {
	case len(status.Errors) > 0:
		return errors.New(strings.Join(status.Errors, "; "))
	case status.Leader == 0:
		return errors.New("it knows no leader")
	}
	return nil
}

// leaderOf returns the leader that the members report; if they differ, that of the newest term.
// 0: none.
func leaderOf(members []inventory.Member) uint64 {
	var leader, term uint64
	for _, m := range members {
		if m.LeaderID != 0 && (leader == 0 || m.RaftTerm > term) {
			leader = m.LeaderID
			term = m.RaftTerm
		}
	}
	return leader
}

// memberHealth reads the health of etcd from its Status, for a client URL that speaks only
// gRPC, as with --listen-client-http-urls. ok is false if there was no answer.
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
		if err := statusError(status); err != nil {
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
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return client.Status(asking, endpoint)
}

func hostOf(clientURL string) string {
	if u, err := url.Parse(clientURL); err == nil && u.Host != "" {
		return u.Host
	}
	return clientURL
}

// defaultQuota is etcd's default.
const defaultQuota = 2 << 30

// addOwnQuota adds the quota of this node's member from its configuration, if the member does
// not report it: before 3.6, and with the default. The quotas of other members are not known
// here.
func addOwnQuota(e *inventory.Etcd, node inventory.Node) {
	c := node.ComponentOf(certs.Etcd)
	if c == nil || c.DBQuotaBytes < 0 {
		return
	}
	for i := range e.Members {
		if m := &e.Members[i]; m.ID == e.LocalID && m.DBQuota == 0 {
			m.DBQuota = cmp.Or(c.DBQuotaBytes, defaultQuota)
		}
	}
}

// etcdAlarms returns the alarms, with the members that raised them.
func etcdAlarms(ctx context.Context, client *clientv3.Client, members []inventory.Member) []string {
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
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
