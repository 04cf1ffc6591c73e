package plugin

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// rollbackCommand is a rotation that puts the certificates from before another one back.
func (a *app) rollbackCommand(flags *connectionFlags) *cobra.Command {
	o := &rotateOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   "rollback ID",
		Short: "Put the certificates from before a finished rotation back, and verify it",
		Long: `Put the certificates and keys from before a finished rotation back, from the files that the
nodes keep of their last rotations. It is a rotation of its own, with an id of its own: the
same order of nodes, one control-plane node at a time, each verified before the next. A node
on which the earlier certificates cannot be verified keeps its present ones.

Left out is what cannot go back: a certificate that has expired, whose CA is no longer
accepted, that was renewed since, or whose files are no longer kept. A rotation of
compromised keys cannot be rolled back, since it has destroyed them.

` + exitcode.Help(),
		Example: `  # Which rotations were there?
  kubectl rotate-certs history

  # What would a rollback do?
  kubectl rotate-certs rollback 7f3c2a --dry-run=server

  # Roll it back on one node
  kubectl rotate-certs rollback 7f3c2a --node cp3`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return hint.AddTo(errors.New("want the id of one rotation"), "%s %s lists them", displayName, historyName)
			}
			if !plan.IsRotationID(args[0]) {
				return badRotationID(args[0])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.rollbackOf = args[0]
			return o.runCommand(cmd, args)
		},
	}
	o.addRollbackFlags(cmd)
	return cmd
}

func (o *rotateOptions) addRollbackFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.addNodeFlags(cmd, "Only on these nodes (default: every node)", o.completeNodes(o.connectionFlags))
	o.addRestartFlags(cmd)
	o.addHealthFlags(cmd)
	f.BoolVar(&o.requireAll, "require-all", false, "Change nothing where a certificate in scope cannot be put back, instead of leaving it out")
	o.addOutputFlags(cmd)
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"server" scans, has the API server admit every node pod, and changes nothing`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunServer)
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask on a terminal")
	f.BoolVar(&o.takeOver, "take-over", false, "Take the lock at once from a rotation whose process was killed or that you have ended")
	completeFlag(cmd, "dry-run", cobra.FixedCompletions([]string{string(dryRunNone), string(dryRunServer)}, cobra.ShellCompDirectiveNoFileComp))
}

func badRotationID(id string) error {
	return hint.AddTo(fmt.Errorf("rotation %q: an id is letters, digits and dashes", id), "%s %s lists them", displayName, historyName)
}

// rollbackMeans describes a rollback.
func rollbackMeans(id string) string {
	return fmt.Sprintf("Rollback: no certificate is issued; the certificates and keys from before rotation %s are put back. A RotationPolicy that finds them due renews them again.", id)
}

// rollbackOf is the rotation that a plan rolls back; empty: it renews certificates.
func rollbackOf(p plan.Plan) string {
	for _, s := range p.AllSteps() {
		if s.RollbackOf != "" {
			return s.RollbackOf
		}
	}
	return ""
}
