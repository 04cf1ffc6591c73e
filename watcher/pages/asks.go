package pages

import (
	"context"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// asksKept is how many requests to other clusters are shown, for [v1alpha1.AnswersKept].
const asksKept = 20

// AskRotation asks another cluster for a rotation, in the name of a user with the permission at
// this moment.
func (c *userCluster) AskRotation(ctx context.Context, cluster string, services []certs.Service) (string, error) {
	if err := c.requireAccess(ctx, askRole, askRotation); err != nil {
		return "", err
	}
	id, err := c.OtherClusters.shared.AskRotation(ctx, cluster, event.RotationAsked{Services: services, User: c.user.Name})
	if err == nil {
		c.Log.Info("asked another cluster for a rotation", "cluster", cluster, "services", services, "request", id, "user", c.user.Name)
		c.OtherClusters.addAsked(dashboard.AskedRotation{ID: id, Cluster: cluster, Services: services, User: c.user.Name, At: c.Now()})
	}
	return id, err
}

// addAsked remembers a request, for as long as this watcher runs.
func (o *OtherClusters) addAsked(asked dashboard.AskedRotation) {
	asked.Name = event.AskedName(o.own, asked.ID)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = slices.Insert(o.asked, 0, asked)
	o.asked = o.asked[:min(len(o.asked), asksKept)]
}

// askedSince returns the requests after a time, newest first.
func (o *OtherClusters) askedSince(after time.Time) []dashboard.AskedRotation {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = slices.DeleteFunc(o.asked, func(one dashboard.AskedRotation) bool { return !one.At.After(after) })
	return slices.Clone(o.asked)
}

// readAnswers takes the answers of a cluster to the requests of this one from its summary. An answer
// that was read stays where a later summary does not have it anymore.
func (o *OtherClusters) readAnswers(from dashboard.OtherCluster) {
	if from.Summary == nil {
		return
	}
	for i := range o.asked {
		asked := &o.asked[i]
		found := slices.IndexFunc(from.Summary.Answers, func(a v1alpha1.SummaryAnswer) bool { return a.Request == asked.Name })
		if found < 0 || asked.Cluster != from.Name {
			continue
		}
		answer := from.Summary.Answers[found]
		answer.Refused = printers.ShortText(answer.Refused, shownText)
		asked.Answer = &answer
		asked.AsOf = from.Written
	}
}
