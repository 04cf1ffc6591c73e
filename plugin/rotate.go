package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// dryRun says how far a rotation goes.
type dryRun string

const (
	dryRunNone   dryRun = "none"
	dryRunClient dryRun = "client" // plans from NodeCertificateReports; creates nothing
	dryRunServer dryRun = "server" // scans, and has the API server admit every node pod
)

var dryRuns = []string{string(dryRunNone), string(dryRunClient), string(dryRunServer)}

type durationFlag = certs.DurationFlag

// rotateOptions are the flags of a rotation and of plan, and the values that Complete derives
// from them.
type rotateOptions struct {
	*app
	*connectionFlags
	nodeFlags
	transportFlags

	services    []string
	all         bool
	dryRun      string
	restart     string
	unavailable string
	validity    durationFlag
	allowShort  bool
	timeout     durationFlag
	pause       durationFlag
	interactive bool
	takeOver    bool
	force       bool
	compromised bool
	requireAll  bool
	findSecrets bool
	output      string

	yes      bool
	planOnly bool
	// withoutLock is set where the API server cannot be asked, so that there is no lock.
	withoutLock bool
	// onlyPlanned refuses a plan that has to be made anew and then differs.
	onlyPlanned bool
	// rollbackOf is the rotation to roll back; empty: certificates are renewed.
	rollbackOf string

	request plan.Request
	format  printers.Format
	conn    connection
	// rotate carries the rotation out; nil: fleet.Rotate.
	rotate func(context.Context, fleet.Cluster, fleet.Options) (*v1alpha1.RotationReport, error)
}

// addFlags adds the flags that a rotation and its plan share.
func (o *rotateOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.services, "service", nil, "Services whose certificates to renew, separated by commas")
	f.BoolVar(&o.all, "all", false, "All services")
	o.addNodeFlags(cmd, "Only on these nodes (default: every node)", o.completeNodes(o.connectionFlags))
	o.addRestartFlags(cmd)
	f.Var(&o.validity, "validity", "Validity of the new certificates, such as 90d (default: that of the cluster's kubeadm configuration, else that of the old certificate)")
	f.BoolVar(&o.allowShort, "allow-short-validity", false, "Allow a --validity of less than a day")
	o.addHealthFlags(cmd)
	f.BoolVar(&o.compromised, "compromised", false, "The old keys are compromised: sign with the CA's key instead of a node's identity, and destroy the old keys after the verification")
	f.BoolVar(&o.requireAll, "require-all", false, "Change nothing where a certificate in scope cannot be renewed, instead of leaving it out")
	f.BoolVar(&o.findSecrets, "find-secrets", false, "Also list Secrets that hold a copy of a certificate in scope; needs the permission to list Secrets")
	o.addOutputFlags(cmd)
	completeFlag(cmd, "service", completeServices)
}

func (o *rotateOptions) addRestartFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.restart, "restart", string(plan.RestartAlways), `When to restart components: "always", "if-needed" (those that do not re-read their files) or "never"`)
	f.StringVar(&o.unavailable, "max-unavailable", plan.DefaultMaxUnavailable, "Workers in progress at the same time, a number or a percentage")
	completeFlag(cmd, "restart", cobra.FixedCompletions(plan.RestartPolicies(), cobra.ShellCompDirectiveNoFileComp))
}

func (o *rotateOptions) addHealthFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.timeout = durationFlag(time.Minute)
	f.Var(&o.timeout, "component-timeout", "How long a component may take to become healthy")
	f.Var(&o.pause, "pause", "How long to wait between two control-plane nodes, for load balancers that detect an API server late")
	f.BoolVar(&o.force, "force", false, "Proceed even if cluster health checks fail at the start; the report names those that failed")
}

func (o *rotateOptions) addOutputFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", printers.FormatUsage)
	o.addPodFlags(f)
	o.addTransportFlags(cmd)
	completeFlag(cmd, "output", cobra.FixedCompletions(printers.Formats, cobra.ShellCompDirectiveNoFileComp))
}

