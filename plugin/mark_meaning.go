package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// reported is a certificate, and on which node it was seen.
type reported struct {
	node string
	v1alpha1.ReportedCertificate
}

// meant looks up in the agents' reports what a mark means. A mark that means nothing is
// refused: somebody would believe that these keys are being replaced.
func (o *markOptions) meant(ctx context.Context, api *objects) ([]reported, error) {
	reports, err := o.reports(ctx, api)
	if err != nil {
		return nil, err
	}
	if len(reports) == 0 {
		return nil, o.unreported(ctx, api)
	}
	var all, chosen []reported
	for _, r := range reports {
		for _, c := range r.Certificates {
			all = append(all, reported{r.Name, c})
			if c.Service == o.spec.Service && (o.spec.Fingerprint == "" || c.FingerprintSHA256 == o.spec.Fingerprint) {
				chosen = append(chosen, reported{r.Name, c})
			}
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	return nil, o.nothingMeant(all)
}

// reports are those of the nodes that were named, or all.
func (o *markOptions) reports(ctx context.Context, api *objects) ([]v1alpha1.NodeCertificateReport, error) {
	var out []v1alpha1.NodeCertificateReport
	if len(o.spec.Nodes) == 0 {
		err := eachOf(ctx, api, reportsResource, func(r *v1alpha1.NodeCertificateReport) { out = append(out, *r) })
		return out, err
	}
	for _, name := range o.spec.Nodes {
		u, err := api.resource(reportsResource, "").Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) && !noSuchKind(err) {
			return nil, o.unknownNode(ctx, api, name)
		}
		if err != nil {
			return nil, fmt.Errorf("read the report of %q: %w", name, err)
		}
		r := v1alpha1.NodeCertificateReport{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &r); err != nil {
			return nil, fmt.Errorf("read the report of %q: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (o *markOptions) unknownNode(ctx context.Context, api *objects, name string) error {
	nodes, err := kube.ListNodes(ctx, api.client)
	if err == nil {
		if _, err := kubenode.Select(nodes, []string{name}); err != nil {
			return err
		}
	}
	return fmt.Errorf("no agent has reported the certificates of %q, so a mark for it would mean nothing\nis it ready? see: %s status\nby hand: %s",
		name, o.connectionFlags.command(), o.byHand())
}

func (o *markOptions) unreported(_ context.Context, _ *objects) error {
	return fmt.Errorf("no agent has reported certificates yet, so the mark would mean nothing\nsee: %s status\nby hand: %s",
		o.connectionFlags.command(), o.byHand())
}

// nothingMeant says what is there instead.
func (o *markOptions) nothingMeant(all []reported) error {
	if o.spec.Fingerprint != "" {
		for _, c := range all {
			if c.FingerprintSHA256 == o.spec.Fingerprint {
				return fmt.Errorf("the certificate with this fingerprint is of %s: %s on %s\nmark that: --service %s", c.Service, c.Name, c.node, c.Service)
			}
		}
		return fmt.Errorf("no node has a %s certificate with the fingerprint %s: it was replaced already, or is of another cluster\n"+
			"see the fingerprints: %s check --service %s -o wide", o.spec.Service, o.spec.Fingerprint, o.connectionFlags.command(), o.spec.Service)
	}
	var on []string
	for _, c := range all {
		if c.Service == o.spec.Service && !slices.Contains(on, c.node) {
			on = append(on, c.node)
		}
	}
	where := "on any node"
	if len(o.spec.Nodes) > 0 {
		where = "on " + some(o.spec.Nodes)
	}
	text := fmt.Sprintf("%s has no certificate %s", o.spec.Service, where)
	if o.spec.Service == certs.KubeProxy {
		text += ": it authenticates with a ServiceAccount token\nto replace a token that leaked: kubectl -n kube-system delete the pod that holds it"
	}
	if len(on) > 0 {
		text += "\nit has some on " + some(on)
	}
	return fmt.Errorf("%s\nsee what is where: %s check", text, o.connectionFlags.command())
}

// following says what will happen now, and what danger stays.
func (o *markOptions) following(meant []reported, found *installation) string {
	var nodes []string
	var old []renewal.Compromised
	for _, c := range meant {
		if !slices.Contains(nodes, c.node) {
			nodes = append(nodes, c.node)
		}
		old = append(old, renewal.Compromised{Node: c.node, Certificate: renewal.Certificate{
			Service: c.Service, Name: c.Name, User: c.User, Subject: c.Subject, Issuer: c.Issuer,
			NotAfter: c.NotAfter.Time, SelfManaged: c.SelfManaged,
		}})
	}
	what := fmt.Sprintf("%s of %s on %s", count(len(meant), "certificate"), o.spec.Service, some(nodes))
	var lines []string
	switch {
	case dryRun(o.dryRun) != dryRunNone:
		lines = append(lines, fmt.Sprintf("It would mean %s. Nothing was changed.", what))
	case found == nil || found.watcher == nil:
		lines = append(lines, fmt.Sprintf("It means %s, but no watcher is installed in this cluster. Unless one runs beside it, replace the keys by hand: %s", what, o.byHand()))
	case found.notifyOnly():
		lines = append(lines, fmt.Sprintf("It means %s. The watcher may only notify, so replace the keys by hand: %s", what, o.byHand()))
	case found.watcher.Status.ReadyReplicas == 0:
		lines = append(lines, fmt.Sprintf("It means %s. The watcher is not ready; it acts when it is. By hand: %s", what, o.byHand()))
	default:
		lines = append(lines, fmt.Sprintf("%s will be replaced at once, with new keys signed by the CA.", what))
	}
	if residual := renewal.Residual(old); len(residual) > 0 {
		lines = append(lines, "Kubernetes cannot revoke the old ones:")
		for _, text := range residual {
			lines = append(lines, "  "+text)
		}
	}
	if dryRun(o.dryRun) == dryRunNone {
		lines = append(lines, "Follow it: kubectl get compromisedcertificates; "+o.again("events")+" --follow")
	}
	return cleanLines(strings.Join(lines, "\n"))
}
