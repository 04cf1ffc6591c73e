package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// checkOptions are the flags of check, and the values that Complete derives from them.
type checkOptions struct {
	*app
	*connectionFlags
	nodeFlags
	transportFlags

	within   durationFlag
	services []string
	output   string

	findSecrets bool

	wanted []certs.Service
	format printers.Format
	conn   connection
}

func (a *app) checkCommand(flags *connectionFlags) *cobra.Command {
	o := &checkOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   checkName,
		Short: "Show every certificate of every node, and what needs attention",
		Long: `Show every certificate of every node: its expiry, its CA, and whether the certificate on
disk is the one that is served. Also show drift: file modes and owners that the CIS benchmark
does not allow, and names that no longer match the node. The nodes are scanned through
short-lived, read-only pods, or with --transport ssh over ssh, without the API server; nothing is
changed.

Exit codes:
  0    nothing needs attention
  1    a certificate or CA has expired, expires soon, is invalid or is not the one that is
       served, or a node could not be inspected
  2    wrong usage, or no node could be scanned
  130  interrupted

Drift, files that no component uses, nodes without a node program, and certificates that
cannot be renewed but are far from their expiry do not change the exit code.`,
		Example: `  # Which certificates expire within three months?
  kubectl rotate-certs check --within 90d

  # One service on one node, with SANs, serials and paths
  kubectl rotate-certs check --service kube-apiserver --node cp1 -o wide

  # Over ssh, while the API server does not answer
  kubectl rotate-certs check --transport ssh --host root@cp1,root@w1`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Complete(cmd); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.Var(&o.within, "within", "Time before its expiry from which a certificate needs attention, such as 90d (default: 30d, or a fifth of a shorter validity)")
	f.StringSliceVar(&o.services, "service", nil, "Only these services")
	o.addNodeFlags(cmd, "Only these nodes", a.completeNodes(flags))
	f.BoolVar(&o.findSecrets, "find-secrets", false, "Also list Secrets that hold a copy of a certificate; needs the permission to list Secrets")
	f.StringVarP(&o.output, "output", "o", "", printers.FormatUsage)
	o.addPodFlags(f)
	o.addTransportFlags(cmd)
	completeFlag(cmd, "service", completeServices)
	completeFlag(cmd, "output", cobra.FixedCompletions(printers.Formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// noArguments refuses arguments of a command that takes flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return hint.AddTo(fmt.Errorf("unexpected argument %q", args[0]), "see %s --help", cmd.CommandPath())
}

// Complete parses the flags into typed values.
func (o *checkOptions) Complete(cmd *cobra.Command) error {
	var err error
	if err = o.validateNodes(cmd); err != nil {
		return err
	}
	if err = o.validateTransport(cmd); err != nil {
		return err
	}
	if o.overSSH() && (o.findSecrets || o.selector != "") {
		return hint.AddTo(errors.New("check over ssh asks no API server, so --find-secrets and --selector exclude --transport ssh"),
			"name the machines with --host, or leave --transport out")
	}
	if o.wanted, err = certs.ParseServices(o.services); err != nil {
		return err
	}
	if o.format, err = printers.ParseFormat(o.output); err != nil {
		return err
	}
	if !o.overSSH() {
		o.conn, err = o.newConnection()
	}
	return err
}

// Run scans the nodes and prints their certificates.
func (o *checkOptions) Run(ctx context.Context) error {
	c, disconnect, err := o.connectNodes(ctx, &o.transportFlags, o.connectionFlags, o.conn)
	if err != nil {
		return err
	}
	defer disconnect()
	found, err := o.listCertificates(ctx, c)
	if err != nil {
		return err
	}
	if found.unknown != nil && (o.format == printers.Table || o.format == printers.Wide) {
		return found.unknown // the error has everything that a table would have
	}
	now := found.at
	list := found.list
	var text bytes.Buffer
	if err := printers.PrintCertificates(&text, o.format, list, now); err != nil {
		return err
	}
	shown := text.String()
	if o.terminal.colour && o.format == printers.Table {
		shown = paintStatus(shown)
	}
	fmt.Fprint(o.Out, shown)
	if found.unknown != nil {
		return found.unknown
	}
	printers.PrintNotes(o.ErrOut, printers.CheckHints(list, now)...)
	printers.PrintNotes(o.ErrOut, clockWarnings(found.nodes, now)...)
	if o.findSecrets {
		copied, err := findSecrets(ctx, c.api, certificatesOf(found.nodes))
		if err != nil {
			return err
		}
		printers.PrintNotes(o.ErrOut, copied...)
	}
	printers.PrintNotes(o.ErrOut, c.who.expiresSoon(found.nodes, now, time.Duration(o.within)))
	printers.PrintNotes(o.ErrOut, printers.CheckVerdict(list, o.connectionFlags.commandLine()+o.transportArguments(), o.nodes, now))
	if printers.NeedsAttention(list) {
		return errAttention
	}
	return nil
}

// scanned is the result of a scan.
type scanned struct {
	list  v1alpha1.CertificateList
	nodes []inventory.Node
	at    time.Time
	// unknown is the error that no node could be scanned; nil: at least one was.
	unknown error
}

// listCertificates scans the nodes.
func (o *checkOptions) listCertificates(ctx context.Context, c *cluster) (scanned, error) {
	if err := c.api.Permitted(ctx, kube.UseCheck); err != nil {
		return scanned{}, err
	}
	all, err := c.api.Nodes(ctx)
	if err != nil {
		return scanned{}, err
	}
	chosen, err := o.selectNodes(all, o.now())
	if err != nil {
		return scanned{}, err
	}
	nodes, missing, err := c.Scanner.Scan(ctx, chosen.Names)
	if err != nil {
		return scanned{}, err
	}
	missing = append(chosen.Excluded, missing...)
	now := o.now()
	list := printers.ListCertificates(withRoles(nodes, all), missing, printers.ListOptions{
		Services: o.wanted, Within: time.Duration(o.within), Now: now, Whole: len(o.nodes) == 0 && !o.overSSH(), Managed: chosen.Managed, MoreFindings: nameFindings(all),
	})
	return scanned{list: list, nodes: nodes, at: now, unknown: fleet.NoneScanned(nodes, missing)}, nil
}

// nameFindings returns the findings that need the addresses of the Node object.
func nameFindings(members []kubenode.Node) func(inventory.Node) []inventory.Finding {
	return func(n inventory.Node) []inventory.Finding {
		for _, m := range members {
			if m.Name == n.Name {
				return kubenode.CheckNames(n, m.InternalIPs(), m.Hostnames())
			}
		}
		return nil
	}
}

// clockWarnings names nodes with a clock that differs from this machine's: on a node, its
// clock decides whether a certificate has expired, and this machine's clock here.
func clockWarnings(nodes []inventory.Node, now time.Time) []string {
	var out []string
	for _, n := range nodes {
		// A scan takes time, and certificates are valid from some minutes before they are
		// signed.
		if skew := n.Time.Sub(now); !n.Time.IsZero() && skew.Abs() > 5*time.Minute {
			direction := "ahead of"
			if skew < 0 {
				direction = "behind"
			}
			out = append(out, fmt.Sprintf("%s: its clock is %s %s this machine's; it decides there whether a certificate has expired.", n.Name, printers.RemainingTime(skew.Abs()), direction))
		}
	}
	return out
}

// withRoles marks the control-plane nodes among the scanned nodes, by the API. nodes are not
// changed.
func withRoles(nodes []inventory.Node, members []kubenode.Node) []inventory.Node {
	out := slices.Clone(nodes)
	for i := range out {
		out[i].Known.ControlPlane = isControlPlane(members, out[i].Name)
	}
	return out
}

func isControlPlane(nodes []kubenode.Node, name string) bool {
	return slices.ContainsFunc(nodes, func(n kubenode.Node) bool { return n.Name == name && n.ControlPlane })
}
