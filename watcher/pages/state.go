package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	apiversion "k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// State returns the objects in memory that the user may list. A part that the user may not see is
// named in NotRead with the missing permission.
func (c *userCluster) State(ctx context.Context) (dashboard.State, error) {
	has, err := c.reviewAccess(ctx, listReports, listRotations, listMarks, listPolicies, listNodes, getLock, createRotation, getRotation, createMark)
	if err != nil {
		return dashboard.State{}, err
	}
	r := &stateReader{userCluster: c, has: has}
	r.state.Denied = c.deniedRights(has)
	r.state.Watcher = &v1alpha1.WatcherStatus{Namespace: c.Namespace,
		Watcher: &v1alpha1.WatcherHealth{ReadyCount: v1alpha1.ReadyCount{Ready: 1, Wanted: 1}, NotifyOnly: c.NotifyOnly, Version: c.Version}}
	for _, part := range []struct {
		name string
		need kube.Access
		read func(context.Context) error
	}{
		{"certificates", listReports, r.addReports},
		{"nodes", listNodes, r.addNodes},
		{"CertificateRotations", listRotations, r.addRotations},
		{"CompromisedCertificates", listMarks, r.addMarks},
		{"the RotationPolicy", listPolicies, r.addPolicy},
		{"the rotation in progress", getLock, r.addHolder},
	} {
		if !has[part.need] {
			r.state.NotRead = append(r.state.NotRead, fmt.Sprintf("%s: missing permission: %s", part.name, part.need))
			continue
		}
		if err := part.read(ctx); err != nil {
			r.state.NotRead = append(r.state.NotRead, part.name+": "+hint.TextOf(err))
		}
	}
	r.addVersion(ctx)
	return r.state, nil
}

// deniedRights says why the user may not do something.
func (c *userCluster) deniedRights(has granted) map[dashboard.Right]string {
	out := map[dashboard.Right]string{dashboard.RightScan: hint.TextOf(errNoPods), dashboard.RightDeleteMark: hint.TextOf(errDeletesNothing)}
	if missing := has.missingOf(createRotation, getRotation, listReports); missing != "" {
		out[dashboard.RightRotate] = missing
	}
	if c.NotifyOnly {
		out[dashboard.RightRotate] = notifyOnly
	}
	if missing := has.missingOf(createMark); missing != "" {
		out[dashboard.RightMark] = missing
	}
	return out
}

const notifyOnly = "the watcher was installed with --notify-only and carries no rotation out"

// stateReader reads the parts of a state.
type stateReader struct {
	*userCluster
	has   granted
	state dashboard.State
}

func (r *stateReader) addReports(ctx context.Context) error {
	list, err := r.readReports(ctx)
	if err != nil {
		return err
	}
	r.state.Certificates = list.certificates
	r.state.Observed = list.observed
	for i := range list.reports {
		report := &list.reports[i]
		due := meta.FindStatusCondition(report.Status.Conditions, v1alpha1.ConditionCertificatesDue)
		if due != nil && due.Message != "" {
			r.state.Watcher.Due = append(r.state.Watcher.Due, v1alpha1.DueOnNode{Node: report.Name, Reason: due.Reason, Message: due.Message})
		}
	}
	return nil
}

// addNodes adds the number of nodes, and those without a recent report.
func (r *stateReader) addNodes(ctx context.Context) error {
	list, err := r.readReports(ctx)
	if err != nil {
		return err
	}
	r.state.Nodes = len(list.nodes)
	if !r.has[listReports] {
		return nil
	}
	seen := map[string]time.Time{}
	for i := range list.reports {
		seen[list.reports[i].Name] = reported.ObservedAt(list.reports[i])
	}
	for _, n := range list.nodes {
		at, has := seen[n.Name]
		reason := "last reported at " + printers.UTCMinute(at)
		if !has {
			reason = "never reported"
		}
		if !n.Foreign() && r.Now().Sub(at) > v1alpha1.FreshFor(v1alpha1.ReportHeartbeat) {
			r.state.Watcher.WithoutReport = append(r.state.Watcher.WithoutReport, v1alpha1.NodeWithoutReport{Node: n.Name, Reason: reason})
		}
	}
	return nil
}

func (r *stateReader) addRotations(ctx context.Context) error {
	var list v1alpha1.CertificateRotationList
	if err := r.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	r.state.Rotations = slices.Clone(list.Items)
	slices.SortStableFunc(r.state.Rotations, func(a, b v1alpha1.CertificateRotation) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	for i := range list.Items {
		if list.Items[i].State() != v1alpha1.StateSucceeded {
			r.state.Watcher.Rotations = append(r.state.Watcher.Rotations, reported.OpenRotation(&list.Items[i]))
		}
	}
	return nil
}

func (r *stateReader) addMarks(ctx context.Context) error {
	var list v1alpha1.CompromisedCertificateList
	if err := r.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	r.state.Marks = slices.Clone(list.Items)
	return nil
}

func (r *stateReader) addPolicy(ctx context.Context) error {
	var list v1alpha1.RotationPolicyList
	if err := r.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	at := slices.IndexFunc(list.Items, func(p v1alpha1.RotationPolicy) bool { return p.Name == v1alpha1.RotationPolicyName })
	if at < 0 {
		r.state.Watcher.Policy = reported.PolicyInForce(nil)
		return nil
	}
	r.state.Watcher.Policy = reported.PolicyInForce(&list.Items[at])
	return nil
}

// addHolder adds the holder of the cluster's lock.
func (r *stateReader) addHolder(ctx context.Context) error {
	held, err := kube.Holder(ctx, r.Client)
	if held != nil && r.Now().Before(held.Until) {
		r.state.Holder = &v1alpha1.RunningRotation{Holder: held.Holder, Since: held.Since.UTC(), RunsOut: held.Until.UTC()}
	}
	return err
}

// addVersion adds the version of the API server, which every user may read.
func (r *stateReader) addVersion(ctx context.Context) {
	var info apiversion.Info
	raw, err := r.Client.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	if err != nil {
		r.state.NotRead = append(r.state.NotRead, "the version of the API server: "+hint.TextOf(err))
	}
	r.state.Version = info.GitVersion
}
