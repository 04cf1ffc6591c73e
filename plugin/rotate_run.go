package plugin

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"syscall"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Run looks at the cluster, says what will happen, and does it.
func (o *rotateOptions) Run(ctx context.Context) error {
	c, err := o.dial(o.conn)
	if err != nil {
		return err
	}
	p, err := o.prepare(ctx, c)
	if err != nil {
		return o.turnedAway(err)
	}
	if o.findSecrets {
		copied, err := o.secretCopies(ctx, c, p)
		if err != nil {
			return err
		}
		p.Notes = append(p.Notes, copied...)
	}
	document := rotationPlan(p.Plan, p.Scanned, o.request, p.Unfinished, o.now())
	document.Effects = slices.Concat(obstacles(p), document.Effects, p.Notes)
	if o.force {
		document.Force, document.Effects = true, append([]string{forceMeans}, document.Effects...)
	}
	if o.compromised {
		document.Effects = append([]string{compromisedMeans}, document.Effects...)
	}
	if dryRun(o.dryRun) != dryRunNone {
		return o.runDry(ctx, c, p, document)
	}
	if err := o.announce(p, document, c.who); err != nil {
		return err
	}
	if o.interactive && !o.confirmed("Go on?") {
		return errDeclined
	}
	return o.rotate(ctx, c, p)
}

// obstacles are what is known before the start and will be refused then, without --force.
func obstacles(p fleet.Rotation) []string {
	found := gate.Clocks(p.Scanned)
	if slices.ContainsFunc(p.Plan.Steps(), func(s plan.Step) bool { return s.ControlPlane && !s.Idle() }) {
		found = append(found, gate.Coverage(nil, p.Unscanned, nil)...)
	}
	var out []string
	for _, f := range found {
		out = append(out, "Refused at the start, unless --force is given: "+f.Text+".")
	}
	return out
}

// prepare asks everything that a plan needs, and changes nothing.
func (o *rotateOptions) prepare(ctx context.Context, c *cluster) (fleet.Rotation, error) {
	held := c.held
	if dryRun(o.dryRun) != dryRunNone {
		held = nil // a plan disturbs nobody
	}
	r, err := fleet.Prepare(ctx, c.api, c.Scanner, o.request, fleet.PrepareOptions{
		Now:      o.now(),
		Scanning: func(nodes int) { note(o.ErrOut, fmt.Sprintf("Looking at %s …", count(nodes, "node"))) },
		Look:     o.connectionFlags.command() + " check",
		Held:     held,
	})
	if err == nil {
		o.request = r.Request
	}
	return r, err
}

// turnedAway reports to a program that another rotation holds the lock, as one that is
// met later does, and returns the error.
func (o *rotateOptions) turnedAway(err error) error {
	var held *kube.HeldError
	if !errors.As(err, &held) || (o.format != formatJSON && o.format != formatYAML) {
		return err
	}
	now := o.now().UTC()
	return errors.Join(err, printReport(o.Out, o.format, &v1alpha1.RotationReport{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationReportKind, StartTime: now, EndTime: now,
		Result: v1alpha1.Failed, Message: held.Error(), Items: []v1alpha1.RotationItem{}, Collateral: []v1alpha1.Collateral{},
	}))
}

// runDry prints the plan, after the API server has judged it where that was asked for.
func (o *rotateOptions) runDry(ctx context.Context, c *cluster, p fleet.Rotation, document v1alpha1.RotationPlan) error {
	judged := ""
	if dryRun(o.dryRun) == dryRunServer {
		busy := slices.DeleteFunc(p.Plan.Steps(), plan.Step.Idle)
		if err := c.Nodes.DryRun(ctx, p.ID, busy); err != nil {
			return err
		}
		judged = fmt.Sprintf(" The API server admits %s.", count(len(busy), "node pod"))
	}
	if o.format == formatTable || o.format == formatWide {
		fmt.Fprintln(o.Out, planTitle("(dry run)", o.request, p.Unfinished))
	}
	if err := printPlan(o.Out, o.format, document); err != nil {
		return err
	}
	note(o.ErrOut, c.who.beingRenewed(p.Plan), "Nothing was changed."+judged+" To do it, run the same without --dry-run.")
	return nil
}

// announce says what is about to happen, on standard error.
func (o *rotateOptions) announce(p fleet.Rotation, document v1alpha1.RotationPlan, who *identity) error {
	note(o.ErrOut, planTitle(p.ID, o.request, p.Unfinished), o.cutOff(p))
	if err := printPlan(o.ErrOut, formatTable, document); err != nil {
		return err
	}
	note(o.ErrOut, who.beingRenewed(p.Plan))
	return nil
}

// cutOff names another rotation that waits to be continued, for it is not by this one.
func (o *rotateOptions) cutOff(p fleet.Rotation) string {
	for _, past := range plan.Remembered(p.Scanned, o.now()) {
		if past.Continued && past.ID != p.ID {
			return fmt.Sprintf("Rotation %s is unfinished, and not continued by this: %s %s", past.ID, o.connectionFlags.command(), past.Words())
		}
	}
	return ""
}

// rotate runs the engine and prints its report.
func (o *rotateOptions) rotate(ctx context.Context, c *cluster, p fleet.Rotation) error {
	names := make([]string, 0, len(p.Scanned))
	for _, s := range p.Plan.Steps() {
		names = append(names, s.Node)
	}
	// "kubectl rotate-certs … | head" must not end a rotation: a write fails instead.
	signal.Ignore(syscall.SIGPIPE)
	began := o.now()
	show := newProgress(o.ErrOut, o.now, o.terminal.width, names)
	o.showing(show)
	stopTicking := o.tick(show)
	report, err := fleet.Rotate(ctx, c.Cluster, fleet.Options{
		Rotation: p, Timeout: time.Duration(o.timeout), Pause: time.Duration(o.pause), Force: o.force,
		Command: o.connectionFlags.command(), Progress: show.on, Now: o.now,
	})
	stopTicking()
	show.end()
	o.showing(nil)
	if err == nil && o.format != formatTable && o.format != formatWide { // the person has read it above
		report.Notes = append(report.Notes, consumers(p.Plan, p.Scanned)...)
	}
	report.Notes = append(report.Notes, p.Notes...)
	if err == nil {
		report.Notes = append(report.Notes, keptOthers(otherUses(p.Plan, p.Scanned))...)
	}
	if copied := copies(p.Plan, p.Scanned); err == nil && copied != "" {
		report.Notes = append(report.Notes, copied)
	}
	if old := stillValid(report, o.now()); old != "" {
		report.Notes = append(report.Notes, old)
	}
	var held *kube.HeldError
	if errors.As(err, &held) && (o.format == formatTable || o.format == formatWide) {
		return err // nothing began, so there is nothing to show
	}
	if printErr := printReport(o.Out, o.format, report); printErr != nil && err == nil && !errors.Is(printErr, syscall.EPIPE) {
		return printErr
	}
	if err != nil {
		return err
	}
	done, left := outcome(report, o.now().Sub(began), o.request.Restart), notDone(report)
	if left != "" {
		done += ". But " + left + ": see above"
	}
	note(o.ErrOut, fmt.Sprintf("%s. Next: %s check", done, o.connectionFlags.command()))
	if left != "" {
		return errLeftOut
	}
	return nil
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
	return fmt.Sprintf("Done in %s: %s renewed and verified", took(elapsed), count(renewed, "certificate"))
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