// addRunFlags adds the flags that only a rotation has.
func (o *rotateOptions) addRunFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" creates nothing, and plans from NodeCertificateReports; "server" scans, and has the API server admit every node pod`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	f.BoolVar(&o.interactive, "interactive", false, "Ask before anything is changed")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask, also with --all on a terminal; needed without one where a rotation over ssh takes no lock")
	f.BoolVar(&o.takeOver, "take-over", false, "Take the lock at once from a rotation whose process was killed or that you have ended")
	completeFlag(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
}

// runCommand runs a rotation or a plan.
func (o *rotateOptions) runCommand(cmd *cobra.Command, _ []string) error {
	if err := o.Complete(cmd); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	return o.Run(cmd.Context())
}

// Complete parses the flags into typed values.
func (o *rotateOptions) Complete(cmd *cobra.Command) error {
	if err := o.validateNodes(cmd); err != nil {
		return err
	}
	if err := o.validateTransport(cmd); err != nil {
		return err
	}
	if err := o.completeRequest(); err != nil {
		return err
	}
	var err error
	if o.format, err = printers.ParseFormat(o.output); err != nil {
		return err
	}
	o.conn, err = o.newConnection()
	o.conn.takeOver = o.takeOver
	return err
}

// completeRequest makes the request of the flags.
func (o *rotateOptions) completeRequest() error {
	restart, err := plan.ParseRestartPolicy(o.restart)
	if err != nil {
		return fmt.Errorf("--restart: %w", err)
	}
	o.request = plan.Request{
		Nodes: o.nodes, NodeSelector: o.selector, Restart: restart,
		Validity: time.Duration(o.validity), AllowShortValidity: o.allowShort, MaxUnavailable: o.unavailable, Compromised: o.compromised, RequireAll: o.requireAll,
	}
	if o.request.RollbackOf = o.rollbackOf; o.all || o.rollbackOf != "" {
		o.request.Services = certs.Services()
		return nil
	}
	o.request.Services, err = certs.ParseServices(o.services)
	return err
}

// Validate refuses invalid values, without a request to the cluster.
func (o *rotateOptions) Validate() error {
	switch {
	case dryRun(o.dryRun) == dryRunClient && o.rollbackOf != "":
		return hint.AddTo(errors.New("--dry-run=client cannot judge a rollback: only the nodes know what they keep"),
			"--dry-run=server scans the nodes, and changes nothing")
	case dryRun(o.dryRun) == dryRunClient && (o.compromised || o.requireAll || o.findSecrets || o.force):
		return hint.AddTo(errors.New("--dry-run=client does not judge --compromised, --require-all, --find-secrets and --force"),
			"kubectl rotate-certs plan does, with a scan")
	case dryRun(o.dryRun) == dryRunClient && o.overSSH():
		return hint.AddTo(errors.New("--dry-run=client and --transport ssh exclude each other: it scans no node"),
			displayName+" plan scans the nodes over ssh, and changes nothing")
	case o.all && len(o.services) > 0:
		return hint.AddTo(errors.New("--all and --service exclude each other"), "give one of them")
	case len(o.request.Services) == 0:
		return hint.AddTo(errors.New("no service is named"), "--service NAME[,NAME…] or --all, of %s", printers.JoinServices(certs.Services(), ", "))
	case !slices.Contains(dryRuns, o.dryRun):
		return hint.AddTo(fmt.Errorf("unknown --dry-run %q", o.dryRun), "want one of %s", strings.Join(dryRuns, ", "))
	case o.request.CheckValidity() != nil:
		return hint.AddTo(fmt.Errorf("--%w", o.request.CheckValidity()),
			"days are written as 90d; --allow-short-validity allows %s and more", certs.FormatDuration(plan.LeastValidity))
	case o.compromised && o.request.Restart == plan.RestartNever:
		return hint.AddTo(errors.New("--compromised and --restart=never exclude each other: a component that is not restarted keeps its old key"),
			"leave --restart out, or give --restart=if-needed")
	case o.interactive && !o.terminal.in:
		return hint.AddTo(errors.New("--interactive needs a terminal"), displayName+" plan prints what would be done")
	case o.interactive && o.yes:
		return hint.AddTo(errors.New("--interactive and --yes exclude each other"), "give one of them")
	}
	return plan.ValidateMaxUnavailable(o.unavailable)
}

// trimmedList drops blanks and repetitions from a list that was separated by commas.
func trimmedList(in []string) []string {
	var out []string
	for _, s := range in {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
