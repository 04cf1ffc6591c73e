package plugin

import (
	"context"
	"errors"
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
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// matchReported returns the reported certificates that are marked as compromised. Without a
// match nothing is created, since the keys would be believed to be replaced.
func (o *markCompromisedOptions) matchReported(ctx context.Context, api *objects) ([]renewal.Compromised, error) {
	reports, err := o.listReports(ctx, api)
	if err != nil {
		return nil, err
	}
	if len(reports) == 0 {
		return nil, o.explainNoReports()
	}
	var all, chosen []renewal.Compromised
	for _, r := range reports {
		for _, c := range r.Certificates {
			one := renewal.Compromised{Node: r.Name, Certificate: renewal.CertificateOf(reported.CertificateOf(c))}
			all = append(all, one)
			if c.Service == o.spec.Service && (o.spec.Fingerprint == "" || c.FingerprintSHA256 == o.spec.Fingerprint) {
				chosen = append(chosen, one)
			}
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	return nil, o.explainNoMatch(all)
}

// listReports returns the reports of the nodes given, or all.
func (o *markCompromisedOptions) listReports(ctx context.Context, api *objects) ([]v1alpha1.NodeCertificateReport, error) {
	var out []v1alpha1.NodeCertificateReport
	if len(o.spec.Nodes) == 0 {
		err := eachOf(ctx, api, reportsResource, func(r *v1alpha1.NodeCertificateReport) { out = append(out, *r) })
		return out, err
	}
	for _, name := range o.spec.Nodes {
		u, err := api.resourceOf(reportsResource, "").Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) && !noSuchKind(err) {
			return nil, o.explainUnreportedNode(ctx, api, name)
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

func (o *markCompromisedOptions) explainUnreportedNode(ctx context.Context, api *objects, name string) error {
	nodes, err := kube.ListNodes(ctx, api.client)
	if err == nil {
		if _, err := kubenode.Select(nodes, []string{name}); err != nil {
			return err
		}
	}
	return hint.AddTo(fmt.Errorf("mark as compromised: no agent has reported the certificates of node %q", name),
		"see %s status, or replace the keys without the watcher: %s", o.connectionFlags.commandLine(), o.rotateCommand())
}

func (o *markCompromisedOptions) explainNoReports() error {
	return hint.AddTo(errors.New("mark as compromised: no agent has reported certificates yet"),
		"see %s status, or replace the keys without the watcher: %s", o.connectionFlags.commandLine(), o.rotateCommand())
}

// explainNoMatch names the certificates that are there instead.
func (o *markCompromisedOptions) explainNoMatch(all []renewal.Compromised) error {
	if o.spec.Fingerprint != "" {
		for _, c := range all {
			if c.Fingerprint == o.spec.Fingerprint {
				return hint.AddTo(fmt.Errorf("the certificate with this fingerprint belongs to %s: %s on %s", c.Service, c.Name, c.Node), "--service %s", c.Service)
			}
		}
		return hint.AddTo(fmt.Errorf("no node has a %s certificate with the fingerprint %s: it was replaced already, or belongs to another cluster", o.spec.Service, o.spec.Fingerprint),
			"%s check --service %s -o wide lists the fingerprints", o.connectionFlags.commandLine(), o.spec.Service)
	}
	var on []string
	for _, c := range all {
		if c.Service == o.spec.Service && !slices.Contains(on, c.Node) {
			on = append(on, c.Node)
		}
	}
	where := "on any node"
	if len(o.spec.Nodes) > 0 {
		where = "on " + printers.SomeNames(o.spec.Nodes)
	}
	text := fmt.Sprintf("%s has no certificate %s", o.spec.Service, where)
	if o.spec.Service == certs.KubeProxy {
		text += ": it authenticates with a ServiceAccount token, and a leaked one is replaced by deleting the pod that uses it"
	}
	if len(on) > 0 {
		text += "; it has some on " + printers.SomeNames(on)
	}
	return hint.AddTo(fmt.Errorf("%s", text), "%s check lists all certificates", o.connectionFlags.commandLine())
}

// explainEffect says that the keys are replaced, and lists the access that the old ones still
// give.
func (o *markCompromisedOptions) explainEffect(matched []renewal.Compromised, found *installation) string {
	var nodes []string
	for _, c := range matched {
		if !slices.Contains(nodes, c.Node) {
			nodes = append(nodes, c.Node)
		}
	}
	what := fmt.Sprintf("%s of %s on %s", printers.CountOf(len(matched), "certificate"), o.spec.Service, printers.SomeNames(nodes))
	var lines []string
	switch {
	case dryRun(o.dryRun) != dryRunNone:
		lines = append(lines, fmt.Sprintf("It matches %s. Nothing was changed.", what))
	case found == nil || found.watcher == nil:
		lines = append(lines, fmt.Sprintf("It matches %s, but no watcher is installed in this cluster. Unless one runs outside, replace the keys without it: %s", what, o.rotateCommand()))
	case found.notifyOnly():
		lines = append(lines, fmt.Sprintf("It matches %s. The watcher is notify-only and starts no rotation; replace the keys without it: %s", what, o.rotateCommand()))
	case found.watcher.Status.ReadyReplicas == 0:
		lines = append(lines, fmt.Sprintf("It matches %s. The watcher replaces the keys once it is ready. Without it: %s", what, o.rotateCommand()))
	default:
		lines = append(lines, fmt.Sprintf("%s will be replaced at once, with new keys signed by the CA.", what))
	}
	if residual := renewal.ResidualAccess(matched); len(residual) > 0 {
		lines = append(lines, "Kubernetes cannot revoke the old certificates:")
		for _, text := range residual {
			lines = append(lines, "  "+text)
		}
	}
	if dryRun(o.dryRun) == dryRunNone {
		lines = append(lines, "To follow: kubectl get compromisedcertificates; "+o.sameCommand("events")+" --follow")
	}
	return printers.CleanLines(strings.Join(lines, "\n"))
}
