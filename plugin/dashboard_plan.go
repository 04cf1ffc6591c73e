package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// Plan plans a rotation, as the command plan does.
func (d *contextCluster) Plan(ctx context.Context, c dashboard.Choice) (dashboard.Plan, error) {
	made, err := d.makePlan(ctx, c)
	return made, explainError(err, d.flags)
}

func (d *contextCluster) makePlan(ctx context.Context, choice dashboard.Choice) (dashboard.Plan, error) {
	o, err := d.rotationOptions(choice)
	if err != nil {
		return dashboard.Plan{}, err
	}
	c, err := d.app.dial(d.conn)
	if err != nil {
		return dashboard.Plan{}, err
	}
	out := dashboard.Plan{Command: o.sameCommand()}
	installed, unknown := d.app.survey(ctx, d.conn)
	if watcherRotates(installed) {
		return d.planForWatcher(ctx, o, c, out)
	}
	prepared, document, err := o.planRotation(ctx, c)
	if err != nil {
		return dashboard.Plan{}, err
	}
	out.Document = document
	out.Notes = nonEmpty(d.withoutWatcher(installed, unknown), o.unfinishedOther(prepared), c.who.beingRenewed(prepared.Plan))
	out.Run = d.runHere(o, c, prepared, out.Command)
	return out, nil
}

// planForWatcher scans where the operator may create pods, and reads the agents' reports
// otherwise.
func (d *contextCluster) planForWatcher(ctx context.Context, o *rotateOptions, c *cluster, out dashboard.Plan) (dashboard.Plan, error) {
	scanning := *c
	scanning.api = scanningAPI{c.api}
	prepared, document, err := o.planRotation(ctx, &scanning)
	var missing *kube.MissingPermissionsError
	switch {
	case err == nil:
		out.Notes = nonEmpty(o.unfinishedOther(prepared), c.who.beingRenewed(prepared.Plan), watched.PlansAgain)
	case errors.As(err, &missing):
		if document, err = o.planFromReports(ctx, c); err != nil {
			return dashboard.Plan{}, err
		}
		out.Notes = []string{"You may not create pods, so the plan is made of the agents' reports.", watched.PlansAgain}
		if o.compromised {
			out.Notes = append(out.Notes, watched.CompromisedMeans)
		}
	default:
		return dashboard.Plan{}, err
	}
	out.Document = document
	out.ByWatcher = true
	out.Run = d.runByWatcher(o, c, document)
	return out, nil
}

// scanningAPI asks only for the permissions of a scan: the watcher has those of a rotation.
type scanningAPI struct{ api }

func (s scanningAPI) MayRotate(ctx context.Context) error { return s.Permitted(ctx, kube.UseCheck) }

// withoutWatcher says why an installed watcher does not carry the rotation out.
func (d *contextCluster) withoutWatcher(installed *v1alpha1.WatcherStatus, unknown error) string {
	switch {
	case unknown != nil:
		return fmt.Sprintf("Whether the watcher is installed is unknown (%s), so this process carries the rotation out; the lock keeps both from working at once.", whyUnknown(unknown))
	case installed == nil || installed.Watcher == nil:
		return ""
	case installed.Watcher.NotifyOnly:
		return "The watcher is notify-only, so this process carries the rotation out."
	}
	return "The watcher is not ready, so this process carries the rotation out. The lock keeps the watcher from starting another one meanwhile."
}

// nonEmpty are the texts that are not empty.
func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// rotationOptions are the options of a rotation as its command has them.
func (d *contextCluster) rotationOptions(choice dashboard.Choice) (*rotateOptions, error) {
	o := &rotateOptions{
		app: d.app, connectionFlags: d.flags, conn: d.conn, format: printers.JSON, planOnly: true, onlyPlanned: true,
		nodeFlags: nodeFlags{nodes: trimmedList(choice.Nodes)}, dryRun: string(dryRunNone),
		all: len(choice.Services) == 0, restart: string(plan.RestartAlways), unavailable: plan.DefaultMaxUnavailable,
		timeout: durationFlag(time.Minute), compromised: choice.Compromised,
	}
	for _, s := range choice.Services {
		o.services = append(o.services, string(s))
	}
	if choice.Restart != "" {
		o.restart = string(choice.Restart)
	}
	if err := o.completeRequest(); err != nil {
		return nil, err
	}
	return o, o.Validate()
}

// sameCommand is the command line of the rotation.
func (o *rotateOptions) sameCommand() string {
	out := o.connectionFlags.commandLine()
	add := func(flag, value string) { out += " --" + flag + " " + printers.ShellWord(value) }
	if o.image != "" && o.image != version.NodeImage() {
		add("image", o.image)
	}
	if o.pullSecret != "" {
		add("image-pull-secret", o.pullSecret)
	}
	if o.all {
		out += " --all"
	} else {
		add("service", printers.JoinServices(o.request.Services, ","))
	}
	if len(o.nodes) > 0 {
		add("node", strings.Join(o.nodes, ","))
	}
	if o.request.Restart != plan.RestartAlways {
		add("restart", string(o.request.Restart))
	}
	if o.compromised {
		out += " --compromised"
	}
	return out
}
