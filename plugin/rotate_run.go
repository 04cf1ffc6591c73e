package plugin

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Run scans, prints the plan and, unless that is all, carries it out.
func (o *rotateOptions) Run(ctx context.Context) error {
	if dryRun(o.dryRun) == dryRunClient {
		return o.runFromReports(ctx)
	}
	c, disconnect, err := o.connectNodes(ctx)
	if err != nil {
		return err
	}
	defer disconnect()
	p, document, err := o.planRotation(ctx, c)
	if err != nil {
		return o.reportHeld(err)
	}
	if o.changesNothing() {
		return o.runDry(ctx, c, p, document)
	}
	if err := o.announcePlan(p, document, c.who); err != nil {
		return err
	}
	if o.asksFirst() && !o.askConfirmation(ctx, "Continue?") {
		return errDeclined
	}
	return o.runRotation(ctx, c, p)
}

// planRotation scans and plans, and returns the plan also as a document. Nothing is changed.
func (o *rotateOptions) planRotation(ctx context.Context, c *cluster) (fleet.Rotation, v1alpha1.RotationPlan, error) {
	p, err := o.prepareRotation(ctx, c)
	if err != nil {
		return p, v1alpha1.RotationPlan{}, err
	}
	if o.findSecrets {
		copied, err := o.secretCopies(ctx, c, p)
		if err != nil {
			return p, v1alpha1.RotationPlan{}, err
		}
		p.Notes = append(p.Notes, copied...)
	}
	document := rotationPlan(p.Plan, p.Scanned, o.request, p.Unfinished, o.now())
	document.Effects = slices.Concat(startObstacles(p), document.Effects, p.Notes)
	if o.force {
		document.Force = true
		document.Effects = append([]string{forceMeans}, document.Effects...)
	}
	if o.rollbackOf != "" {
		document.Effects = append([]string{rollbackMeans(o.rollbackOf)}, document.Effects...)
	}
	if o.compromised {
		document.Effects = append([]string{watched.CompromisedMeans}, document.Effects...)
	}
	return p, document, nil
}

// connectNodes connects to the cluster. The caller calls disconnect.
func (o *rotateOptions) connectNodes(ctx context.Context) (c *cluster, disconnect func(), err error) {
	if !o.overSSH() {
		c, err = o.dial(o.conn)
		return c, func() {}, err
	}
	hosts, disconnect, err := o.connectHosts(ctx, &o.hostFlags, o.connectionFlags)
	if err != nil {
		return nil, nil, err
	}
	c, without, err := o.clusterOverSSH(ctx, o.conn, hosts)
	if err != nil {
		disconnect()
		return nil, nil, err
	}
	if without != nil {
		note := withoutLock(without)
		if o.withoutLock = !o.changesNothing(); !o.withoutLock {
			note = "Without the API server: " + reasonOf(without) + "."
		}
		printers.PrintNotes(o.ErrOut, note, "If certificates have expired, use "+displayName+" "+recoverName+" with the same hosts.")
		if o.withoutLock && !o.terminal.in && !o.yes {
			disconnect()
			return nil, nil, errNotAgreed
		}
	}
	return c, disconnect, nil
}

// changesNothing reports whether the plan is only printed.
func (o *rotateOptions) changesNothing() bool { return o.planOnly || dryRun(o.dryRun) != dryRunNone }

// asksFirst reports whether the operator has to agree to the plan: --all on a terminal is
// often a slip, a rollback is rare, and without the lock another rotation may be in progress.
func (o *rotateOptions) asksFirst() bool {
	return o.interactive || (o.all || o.rollbackOf != "" || o.withoutLock) && o.terminal.in && !o.yes
}

// startObstacles are findings that refuse the start of the rotation, without --force.
func startObstacles(p fleet.Rotation) []string {
	found := gate.CheckClocks(p.Scanned)
	if slices.ContainsFunc(p.Plan.AllSteps(), func(s plan.Step) bool { return s.ControlPlane && !s.IsIdle() }) {
		found = append(found, gate.CheckCoverage(nil, p.Unscanned, nil)...)
	}
	var out []string
	for _, f := range found {
		out = append(out, "Refused at the start, unless --force is given: "+f.Text+".")
	}
	return out
}

// prepareRotation scans and plans, and changes nothing.
func (o *rotateOptions) prepareRotation(ctx context.Context, c *cluster) (fleet.Rotation, error) {
	held := c.held
	if o.changesNothing() {
		held = nil // a plan needs no lock
	}
	r, err := fleet.Prepare(ctx, c.api, c.Scanner, o.request, fleet.PrepareOptions{
		Now: o.now(),
		Scanning: func(nodes int) {
			printers.PrintNotes(o.ErrOut, fmt.Sprintf("Scanning %s …", printers.CountOf(nodes, "node")))
		},
		Look: o.connectionFlags.commandLine() + " check" + o.transportArguments(),
		Held: held,
	})
	if err == nil {
		o.request = r.Request
	}
	return r, err
}

// reportHeld prints a report for programs where another rotation holds the lock, and returns
// the error.
func (o *rotateOptions) reportHeld(err error) error {
	var held *kube.HeldError
	if !errors.As(err, &held) || !o.format.IsDocument() {
		return err
	}
	now := o.now().UTC()
	return errors.Join(err, printers.PrintReport(o.Out, o.format, &v1alpha1.RotationReport{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationReportKind, StartTime: now, EndTime: now,
		Result: v1alpha1.Failed, Message: held.Error(), Items: []v1alpha1.RotationItem{}, Collateral: []v1alpha1.Collateral{},
	}))
}

