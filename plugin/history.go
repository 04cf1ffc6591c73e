package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func (a *app) historyCommand(flags *connectionFlags) *cobra.Command {
	o := &reader{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   historyName + " [ID]",
		Short: "List the rotations in the nodes' journals, or every record of one",
		Long: `List the rotations in the nodes' journals, newest first; or, with its id, what one did on
which node and when, why it failed, and how it was verified. The journals are read through
short-lived, read-only pods, or over ssh, which asks no API server.`,
		Example: `  # Which rotations were there?
  kubectl rotate-certs history

  # What did one do on a node?
  kubectl rotate-certs history 7f3c2a --node cp3

  # Over ssh, while the API server does not answer
  kubectl rotate-certs history --transport ssh --host root@cp1,root@w1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return noArguments(cmd, args[1:])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validateTransport(cmd); err != nil {
				return err
			}
			if o.overSSH() && o.selector != "" {
				return hint.AddTo(errors.New("history over ssh asks no API server, so --selector excludes --transport ssh"), "name the machines with --host")
			}
			if err := o.completeReader(cmd); err != nil {
				return err
			}
			if len(args) == 0 {
				return o.runList(cmd.Context())
			}
			return o.runOne(cmd.Context(), args[0])
		},
	}
	f := cmd.Flags()
	o.addNodeFlags(cmd, "Only these nodes", a.completeNodes(flags))
	f.StringVarP(&o.output, "output", "o", "", printers.FormatUsage)
	o.addPodFlags(f)
	o.addTransportFlags(cmd)
	completeFlag(cmd, "output", cobra.FixedCompletions(printers.Formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// runList shows all rotations.
func (o *reader) runList(ctx context.Context) error {
	list, err := o.listRotations(ctx)
	if err != nil {
		return err
	}
	if err := printers.PrintRotations(o.Out, o.format, list); err != nil {
		return err
	}
	if len(list.Items) > 0 {
		printers.PrintNotes(o.ErrOut, fmt.Sprintf("Every record of one: %s %s %s", o.sameCluster(), historyName, printers.CleanText(list.Items[0].ID)))
	}
	return nil
}

// listRotations reads the rotations in the journals of the nodes.
func (o *reader) listRotations(ctx context.Context) (v1alpha1.RotationList, error) {
	list := v1alpha1.RotationList{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationListKind}
	c, chosen, disconnect, err := o.openCluster(ctx, kube.UseCheck)
	if err != nil {
		return list, err
	}
	defer disconnect()
	list.Items, list.NotInspected, err = o.recordedRotations(ctx, c, chosen)
	return list, err
}

// runOne shows one rotation.
func (o *reader) runOne(ctx context.Context, id string) error {
	out, err := o.readRecords(ctx, id)
	if err != nil {
		return err
	}
	if len(o.nodes) > 0 && (o.format == printers.Table || o.format == printers.Wide) {
		fmt.Fprintf(o.Out, "By the journals of %s only. ", printers.SomeNames(o.nodes))
	}
	return printers.PrintHistory(o.Out, o.format, out, o.sameCluster(), o.now())
}

// readRecords reads every record of one rotation.
func (o *reader) readRecords(ctx context.Context, id string) (v1alpha1.RotationHistory, error) {
	if !plan.IsRotationID(id) {
		return v1alpha1.RotationHistory{}, badRotationID(id)
	}
	c, chosen, disconnect, err := o.openCluster(ctx, kube.UseCheck)
	if err != nil {
		return v1alpha1.RotationHistory{}, err
	}
	defer disconnect()
	logs, missing, err := c.journals.Journals(ctx, chosen.Names, id)
	if err != nil {
		return v1alpha1.RotationHistory{}, err
	}
	missing = append(chosen.Excluded, missing...)
	logs = slices.DeleteFunc(logs, func(l nodeapi.Journal) bool { return len(l.Records) == 0 })
	if len(logs) == 0 {
		unread := ""
		if len(missing) > 0 {
			unread = fmt.Sprintf("; %s could not be read, first %s: %s", printers.CountOf(len(missing), "node"), missing[0].Node, missing[0].Reason)
		}
		return v1alpha1.RotationHistory{}, hint.AddTo(fmt.Errorf("no journal has rotation %q%s", id, unread), "%s %s lists them", o.sameCluster(), historyName)
	}
	out := printers.NewHistory(id, logs, o.sameCluster(), len(o.nodes) > 0, o.now())
	out.NotInspected = append(out.NotInspected, missing...)
	return out, nil
}
