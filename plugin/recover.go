package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

const recoverName = "recover"

// recoverOptions are the flags of recover: those of a rotation, and the hosts.
type recoverOptions struct{ rotateOptions }

func (a *app) recoverCommand(flags *connectionFlags) *cobra.Command {
	o := &recoverOptions{rotateOptions: rotateOptions{app: a, connectionFlags: flags, dryRun: string(dryRunNone), restart: string(plan.RestartAlways), unavailable: "100%", all: true}}
	cmd := &cobra.Command{
		Use:   recoverName + " --host HOST[,…]",
		Short: "Bring a cluster back whose certificates have expired, over ssh, without its API",
		Long: `Bring a cluster back whose certificates have expired. It needs no API server: it reaches the
machines over ssh, as you do, and runs rotate-certs-node there as root. Name all control-plane
nodes, hosts of an external etcd included, and the workers.

It renews what has expired (and, on the same nodes, what expires soon): on all control-plane
nodes that do not answer at the same time, since etcd members with expired certificates refuse
each other; then the workers. It ends when every node is Ready. A node without an expired
certificate is not changed. An expired CA cannot be renewed: its certificates are left out.

Run the same command again if it was interrupted: it completes what was begun. Where the API
server answers, it takes the lock as a rotation does.`,
		Example: `  # What has expired, and what would be done?
  kubectl rotate-certs recover --host root@cp1,root@cp2,root@cp3,root@w1 --plan

  # Do it
  kubectl rotate-certs recover --host root@cp1,root@cp2,root@cp3,root@w1`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.completeRecovery(); err != nil {
				return err
			}
			return o.recoverCluster(cmd.Context())
		},
	}
	f := cmd.Flags()
	o.addHostFlags(cmd)
	f.BoolVar(&o.planOnly, "plan", false, "Scan the machines and print what would be done; nothing is renewed")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	// A component waits for those of other nodes, and for a kubelet that has just come up.
	o.timeout = durationFlag(4 * time.Minute)
	f.Var(&o.timeout, "component-timeout", "How long a component may take to become healthy")
	f.BoolVar(&o.requireAll, "require-all", false, "Change nothing where an expired certificate cannot be renewed, instead of leaving it out")
	f.BoolVar(&o.force, "force", false, "Proceed even if the clocks of the machines differ, the control plane cannot come back, or etcd's data cannot be copied")
	f.BoolVar(&o.takeOver, "take-over", false, "Take the lock at once from a rotation whose process was killed or that you have ended")
	f.StringVarP(&o.output, "output", "o", "", printers.FormatUsage)
	completeFlag(cmd, "output", cobra.FixedCompletions(printers.Formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *recoverOptions) completeRecovery() (err error) {
	o.request = plan.Request{Services: certs.Services(), Restart: plan.RestartAlways, MaxUnavailable: o.unavailable, Recover: true, RequireAll: o.requireAll}
	o.format, err = printers.ParseFormat(o.output)
	return err
}

// clusterToRecover is the cluster of some hosts, with the lock of the kubeconfig's cluster where its
// API server answers.
func (o *recoverOptions) clusterToRecover(ctx context.Context, hosts *ssh.Hosts) (*cluster, error) {
	c := clusterOfHosts(hosts)
	if o.planOnly {
		return c, nil
	}
	report := func(why error) { o.printLine(withoutLock(why)) }
	conn, err := o.newConnection()
	if err != nil {
		report(err)
		return c, nil
	}
	conn.takeOver = o.takeOver
	answering, err := o.answeringCluster(ctx, conn, hosts)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		report(err)
	default:
		// An expired Lease is observed for a shorter time before it is taken.
		c.Locker = recoveryLocker{api: answering.Locker, nodes: hosts, report: report, timeout: 40 * time.Second}
		c.held = answering.held
	}
	return c, nil
}

// recoverCluster connects to the hosts, completes or undoes what was interrupted there, plans,
// asks and recovers.
func (o *recoverOptions) recoverCluster(ctx context.Context) error {
	hosts, disconnect, err := o.connectHosts(ctx, &o.hostFlags, o.connectionFlags)
	if err != nil {
		return err
	}
	defer disconnect()
	c, err := o.clusterToRecover(ctx, hosts)
	if err != nil {
		return err
	}
	if c.held != nil {
		if err := c.held(ctx); err != nil {
			return o.reportHeld(err)
		}
	}
	o.dial = func(connection) (*cluster, error) { return c, nil }
	var report *v1alpha1.RotationReport
	o.rotate = func(ctx context.Context, c fleet.Cluster, options fleet.Options) (*v1alpha1.RotationReport, error) {
		var err error
		report, err = fleet.Recover(ctx, c, options)
		return report, err
	}
	if open := hosts.Unsettled(); len(open) > 0 && !o.planOnly && o.terminal.in && !o.yes &&
		!o.askConfirmation(ctx, fmt.Sprintf("A rotation was interrupted, or is in progress, on %s. Complete or undo it first?", strings.Join(open, ", "))) {
		return errDeclined
	}
	if !o.planOnly {
		// What cannot be verified yet is verified in the end: members of etcd need each other.
		settled, err := hosts.SettleInterrupted(ctx)
		var later *ssh.UnverifiedError
		if err != nil && !errors.As(err, &later) {
			return err
		}
		if settled {
			printers.PrintNotes(o.ErrOut, "Completed or undid what an interrupted rotation had left.")
		}
	}
	err = o.Run(ctx)
	if errors.Is(err, plan.ErrNothing) {
		if err = refuseUnknownExpiry(ctx, hosts, o.force); err == nil {
			printers.PrintNotes(o.ErrOut, "No certificate of these hosts has expired; nothing was changed.")
		}
	}
	if err != nil && !errors.Is(err, errLeftOut) || o.planOnly {
		return err
	}
	var unverified *ssh.UnverifiedError
	switch _, unsettled := hosts.SettleInterrupted(ctx); {
	case errors.As(unsettled, &unverified):
		return unsettled
	case unsettled != nil: // what was to be done is done and verified
		o.printLine(fmt.Sprintf("warning: the hosts could not be asked again whether all is verified: %v", unsettled))
	}
	printers.PrintNotes(o.ErrOut, "Your own kubeconfig may have expired, too: copy "+administratorKubeconfig(report)+".")
	return err
}

// administratorKubeconfig says where a kubeconfig of an administrator is that the recovery renewed.
func administratorKubeconfig(report *v1alpha1.RotationReport) string {
	if report != nil {
		for _, item := range report.Items {
			for _, c := range item.Certificates {
				if item.Service == certs.Admin && c.New != nil {
					return c.Path + " from " + item.Node
				}
			}
		}
	}
	return "the one of the administrator (kubeadm: /etc/kubernetes/admin.conf) from a control-plane node"
}
