package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// shownText is how much of a text of another cluster is shown.
const shownText = 253

// Sharing is the part of the bus by which clusters know each other.
type Sharing interface {
	ReadSummaries(ctx context.Context) ([]bus.StoredSummary, error)
	AskRotation(ctx context.Context, cluster string, asked event.RotationAsked) (string, error)
}

// OtherClusters are the clusters that share summaries with this one.
type OtherClusters struct {
	own    string // the name of this cluster
	token  string // of this cluster, which is left out
	shared Sharing
	now    clock

	mu      sync.Mutex
	found   []dashboard.OtherCluster
	failure error
	made    time.Time
	asked   []dashboard.AskedRotation // of users of this cluster, newest first
}

// NewOtherClusters are the clusters other than the named one.
func NewOtherClusters(own string, shared Sharing, now func() time.Time) *OtherClusters {
	return &OtherClusters{own: own, token: bus.NameToken(own), shared: shared, now: now}
}

// latest returns the clusters, read anew unless they are recent. All users share them.
func (o *OtherClusters) latest(ctx context.Context) ([]dashboard.OtherCluster, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if !o.made.IsZero() && now.Sub(o.made) < 10*time.Second {
		return o.found, o.failure
	}
	// Others wait for the result, too, also where this user has closed the page.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	stored, err := o.shared.ReadSummaries(ctx)
	o.found = nil
	for _, one := range stored {
		if one.Token != o.token {
			other := otherCluster(one)
			o.found = append(o.found, other)
			o.readAnswers(other)
		}
	}
	slices.SortStableFunc(o.found, func(a, b dashboard.OtherCluster) int { return strings.Compare(a.Name, b.Name) })
	o.failure = err
	o.made = now
	return o.found, o.failure
}

// otherCluster reads a summary. Another cluster has written it: it may be anything.
func otherCluster(stored bus.StoredSummary) dashboard.OtherCluster {
	out := dashboard.OtherCluster{Name: clipText(stored.Token), Written: stored.Written}
	summary := v1alpha1.ClusterSummary{}
	switch err := json.Unmarshal(stored.Value, &summary); {
	case len(stored.Value) == 0:
		out.Unreadable = fmt.Sprintf("its summary is empty or larger than %d bytes", bus.SummaryMaxSize)
	case err != nil:
		out.Unreadable = "its summary is malformed"
	case summary.APIVersion != v1alpha1.APIVersion || summary.Kind != v1alpha1.ClusterSummaryKind:
		out.Unreadable = "its summary is of another version than this watcher: " + clipText(summary.APIVersion)
	case bus.NameToken(summary.Cluster) != stored.Token:
		out.Unreadable = "its summary names another cluster"
	case !slices.Contains(v1alpha1.ClusterStates(), summary.State):
		out.Unreadable = "its summary has an unknown state: " + clipText(string(summary.State))
	default:
		out.Name = clipText(summary.Cluster)
		out.Summary = knownParts(summary)
	}
	return out
}

// knownParts is the part of a summary that pages show.
func knownParts(summary v1alpha1.ClusterSummary) *v1alpha1.ClusterSummary {
	expiry := map[certs.Service]time.Time{}
	for _, service := range certs.Services() {
		if at := summary.EarliestExpiry[service]; !at.IsZero() {
			expiry[service] = at
		}
	}
	summary.EarliestExpiry = expiry
	summary.WatcherVersion = clipText(summary.WatcherVersion)
	if summary.Rotation != nil {
		summary.Rotation = &v1alpha1.SummaryRotation{Name: clipText(summary.Rotation.Name), ID: clipText(summary.Rotation.ID)}
	}
	return &summary
}

func clipText(text string) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), shownText)])
}

// Others returns the other clusters to users with the permission to see the certificates of this one.
func (c *userCluster) Others(ctx context.Context) (dashboard.Others, error) {
	if c.OtherClusters == nil {
		return dashboard.Others{}, nil
	}
	out := dashboard.Others{Shared: true}
	has, err := c.reviewAccess(ctx, listReports, askRotation)
	if err != nil {
		return out, err
	}
	out.AskDenied = has.missingOf(askRotation)
	if missing := has.missingOf(listReports); missing != "" {
		return out, hint.AddTo(errors.New(missing), "an administrator can bind the ClusterRole %s to %s", viewRole, c.user.Name)
	}
	out.Found, err = c.OtherClusters.latest(ctx)
	out.Asked = c.OtherClusters.askedSince(c.Now().Add(-v1alpha1.AnswersKept))
	return out, err
}
