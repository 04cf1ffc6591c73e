package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func (a *app) statusCommand(flags *connectionFlags) *cobra.Command {
	o := &reader{app: a, connectionFlags: flags}
	journals := true
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the rotation in progress or the last one, and the state of the watcher",
		Long: `Show the rotation in progress (who holds the cluster's lock, since when), one that was
interrupted and the command that continues it, or how the last one ended. Where the watcher
is installed, also show whether it and its agents are ready, and what waits and why.

It reads the lock, the watcher's objects, and the nodes' journals through short-lived,
read-only pods. Where the watcher is installed and you may not create pods, the journals are
not read, and the output says so. --nodes=false creates no pods; --nodes fails where they may
not be created.`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.completeReader(cmd); err != nil {
				return err
			}
			return o.runStatus(cmd.Context(), journals, journals && cmd.Flags().Changed("nodes"))
		},
	}
	f := cmd.Flags()
	f.BoolVar(&journals, "nodes", true, "Read the nodes' journals, through read-only pods")
	f.StringVarP(&o.output, "output", "o", "", printers.FormatUsage)
	o.addPodFlags(f)
	completeFlag(cmd, "output", cobra.FixedCompletions(printers.Formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// runStatus prints the state by the cluster's objects and, if they are to be read, by the
// nodes' journals. Journals that are not required are left out where pods may not be created.
func (o *reader) runStatus(ctx context.Context, journals, required bool) error {
	installed := o.surveyWatcher(ctx)
	c, err := o.dial(o.conn)
	if err != nil {
		return err
	}
	status := v1alpha1.RotationStatus{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationStatusKind,
		Unfinished: []v1alpha1.PastRotation{}, NotInspected: []v1alpha1.NotInspected{},
	}
	var missing *kube.MissingPermissionsError
	if journals {
		err = c.api.Permitted(ctx, kube.UseStatus)
	} else {
		status.JournalsNotRead = "--nodes=false"
	}
	switch status.Installed = <-installed; {
	case err == nil:
	case !required && status.Installed != nil && errors.As(err, &missing):
		journals = false
		status.JournalsNotRead = "missing permissions: " + strings.Join(missing.Missing, "; ")
	default:
		return err
	}
	// The lock first: a rotation that ends while the nodes are scanned is then seen in
	// progress, and not as one that was interrupted.
	held, err := c.api.Holder(ctx)
	switch {
	case err == nil:
	case !journals && apierrors.IsForbidden(err):
		status.LockNotRead = "missing permission: get lease " + kube.LeaseName + " in namespace " + kube.LeaseNamespace
	default:
		return err
	}
	if held != nil {
		status.Running = &v1alpha1.RunningRotation{Holder: held.Holder, Since: held.Since.UTC(), RunsOut: held.Until.UTC()}
	}
	if journals {
		if err := o.readJournals(ctx, c, &status); err != nil {
			return err
		}
	}
	return printStatus(o.Out, o.format, status, o.connectionFlags.commandLine(), o.now())
}

// readJournals completes a status with the nodes' journals.
func (o *reader) readJournals(ctx context.Context, c *cluster, status *v1alpha1.RotationStatus) error {
	chosen, err := o.chooseNodes(ctx, c)
	if err != nil {
		return err
	}
	past, missing, err := o.recordedRotations(ctx, c, chosen)
	if err != nil {
		return err
	}
	status.NotInspected = missing
	if len(past) > 0 {
		status.Last = &past[0]
	}
	for _, p := range past {
		unverified := slices.ContainsFunc(p.Nodes, func(n v1alpha1.PastRotationNode) bool { return n.Unverified })
		if p.Continue != "" || p.Result == string(plan.ManualInterventionRequired) || unverified {
			status.Unfinished = append(status.Unfinished, p)
		}
	}
	return nil
}

// printStatus prints a status in any format; by name, the rotations that are unfinished.
func printStatus(w io.Writer, f printers.Format, s v1alpha1.RotationStatus, command string, now time.Time) error {
	switch {
	case f.IsDocument():
		return printers.PrintDocument(w, f, s)
	case f == printers.Name:
		for _, p := range s.Unfinished {
			fmt.Fprintln(w, printers.CleanText(p.ID))
		}
		return nil
	}
	for _, line := range statusLines(s, command, now) {
		fmt.Fprintln(w, printers.CleanText(line))
	}
	printInstalled(w, s.Installed, command, now)
	printers.PrintNotInspected(w, s.NotInspected)
	return nil
}

func statusLines(s v1alpha1.RotationStatus, command string, now time.Time) []string {
	if r := s.Running; r != nil && now.Before(r.RunsOut) {
		return []string{
			fmt.Sprintf("In progress: %s, since %s (%s).", r.Holder, printers.ToTheSecond(r.Since), printers.RemainingTime(now.Sub(r.Since))),
			"Its records so far: " + command + " " + historyName,
		}
	}
	var lines []string
	if r := s.Running; r != nil {
		lines = append(lines, fmt.Sprintf("No rotation is in progress: the lock of %s expired at %s without being released. That rotation was interrupted, or cannot reach the API.",
			r.Holder, printers.ToTheSecond(r.RunsOut)))
	} else if s.LockNotRead != "" {
		lines = append(lines, "Whether a rotation is in progress is unknown ("+s.LockNotRead+").")
	} else {
		lines = append(lines, "No rotation is in progress.")
	}
	if s.JournalsNotRead != "" {
		return append(lines, "The nodes' journals were not read ("+s.JournalsNotRead+"): an interrupted rotation is not shown.")
	}
	if s.Last == nil {
		return append(lines, "No rotation is recorded in the journals of the scanned nodes.")
	}
	shown := s.Unfinished
	if len(shown) == 0 {
		shown = []v1alpha1.PastRotation{*s.Last}
	}
	for _, p := range shown {
		lines = append(lines, fmt.Sprintf("%s, %s, from %s: %s, after %s", p.ID, printers.ScopeWords(p), printers.ToTheSecond(p.StartTime), printers.StandingWord(p.Result), printers.RotationTook(p)))
		for _, words := range printers.NodesInWords(p) {
			lines = append(lines, "  "+words)
		}
		lines = append(lines, printers.NextSteps(p, command, now)...)
	}
	return lines
}
