package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func (a *app) policyCommand(flags *connectionFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Validate a RotationPolicy and explain its effect",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.Long = cmd.Short + "."
	cmd.AddCommand(a.policyCheckCommand(flags))
	return cmd
}

// policyCheckOptions are the flags of policy check, and the values that Complete derives from them.
type policyCheckOptions struct {
	*app
	*connectionFlags

	offline bool
	at      string
	output  string

	object *v1alpha1.RotationPolicy // nil: the cluster's, not read yet
	policy renewal.Policy
	when   time.Time
	format printers.Format
	conn   connection
}

func (a *app) policyCheckCommand(flags *connectionFlags) *cobra.Command {
	o := &policyCheckOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   checkName + " [FILE]",
		Short: "Validate a RotationPolicy and explain its effect",
		Long: `Validate the RotationPolicy in a file, or the one of the cluster; explain its rules, when
its windows open next, and when every certificate of the cluster would be rotated
automatically. The nodes are scanned through short-lived, read-only pods; nothing is changed,
and no watcher has to be installed.

Exit codes:
  0    every certificate would be rotated in time
  1    a certificate expires before it would be rotated, or is due and would not be rotated
       automatically
  2    wrong usage, the policy is invalid, or no node could be scanned
  130  interrupted`,
		Example: `  # Explain the effect of a file on this cluster, before kubectl apply -f policy.yaml
  kubectl rotate-certs policy check policy.yaml

  # Explain the file only, without a cluster
  kubectl rotate-certs policy check policy.yaml --offline

  # Explain the policy of the cluster
  kubectl rotate-certs policy check`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return hint.AddTo(errors.New("more than one policy file"), "name one, or - for standard input; %s policy check --help", displayName)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Complete(args); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.offline, "offline", false, "Only explain FILE, without a cluster")
	f.StringVar(&o.at, "now", "", "Evaluate at this time, such as 2027-03-01T00:00:00Z (default: now)")
	f.StringVarP(&o.output, "output", "o", "", "Output format: json, yaml, wide, or a template such as jsonpath=TEMPLATE")
	o.addPodFlags(f)
	completeFlag(cmd, "output", cobra.FixedCompletions([]string{string(printers.JSON), string(printers.YAML), string(printers.Wide)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete reads the file and parses the flags.
func (o *policyCheckOptions) Complete(args []string) error {
	var err error
	if o.format, err = printers.ParseFormat(o.output); err != nil {
		return err
	}
	if o.format == printers.Name {
		return hint.AddTo(fmt.Errorf("unknown output format %q", o.output), "want one of json, yaml, wide")
	}
	o.when = o.now()
	if o.at != "" {
		if o.when, err = time.Parse(time.RFC3339, o.at); err != nil {
			return fmt.Errorf("--now %q: want a time with its zone, such as 2027-03-01T00:00:00Z", o.at)
		}
	}
	if len(args) > 0 {
		if o.object, err = policyFromFile(args[0], o.In); err != nil {
			return err
		}
	}
	if o.offline {
		if o.object == nil {
			return errors.New("--offline: name a policy file")
		}
		return nil
	}
	o.conn, err = o.newConnection()
	return err
}

// fromCluster takes the RotationPolicy of the cluster where no file was named.
func (o *policyCheckOptions) fromCluster(ctx context.Context) error {
	if o.object != nil {
		return nil
	}
	var err error
	if o.object, err = o.readPolicy(ctx, o.conn); err != nil {
		return err
	}
	if o.object == nil {
		o.object = &v1alpha1.RotationPolicy{}
		printers.PrintNotes(o.ErrOut, "The cluster has no RotationPolicy: the defaults are in force.")
	}
	return nil
}

// Run explains the policy and its effect on the cluster.
func (o *policyCheckOptions) Run(ctx context.Context) error {
	err := o.fromCluster(ctx)
	if err != nil {
		return err
	}
	if o.policy, err = rotationpolicy.Compile(&o.object.Spec); err != nil {
		return fmt.Errorf("RotationPolicy %q is invalid: %w", o.object.Name, err) //nolint:staticcheck // a kind's name
	}
	report := explainPolicy(&o.object.Spec, &o.policy, o.when)
	if !o.offline {
		if err := o.foreseeRotations(ctx, &report); err != nil {
			return err
		}
	}
	if err := printPolicy(o.Out, o.format, report); err != nil {
		return err
	}
	if o.offline {
		return nil
	}
	printers.PrintNotes(o.ErrOut, policyVerdict(report)...)
	if slices.ContainsFunc(report.Items, func(p v1alpha1.PolicyProspect) bool { return p.TooLate }) {
		return errAttention
	}
	return nil
}

// foreseeRotations scans the cluster and adds when its certificates would be rotated.
func (o *policyCheckOptions) foreseeRotations(ctx context.Context, report *v1alpha1.PolicyReport) error {
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
	chosen, err := fleet.Choose(all, nil, o.now())
	if err != nil {
		return err
	}
	nodes, missing, err := c.Scanner.Scan(ctx, chosen.Names)
	if err != nil {
		return err
	}
	missing = append(chosen.Excluded, missing...)
	if err := fleet.NoneScanned(nodes, missing); err != nil {
		return err
	}
	// Where the validity in the cluster's configuration cannot be read, the default is used.
	o.policy.Lifetime, _ = c.api.DefaultValidity(ctx)
	known := make([]renewal.Node, 0, len(nodes))
	for i := range nodes {
		known = append(known, renewalNode(&nodes[i], all))
	}
	hasKey := func(authority string) bool {
		return slices.ContainsFunc(known, func(n renewal.Node) bool { return n.HasKeyOf(authority) })
	}
	for i := range nodes {
		n := known[i].WithSigners(hasKey)
		for _, p := range renewal.Outlook(o.when, &o.policy, &n) {
			report.Items = append(report.Items, policyProspect(p, o.when))
		}
		for _, x := range nodes[i].NotInspected {
			missing = append(missing, plan.NotInspectedOn(nodes[i].Name, x))
		}
	}
	sortProspects(report.Items)
	report.NotInspected = printers.ListNotInspected(nodes, missing, printers.ListOptions{Whole: true, Managed: chosen.Managed})
	return nil
}

// neededAuthority is the id of the CA whose key is all that a certificate's node lacks to renew
// it, or "".
func neededAuthority(n *inventory.Node, c inventory.Certificate) string {
	if plan.NeedsSignerOnly(n, c) {
		return c.Issuer.Authority
	}
	return ""
}

// renewalNode converts a node's inventory for the decisions of the policy.
func renewalNode(n *inventory.Node, all []kubenode.Node) renewal.Node {
	out := renewal.Node{Name: n.Name}
	for _, known := range all {
		if known.Name == n.Name {
			out.Labels = known.Labels
			out.ControlPlane = known.ControlPlane
		}
	}
	for _, c := range n.Certificates {
		obstacle := plan.ObstacleTo(n, c)
		known := renewal.CertificateOf(c)
		known.NotRenewable = obstacle.Reason
		known.MaxRestart = obstacle.MaxRestart
		known.KeptKey = plan.KeptKey(n, c)
		known.Authority = neededAuthority(n, c)
		out.Certificates = append(out.Certificates, known)
	}
	for _, a := range n.Authorities {
		if !a.Renewed { // else no certificate depends on it
			out.Authorities = append(out.Authorities, renewal.AuthorityOf(a))
		}
	}
	return out
}
