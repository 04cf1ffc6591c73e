package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// OtherClusters is implemented by [Clusters] that know the summaries of clusters which they cannot
// open.
type OtherClusters interface {
	Others(ctx context.Context) (Others, error)
	// AskRotation asks for a rotation in another cluster, and returns the id of the request. The
	// watcher there decides, later.
	AskRotation(ctx context.Context, cluster string, services []certs.Service) (string, error)
}

// Others are the clusters that share summaries with this one.
type Others struct {
	Shared    bool            // summaries are shared
	Found     []OtherCluster  // sorted by name
	Asked     []AskedRotation // requests of users to them, newest first
	AskDenied string          // why the user may not ask for a rotation; empty: it is permitted
}

// OtherCluster is a cluster of which only a summary is known. The summary is not trusted.
type OtherCluster struct {
	Name    string
	Summary *v1alpha1.ClusterSummary // nil: Unreadable says why
	// Unreadable is why the summary cannot be read.
	Unreadable string
	Written    time.Time // by the clock of NATS
}

// othersView are the other clusters on the first page.
type othersView struct {
	Shared    bool
	Problem   string
	AskDenied string
	Rows      []otherRow
	Asked     []askedRow
}

// otherRow is another cluster.
type otherRow struct {
	OtherCluster
	Condition condition
	Stale     bool
	Earliest  time.Time
	Whose     certs.Service // with the certificate that expires first
	Order     string        // sorts as text
	Hidden    bool
	Now       time.Time
	// AskPath is the page on which a rotation is asked for; empty: it is not possible.
	AskPath string
}

// othersOf reads the summaries of other clusters, if there are any to read.
func (s *Server) othersOf(r *http.Request, filter overviewFilter) othersView {
	source, is := s.options.Clusters.(OtherClusters)
	if !is {
		return othersView{}
	}
	others, err := source.Others(r.Context())
	out := othersView{Shared: others.Shared, AskDenied: others.AskDenied}
	if err != nil {
		out.Problem = hint.TextOf(err)
	}
	now := s.options.Now()
	for _, asked := range others.Asked {
		out.Asked = append(out.Asked, askedRowOf(asked, now))
	}
	for i, one := range others.Found {
		row := otherRowOf(one, i, filter, now)
		if others.AskDenied == "" && one.canBeAsked(now) {
			row.AskPath = askPath(one.Name)
		}
		out.Rows = append(out.Rows, row)
	}
	slices.SortStableFunc(out.Rows, func(a, b otherRow) int { return cmp.Compare(a.Order, b.Order) })
	return out
}

// otherRowOf is the row of a cluster. The state in a stale summary may have changed, except that a
// certificate has expired.
func otherRowOf(one OtherCluster, index int, filter overviewFilter, now time.Time) otherRow {
	row := otherRow{OtherCluster: one, Condition: unknown, Now: now, Stale: now.Sub(one.Written) > v1alpha1.FreshFor(v1alpha1.SummaryHeartbeat)}
	if one.Summary != nil {
		for _, service := range certs.Services() {
			at, has := one.Summary.EarliestExpiry[service]
			if has && (row.Whose == "" || at.Before(row.Earliest)) {
				row.Earliest = at
				row.Whose = service
			}
		}
		if !row.Stale {
			row.Condition = conditionOfCluster(one.Summary.State)
		}
		if row.Whose != "" && !now.Before(row.Earliest) && rankOf(expired) < rankOf(row.Condition) {
			row.Condition = expired
		}
	}
	first := int64(0)
	switch filter.Sort {
	case "state":
		first = int64(rankOf(row.Condition))
	case "end":
		first = int64(1) << 40
		if row.Whose != "" {
			first = min(first, max(0, row.Earliest.Unix()))
		}
	}
	row.Order = fmt.Sprintf("%014d-%05d", first, index)
	row.Hidden = !strings.Contains(strings.ToLower(one.Name), strings.ToLower(strings.TrimSpace(filter.Text))) ||
		filter.Condition != "" && filter.Condition != string(row.Condition)
	return row
}

// conditionOfCluster is the condition that pages show for a state.
func conditionOfCluster(state v1alpha1.ClusterState) condition {
	switch state {
	case v1alpha1.ClusterManualInterventionRequired, v1alpha1.ClusterProblems:
		return attention
	case v1alpha1.ClusterExpired:
		return expired
	case v1alpha1.ClusterDue:
		return expiring
	case v1alpha1.ClusterOK:
		return healthy
	}
	return unknown
}
