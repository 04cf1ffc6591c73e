package pages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// The roles that an administrator can bind to users.
const (
	viewRole      = "rotate-certs:view"
	askRole       = "rotate-certs:ask"
	startRole     = "rotate-certs:start"
	responderRole = "rotate-certs:incident-responder"
)

// Plan plans a rotation by the agents' reports.
func (c *userCluster) Plan(ctx context.Context, choice dashboard.Choice) (dashboard.Plan, error) {
	if c.NotifyOnly {
		return dashboard.Plan{}, errors.New(notifyOnly)
	}
	if err := c.requireAccess(ctx, startRole, listReports, createRotation, getRotation); err != nil {
		return dashboard.Plan{}, err
	}
	has, err := c.reviewAccess(ctx, listNodes)
	if err != nil {
		return dashboard.Plan{}, err
	}
	list, err := c.readReports(ctx)
	if err != nil {
		return dashboard.Plan{}, err
	}
	request := requestOf(choice)
	scope, err := scopeOf(request, list, has[listNodes], c.Now)
	if err != nil {
		return dashboard.Plan{}, err
	}
	document, err := scope.PlanRotation(list.reports, c.Now(), planCommand)
	if err != nil {
		return dashboard.Plan{}, err
	}
	out := dashboard.Plan{Document: document, Command: commandOf(request), ByWatcher: true,
		Notes: []string{watched.PlansAgain}, Run: c.runOnce(request, document)}
	if request.Compromised {
		out.Notes = append(out.Notes, watched.CompromisedMeans)
	}
	return out, nil
}

// planCommand plans by a scan.
const planCommand = "kubectl rotate-certs plan"

func requestOf(choice dashboard.Choice) plan.Request {
	out := plan.Request{Services: choice.Services, Nodes: choice.Nodes, Restart: choice.Restart, Compromised: choice.Compromised}
	if len(out.Services) == 0 {
		out.Services = certs.Services()
	}
	if out.Restart == "" {
		out.Restart = plan.RestartAlways
	}
	return out
}

// scopeOf are the nodes of a request. A user without the permission to list nodes is shown nothing of them but
// their reports.
func scopeOf(request plan.Request, list *readList, mayListNodes bool, now clock) (reported.Scope, error) {
	out := reported.Scope{Request: request, Nodes: list.nodes}
	if mayListNodes {
		chosen, err := kubenode.Select(list.nodes, request.Nodes)
		if err != nil {
			return out, err
		}
		out.Names, out.Excluded = kubenode.Partition(chosen, now())
		return out, nil
	}
	for i := range list.reports {
		if name := list.reports[i].Name; len(request.Nodes) == 0 || slices.Contains(request.Nodes, name) {
			out.Names = append(out.Names, name)
		}
	}
	for _, name := range request.Nodes {
		if !slices.Contains(out.Names, name) {
			return out, hint.AddTo(fmt.Errorf("no agent reports of a node %q", name), "kubectl get nodecertificatereports")
		}
	}
	return out, nil
}

// commandOf is the command line that does the same.
func commandOf(request plan.Request) string {
	out := "kubectl rotate-certs"
	if len(request.Services) == len(certs.Services()) {
		out += " --all"
	} else {
		out += " --service " + printers.JoinServices(request.Services, ",")
	}
	if len(request.Nodes) > 0 {
		out += " --node " + strings.Join(request.Nodes, ",")
	}
	if request.Restart != plan.RestartAlways {
		out += " --restart " + string(request.Restart)
	}
	if request.Compromised {
		out += " --compromised"
	}
	return out
}

// specOf is the specification of a request's CertificateRotation.
func specOf(request plan.Request) v1alpha1.CertificateRotationSpec {
	return v1alpha1.CertificateRotationSpec{
		Services: request.Services, Nodes: request.Nodes, Restart: request.Restart.APIName(), Compromised: request.Compromised,
	}
}
