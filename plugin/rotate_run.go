package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// prepared is a rotation that is ready to start.
type prepared struct {
	nodes      []inventory.Node // all that were scanned
	plan       plan.Plan
	unfinished *plan.Unfinished
	id         string
}

// Run looks at the cluster, says what will happen, and does it.
func (o *rotateOptions) Run(ctx context.Context) error {
	c, err := o.dial(o.conn)
	if err != nil {
		return err
	}
	p, err := o.prepare(ctx, c)
	if err != nil {
		return err
	}
	document := rotationPlan(p.plan, p.nodes, o.request, p.unfinished, o.now())
	if o.force {
		document.Force, document.Effects = true, append([]string{forceMeans}, document.Effects...)
	}
	if dryRun(o.dryRun) != dryRunNone {
		return o.runDry(ctx, c, p, document)
	}
	if err := o.announce(p, document, c.who); err != nil {
		return err
	}
	if o.interactive && !o.confirmed() {
		return errDeclined
	}
	return o.rotate(ctx, c, p)
}

// prepare asks everything that a plan needs, and changes nothing.
func (o *rotateOptions) prepare(ctx context.Context, c *cluster) (prepared, error) {
	if err := c.api.Permitted(ctx, kube.UseRotate); err != nil {
		return prepared{}, err
	}
	all, err := c.api.Nodes(ctx)
	if err != nil {
		return prepared{}, err
	}
	chosen, err := selectNodes(all, o.request.Nodes, o.now())
	if err != nil {
		return prepared{}, err
	}
	if err := refuseAway(o.request.Nodes, chosen.excluded); err != nil {
		return prepared{}, err
	}
	names := chosen.withControlPlane(all, o.now())
	note(o.ErrOut, fmt.Sprintf("Looking at %s …", count(len(names), "node")))
	nodes, missing, err := c.Scanner.Scan(ctx, names)
	if err != nil {
		return prepared{}, err
	}
	if err := refuseAway(o.request.Nodes, missing); err != nil {
		return prepared{}, err
	}
	missing = append(chosen.excluded, missing...)
	if err := noneScanned(nodes, missing); err != nil {
		return prepared{}, err
	}
	if o.request.Validity == 0 {
		if o.request.Validity, err = c.api.DefaultValidity(ctx); err != nil {
			return prepared{}, err
		}
	}
	p := prepared{nodes: nodes, unfinished: plan.FindUnfinished(nodes, o.request.Scope(), o.now())}
	if p.plan, err = plan.Build(nodes, o.request, p.unfinished); err != nil {
		return prepared{}, o.explainNothing(err, nodes, missing)
	}
	p.plan.NotInspected = append(p.plan.NotInspected, missing...)
	if p.id = fleet.NewID(); p.unfinished != nil {
		p.id = p.unfinished.ID
	}
	return p, nil
}

// explainNothing says where the services are, when no node in scope has them.
func (o *rotateOptions) explainNothing(err error, nodes []inventory.Node, missing []plan.Exclusion) error {
	if !errors.Is(err, plan.ErrNothing) {
		return err
	}
	var hint []string
	for _, s := range o.request.Services {
		if on := runningOn(nodes, s); len(on) > 0 {
			hint = append(hint, fmt.Sprintf("%s runs on %s", s, some(on)))
		}
	}
	if len(missing) > 0 {
		out := make([]string, 0, len(missing))
		for _, x := range missing {
			out = append(out, x.Node)
		}
		hint = append(hint, "not inspected: "+some(out))
	}
	hint = append(hint, fmt.Sprintf("see what is where: %s check", o.connectionFlags.command()))
	return fmt.Errorf("%w\n%s", err, strings.Join(hint, "\n"))
}

func runningOn(nodes []inventory.Node, s certs.Service) []string {
	var out []string
	for i := range nodes {
		if nodes[i].Component(s) != nil {
			out = append(out, nodes[i].Name)
		}
	}
	return out
}

