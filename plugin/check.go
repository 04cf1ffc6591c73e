package plugin

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// checkOptions are the flags of check, and what Complete makes of them.
type checkOptions struct {
	*app
	*connectionFlags
	nodeFlags

	within   durationFlag
	services []string
	output   string

	findSecrets bool

	wanted []certs.Service
	format format
	conn   connection
}

func (a *app) checkCommand(flags *connectionFlags) *cobra.Command {
	o := &checkOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   checkName,
		Short: "Show every certificate of every node, and what needs attention",
		Long: `Show every certificate of every node: when it ends, its CA, whether what is served is
what is on disk; and what has drifted: file modes and owners against the CIS benchmark, names
that do not fit the node any more (neither changes the exit code). Looks through short-lived pods that only read; nothing is changed.

Exit codes: 0 nothing needs attention; 1 a certificate or CA has expired, expires soon, is
invalid or is not the one that is served, or a node that should be inspected could not be;
2 no node could be inspected. Not for: files that no component uses, drift, what cannot be
renewed here and is far from its end, nodes that have no node program.`,
		Example: `  # What ends within three months?
  kubectl rotate-certs check --within 90d

  # One service on one node, with SANs, serials and paths
  kubectl rotate-certs check --service kube-apiserver --node cp1 -o wide`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Complete(cmd); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	plain(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&o.within, "within", "How near its end a certificate needs attention, such as 90d (default: 30d, or a fifth of a shorter life)")
	f.StringSliceVar(&o.services, "service", nil, "Only these services")
	o.addNodeFlags(cmd, "Only these nodes", a.completeNodes(flags))
	f.BoolVar(&o.findSecrets, "find-secrets", false, "Also name Secrets that hold a copy of a certificate; needs the right to list secrets")
	f.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(formats, ", "))
	o.addPodFlags(f)
	complete(cmd, "service", completeServices)
	complete(cmd, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// noArguments refuses words after a command that takes flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q\nsee: %s --help", args[0], cmd.CommandPath())
}

// Complete parses the words into typed values.
func (o *checkOptions) Complete(cmd *cobra.Command) error {
	var err error
	if err = o.validateNodes(cmd); err != nil {
		return err
	}
	if o.wanted, err = certs.ParseServices(o.services); err != nil {
		return err
	}
	if o.format, err = parseFormat(o.output); err != nil {
		return err
	}
	o.conn, err = o.connection()
	return err
}

// Run scans the nodes and prints what was found.
func (o *checkOptions) Run(ctx context.Context) error {
	c, err := o.dial(o.conn)
	if err != nil {
		return err
	}
	if err := c.api.Permitted(ctx, kube.UseCheck); err != nil {
		return err
	}
	all, err := c.api.Nodes(ctx)
	if err != nil {
		return err
	}
	chosen, err := o.selection(all, o.now())
	if err != nil {
		return err
	}
	nodes, missing, err := c.Scanner.Scan(ctx, chosen.Names)
	if err != nil {
		return err
	}
	missing = append(chosen.Excluded, missing...)
	unknown := fleet.NoneScanned(nodes, missing)
	if unknown != nil && (o.format == formatTable || o.format == formatWide) {
		return unknown // the error says all that a table could
	}
	now := o.now()
	list := certificateList(nodes, missing, listOptions{
		services: o.wanted, within: time.Duration(o.within), now: now, whole: len(o.nodes) == 0, managed: chosen.Managed, members: all,
	})
	var text bytes.Buffer
	if err := printList(&text, o.format, list, now); err != nil {
		return err
	}
	shown := text.String()
	if o.terminal.colour && o.format == formatTable {
		shown = paint(shown)
	}
	fmt.Fprint(o.Out, shown)
	if unknown != nil {
		return unknown
	}
	note(o.ErrOut, hints(list, now)...)
	note(o.ErrOut, clocks(nodes, now)...)
	if o.findSecrets {
		copied, err := findSecrets(ctx, c.api, certificatesOf(nodes))
		if err != nil {
			return err
		}
		note(o.ErrOut, copied...)
	}
	note(o.ErrOut, c.who.nearItsEnd(nodes, now, time.Duration(o.within)))
	note(o.ErrOut, verdict(list, o.connectionFlags.command(), o.nodes, now))
	if needsAttention(list) {
		return errAttention
	}
	return nil
}

// maxSkew is how far a node's clock may be from ours without a word: a scan takes its
// time, and certificates begin some minutes in the past.
const maxSkew = 5 * time.Minute

// clocks tells of nodes whose clock is far from this machine's: dates are judged by
// the node's clock there, and by ours here.
func clocks(nodes []inventory.Node, now time.Time) []string {
	var out []string
	for _, n := range nodes {
		if skew := n.Time.Sub(now); !n.Time.IsZero() && skew.Abs() > maxSkew {
			direction := "ahead of"
			if skew < 0 {
				direction = "behind"
			}
			out = append(out, fmt.Sprintf("%s: its clock is %s %s this machine's; certificates are judged by it there.", n.Name, remainder(skew.Abs()), direction))
		}
	}
	return out
}
