package plugin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// dryRun says how far a rotation goes.
type dryRun string

const (
	dryRunNone   dryRun = "none"
	dryRunClient dryRun = "client" // looks at the nodes and prints the plan
	dryRunServer dryRun = "server" // also has the API server judge every node pod
)

var dryRuns = []string{string(dryRunNone), string(dryRunClient), string(dryRunServer)}

// rotateOptions are the flags of a rotation, and what Complete makes of them.
type rotateOptions struct {
	*app
	*connectionFlags
	nodeFlags

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
	force       bool
	compromised bool
	requireAll  bool
	findSecrets bool
	output      string

	request plan.Request
	format  format
	conn    connection
}

func (o *rotateOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.services, "service", nil, "Services to rotate, separated by commas")
	f.BoolVar(&o.all, "all", false, "Rotate every service")
	o.addNodeFlags(cmd, "Only on these nodes; without it, on every node", o.completeNodes(o.connectionFlags))
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" looks at the nodes and prints the plan; "server" also has every node pod judged by the API server`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	f.StringVar(&o.restart, "restart", string(plan.RestartAlways), `When to restart components: "always", "if-needed" (what does not read its files again) or "never"`)
	f.StringVar(&o.unavailable, "max-unavailable", plan.DefaultMaxUnavailable, "How many workers may be worked on at a time, a number or a percentage")
	f.Var(&o.validity, "validity", "Lifetime of the new certificates, such as 90d (default: as the cluster's kubeadm configuration says, else 365d)")
	f.BoolVar(&o.allowShort, "allow-short-validity", false, "Take a --validity of less than a day, after which everything that was renewed expires at once")
	o.timeout = durationFlag(time.Minute)
	f.Var(&o.timeout, "timeout", "How long a component may take to become healthy")
	f.Var(&o.pause, "pause", "How long to wait between two control-plane nodes, for load balancers that take an API server back late")
	f.BoolVar(&o.interactive, "interactive", false, "Ask before anything is changed")
	f.BoolVar(&o.force, "force", false, "Go on in spite of a sick cluster; the plan, the progress and the report say of what")
	f.BoolVar(&o.compromised, "compromised", false, "The old keys may be in wrong hands: sign with the CA's key, not through a node's identity, and destroy the old keys after the verification")
	f.BoolVar(&o.requireAll, "require-all", false, "Change nothing where a certificate in scope cannot be renewed, instead of leaving it out")
	f.BoolVar(&o.findSecrets, "find-secrets", false, "Also name Secrets that hold a copy of a certificate in scope; needs the right to list secrets")
	f.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(formats, ", "))
	o.addPodFlags(f)
	complete(cmd, "service", completeServices)
	complete(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "restart", cobra.FixedCompletions(plan.RestartPolicies(), cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// Complete parses the words into typed values.
func (o *rotateOptions) Complete(cmd *cobra.Command) error {
	if err := o.validateNodes(cmd); err != nil {
		return err
	}
	restart, err := plan.ParseRestartPolicy(o.restart)
	if err != nil {
		return fmt.Errorf("--restart: %w", err)
	}
	o.request = plan.Request{
		Nodes: o.nodes, NodeSelector: o.selector, Restart: restart,
		Validity: time.Duration(o.validity), AllowShortValidity: o.allowShort, MaxUnavailable: o.unavailable, Compromised: o.compromised, RequireAll: o.requireAll,
	}
	if o.all {
		o.request.Services = certs.Services()
	} else if o.request.Services, err = certs.ParseServices(o.services); err != nil {
		return err
	}
	if o.format, err = parseFormat(o.output); err != nil {
		return err
	}
	o.conn, err = o.connection()
	return err
}

// Validate refuses what can be refused without asking the cluster.
func (o *rotateOptions) Validate() error {
	switch {
	case o.all && len(o.services) > 0:
		return errors.New("--all and --service exclude each other\ngive one of them")
	case len(o.request.Services) == 0:
		return fmt.Errorf("say what to rotate: --service NAME[,NAME…] or --all\nservices: %s\nlook first: %s check",
			joinServices(certs.Services(), ", "), displayName)
	case !oneOf(dryRuns, o.dryRun):
		return fmt.Errorf("unknown --dry-run %q\nwant one of: %s", o.dryRun, strings.Join(dryRuns, ", "))
	case o.request.CheckValidity() != nil:
		return fmt.Errorf("--%w\nhint: days are written as 90d; --allow-short-validity allows %s and more", o.request.CheckValidity(), certs.FormatDuration(plan.LeastValidity))
	case o.compromised && o.request.Restart == plan.RestartNever:
		return errors.New("--compromised needs restarts: what keeps running keeps the old key\nleave --restart out, or give --restart=if-needed")
	case o.interactive && !o.terminal.in:
		return errors.New("--interactive needs a terminal to ask on\nleave it out, or look with --dry-run=client first")
	}
	return plan.ValidateMaxUnavailable(o.unavailable)
}

func oneOf(allowed []string, value string) bool {
	for _, a := range allowed {
		if a == value {
			return true
		}
	}
	return false
}

// trimmed drops blanks and repetitions from a list that was given by commas.
func trimmed(in []string) []string {
	var out []string
	for _, s := range in {
		if s = strings.TrimSpace(s); s != "" && !oneOf(out, s) {
			out = append(out, s)
		}
	}
	return out
}