// runDry prints the plan, after the API server has judged it where that was asked for.
func (o *rotateOptions) runDry(ctx context.Context, c *cluster, p prepared, document v1alpha1.RotationPlan) error {
	judged := ""
	if dryRun(o.dryRun) == dryRunServer {
		busy := slices.DeleteFunc(p.plan.Steps(), plan.Step.Idle)
		if err := c.Nodes.DryRun(ctx, p.id, busy); err != nil {
			return err
		}
		judged = fmt.Sprintf(" The API server admits %s.", count(len(busy), "node pod"))
	}
	if o.format == formatTable || o.format == formatWide {
		fmt.Fprintln(o.Out, planTitle("(dry run)", o.request, p.unfinished))
	}
	if err := printPlan(o.Out, o.format, document); err != nil {
		return err
	}
	note(o.ErrOut, c.who.beingRenewed(p.plan), "Nothing was changed."+judged+" To do it, run the same without --dry-run.")
	return nil
}

// announce says what is about to happen, on standard error.
func (o *rotateOptions) announce(p prepared, document v1alpha1.RotationPlan, who *identity) error {
	note(o.ErrOut, planTitle(p.id, o.request, p.unfinished))
	if err := printPlan(o.ErrOut, formatTable, document); err != nil {
		return err
	}
	note(o.ErrOut, who.beingRenewed(p.plan))
	return nil
}

// confirmed asks the person.
func (o *rotateOptions) confirmed() bool {
	fmt.Fprint(o.ErrOut, "Go on? [y/N] ")
	answer, _ := bufio.NewReader(o.In).ReadString('\n') // no answer is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// rotate runs the engine and prints its report.
func (o *rotateOptions) rotate(ctx context.Context, c *cluster, p prepared) error {
	names := make([]string, 0, len(p.nodes))
	for _, s := range p.plan.Steps() {
		names = append(names, s.Node)
	}
	began := o.now()
	show := newProgress(o.ErrOut, o.now, o.terminal.width, names)
	o.showing(show)
	stopTicking := o.tick(show)
	report, err := fleet.Rotate(ctx, c.Cluster, fleet.Options{
		ID: p.id, Start: startOf(p.unfinished, began), Request: o.request, Plan: p.plan, Scanned: p.nodes,
		Unfinished: p.unfinished, Timeout: time.Duration(o.timeout), Progress: show.on, Now: o.now,
		Command: o.connectionFlags.command(), Force: o.force,
	})
	stopTicking()
	show.end()
	o.showing(nil)
	if err == nil {
		report.Notes = append(report.Notes, consumers(p.plan, p.nodes)...)
	}
	if old := stillValid(report, o.now()); old != "" {
		report.Notes = append(report.Notes, old)
	}
	var held *kube.HeldError
	if errors.As(err, &held) && (o.format == formatTable || o.format == formatWide) {
		return err // nothing began, so there is nothing to show
	}
	if printErr := printReport(o.Out, o.format, report); printErr != nil && err == nil {
		return printErr
	}
	if err == nil {
		note(o.ErrOut, fmt.Sprintf("%s. Next: %s check", outcome(report, o.now().Sub(began), o.request.Restart), o.connectionFlags.command()))
	}
	return err
}

// outcome sums a rotation up that went well.
func outcome(report *v1alpha1.RotationReport, elapsed time.Duration, policy plan.RestartPolicy) string {
	renewed := 0
	var running []certs.Service // with what they had loaded before
	for _, item := range report.Items {
		if item.Result != v1alpha1.Succeeded {
			continue
		}
		for _, c := range item.Certificates {
			if c.New != nil {
				renewed++
			}
		}
		if !item.Restarted && item.Service != certs.Admin && len(item.Certificates) > 0 {
			running = append(running, item.Service)
		}
	}
	if renewed == 0 {
		return "Nothing was left to renew, and nothing was changed"
	}
	if policy == plan.RestartNever && len(running) > 0 {
		return fmt.Sprintf("Done in %s: %s renewed on disk, nothing restarted. Until they are, these may use what they had loaded: %s",
			took(elapsed), count(renewed, "certificate"), joinServices(certs.SortServices(running), ", "))
	}
	return fmt.Sprintf("Done in %s: %s renewed and proven", took(elapsed), count(renewed, "certificate"))
}

func startOf(unfinished *plan.Unfinished, now time.Time) time.Time {
	if unfinished != nil {
		return unfinished.StartTime
	}
	return now
}

// tick keeps the elapsed times on a terminal current, until the returned function is
// called.
func (o *rotateOptions) tick(show *progress) func() {
	if o.terminal.width == nil {
		return func() {}
	}
	ticker, stop, stopped := time.NewTicker(500*time.Millisecond), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ticker.C:
				show.redraw()
			case <-stop:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(stop)
		<-stopped
	}
}