// runDry prints the plan; with --dry-run=server after the API server has admitted its pods.
func (o *rotateOptions) runDry(ctx context.Context, c *cluster, p fleet.Rotation, document v1alpha1.RotationPlan) error {
	next := "To do it, run the same without --dry-run."
	switch {
	case o.request.Recover:
		next = "To do it, run the same without --plan."
	case o.planOnly:
		next = "To do it, run the same without \"plan\"."
	}
	admitted := ""
	if dryRun(o.dryRun) == dryRunServer {
		busy := slices.DeleteFunc(p.Plan.AllSteps(), plan.Step.IsIdle)
		if err := c.Nodes.DryRun(ctx, p.ID, busy); err != nil {
			return err
		}
		if !o.overSSH() {
			admitted = fmt.Sprintf(" The API server admits %s.", printers.CountOf(len(busy), "node pod"))
		}
	}
	if o.format == printers.Table || o.format == printers.Wide {
		fmt.Fprintln(o.Out, planTitle("(plan)", o.request, p.Unfinished))
	}
	if err := printPlan(o.Out, o.format, document); err != nil {
		return err
	}
	printers.PrintNotes(o.ErrOut, c.who.beingRenewed(p.Plan), "Nothing was changed."+admitted+" "+next)
	return nil
}

// announcePlan prints the plan on standard error.
func (o *rotateOptions) announcePlan(p fleet.Rotation, document v1alpha1.RotationPlan, who *identity) error {
	printers.PrintNotes(o.ErrOut, planTitle(p.ID, o.request, p.Unfinished), o.unfinishedOther(p))
	if err := printPlan(o.ErrOut, printers.Table, document); err != nil {
		return err
	}
	printers.PrintNotes(o.ErrOut, who.beingRenewed(p.Plan))
	return nil
}

// unfinishedOther names another unfinished rotation, which this one does not continue.
func (o *rotateOptions) unfinishedOther(p fleet.Rotation) string {
	for _, past := range plan.RotationsOf(p.Scanned, p.Partial, o.now()) {
		if past.Continued && past.ID != p.ID {
			return fmt.Sprintf("Rotation %s is unfinished, and this one does not continue it. To continue it: %s %s%s", past.ID, o.connectionFlags.commandLine(), past.CommandArgs(), o.transportArguments())
		}
	}
	return ""
}

// runRotation runs the engine and prints its report.
func (o *rotateOptions) runRotation(ctx context.Context, c *cluster, p fleet.Rotation) error {
	names := make([]string, 0, len(p.Scanned))
	for _, s := range p.Plan.AllSteps() {
		names = append(names, s.Node)
	}
	// "kubectl rotate-certs … | head" must not end a rotation: a write fails instead.
	signal.Ignore(syscall.SIGPIPE)
	began := o.now()
	show := newProgress(o.ErrOut, o.now, o.terminal.width, names)
	o.showProgress(show)
	stopTicking := o.tickProgress(show)
	report, err := o.executeRotation(ctx, c, p, show.showEvent)
	stopTicking()
	show.endDisplay()
	o.hideProgress(show)
	var held *kube.HeldError
	if errors.As(err, &held) && (o.format == printers.Table || o.format == printers.Wide) {
		return err // nothing has begun
	}
	if printErr := printers.PrintReport(o.Out, o.format, report); printErr != nil && err == nil && !errors.Is(printErr, syscall.EPIPE) {
		return printErr
	}
	if err != nil {
		return err
	}
	done := printers.OutcomeText(report, o.now().Sub(began), o.request.Restart)
	left := printers.NotDone(report)
	if left != "" {
		done += ", but " + left + ": see above"
	}
	printers.PrintNotes(o.ErrOut, fmt.Sprintf("%s. Next: %s check%s", done, o.connectionFlags.commandLine(), o.transportArguments()))
	if left != "" {
		return errLeftOut
	}
	return nil
}

// executeRotation runs the engine, and completes its report.
func (o *rotateOptions) executeRotation(ctx context.Context, c *cluster, p fleet.Rotation, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
	rotate := o.rotate
	if rotate == nil {
		rotate = fleet.Rotate
	}
	report, err := rotate(ctx, c.Cluster, fleet.Options{
		Rotation: p, Timeout: time.Duration(o.timeout), Pause: time.Duration(o.pause), Force: o.force, WithoutAPI: o.withoutLock, OpenIdle: o.overSSH(),
		OnlyPlanned: o.onlyPlanned,
		Command:     o.connectionFlags.commandLine(), Progress: progress, Now: o.now,
	})
	if err == nil && o.format != printers.Table && o.format != printers.Wide { // printed above otherwise
		report.Notes = append(report.Notes, namedConsumers(p.Plan, p.Scanned)...)
	}
	report.Notes = append(report.Notes, p.Notes...)
	if err == nil {
		report.Notes = append(report.Notes, keptOthers(otherUses(p.Plan, p.Scanned))...)
	}
	if copied := namedCopies(p.Plan, p.Scanned); err == nil && copied != "" {
		report.Notes = append(report.Notes, copied)
	}
	if old := printers.StillValid(report, o.now()); old != "" {
		report.Notes = append(report.Notes, old)
	}
	return report, err
}

// tickProgress refreshes the elapsed times on a terminal, until the returned function is called.
func (o *rotateOptions) tickProgress(show *progress) func() {
	if o.terminal.width == nil {
		return func() {}
	}
	ctx, stop := context.WithCancel(context.Background())
	var ticking sync.WaitGroup
	ticking.Go(func() {
		for wait.SleepFor(ctx, 500*time.Millisecond) == nil {
			show.redrawLines()
		}
	})
	return func() {
		stop()
		ticking.Wait()
	}
}
