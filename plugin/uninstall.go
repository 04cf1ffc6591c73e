package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// uninstallOptions are the flags of `uninstall`.
type uninstallOptions struct {
	*app
	installFlags

	dryRun     string
	keepPolicy bool
	force      bool
	yes        bool
	timeout    durationFlag

	conn connection
}

func (a *app) uninstallCommand(flags *connectionFlags) *cobra.Command {
	o := &uninstallOptions{app: a, installFlags: installFlags{connectionFlags: flags}, timeout: durationFlag(7 * time.Minute)}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the installation and its custom resources",
		Long: `Remove what "` + displayName + ` install" created: watcher, agents, roles, admission policies,
the definitions with all NodeCertificateReports, CompromisedCertificates,
CertificateRotations and the RotationPolicy, node pods, the lock, and the namespace if install
created it and it holds nothing else. Waits until all of it is deleted, and then checks every
kind of the API server once.

Certificates stay as they are, and so do the journals on the nodes. On a terminal it asks
before it deletes anything. Elsewhere it needs --yes where there are CompromisedCertificates
or a RotationPolicy other than the default, since these cannot be restored.`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Complete(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" lists what would be removed; "server" also has the API server admit it`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	f.BoolVar(&o.keepPolicy, "keep-policy", false, "Keep the RotationPolicy and its definition")
	f.BoolVar(&o.force, "force", false, "Proceed even if a rotation is in progress: its node finishes or rolls back")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	o.addNamespace(f, "", "Namespace of the installation (default: wherever it is)")
	f.VarP(&o.timeout, "timeout", "", "How long to wait until everything is deleted")
	completeFlag(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete parses the flags.
func (o *uninstallOptions) Complete() error {
	if !slices.Contains(dryRuns, o.dryRun) {
		return hint.AddTo(fmt.Errorf("unknown --dry-run %q", o.dryRun), "want one of %s", strings.Join(dryRuns, ", "))
	}
	var err error
	o.conn, err = o.newConnection()
	return err
}

// Run removes everything, in an order in which no component recreates it.
func (o *uninstallOptions) Run(ctx context.Context) error {
	began := o.now()
	api, err := openObjects(o.conn)
	if err != nil {
		return err
	}
	if err := o.locateInstallation(ctx, api); err != nil {
		return err
	}
	if err := api.checkPermitted(ctx, "uninstall", uninstallAccess(o.targetNamespace())); err != nil {
		return err
	}
	if err := o.refuseRunning(ctx, api, o.now(), o.force); err != nil {
		return err
	}
	r := &removal{uninstallOptions: o, api: api}
	if err := r.findObjects(ctx); err != nil {
		return err
	}
	if r.isEmpty() {
		printers.PrintNotes(o.ErrOut, "Nothing of rotate-certs is installed in this cluster.")
		return nil
	}
	if dryRun(o.dryRun) != dryRunNone {
		return r.showRemoval(ctx)
	}
	if err := r.confirmRemoval(ctx); err != nil {
		return err
	}
	if err := r.removeAll(ctx); err != nil {
		return hint.AddTo(err, "some objects may be left, run it again: %s", o.sameCommand("uninstall"))
	}
	kept := ""
	if len(r.kept) > 0 {
		kept = "Kept: " + strings.Join(r.kept, "; ")
	}
	printers.PrintNotes(o.ErrOut, kept, fmt.Sprintf("Done in %s: %s removed, none is left. No certificate was changed, and none is renewed automatically from now on.",
		printers.ElapsedTime(o.now().Sub(began)), printers.CountOf(r.removed, "object")))
	return nil
}

// confirmRemoval asks before custom resources are deleted with their definitions. A script is not
// asked, but needs --yes for CompromisedCertificates and for a RotationPolicy of its own.
func (r *removal) confirmRemoval(ctx context.Context) error {
	what := strings.Join(r.customWords(), ", ")
	compromised := slices.ContainsFunc(r.custom, func(t thing) bool { return t.resource == compromisedResource })
	switch {
	case r.yes:
		return nil
	case r.terminal.in:
		question := "This removes rotate-certs from the cluster."
		if what != "" {
			question = "This removes rotate-certs from the cluster, and deletes " + what + "."
		}
		if !r.askConfirmation(ctx, question+" Continue?") {
			return errDeclined
		}
	case compromised:
		return hint.AddTo(fmt.Errorf("uninstall deletes %s", what),
			"--yes deletes the CompromisedCertificates too; to keep them: kubectl get compromisedcertificates -o yaml")
	case r.written:
		return hint.AddTo(fmt.Errorf("uninstall deletes %s", what), "--yes deletes the RotationPolicy too, --keep-policy keeps it")
	}
	return nil
}

func (o *uninstallOptions) locateInstallation(ctx context.Context, api *objects) error {
	found, err := api.findInstallation(ctx, "") // objects are removed in every namespace, too
	if err != nil {
		return err
	}
	if err := found.refuseManaged(); err != nil {
		return err
	}
	if found == nil {
		return nil
	}
	if o.where != "" && o.where != found.namespace {
		return hint.AddTo(fmt.Errorf("rotate-certs is installed in namespace %q, not in %q", found.namespace, o.where), "leave --namespace out")
	}
	if found.namespace != manifests.DefaultNamespace {
		o.where = found.namespace
	}
	return nil
}

// refuseRunning refuses to replace or remove the watcher while a rotation is in progress.
func (f *installFlags) refuseRunning(ctx context.Context, api *objects, now time.Time, force bool) error {
	if force {
		return nil
	}
	who, err := api.runningRotation(ctx, now)
	if err != nil || who == "" {
		return err
	}
	return hint.AddTo(fmt.Errorf("a rotation is in progress: %s", who),
		"wait until it has ended (%s), or add --force: its node then finishes or rolls back first", f.connectionFlags.commandLine()+" status")
}

// uninstallAccess are the permissions that uninstall needs.
func uninstallAccess(namespace string) []kube.Access {
	out := []kube.Access{
		{Verb: "list", Resource: "pods", Why: "find node pods"}, {Verb: "delete", Resource: "pods", Why: "end node pods"},
		{Verb: "delete", Group: "coordination.k8s.io", Resource: "leases", Namespace: kube.LeaseNamespace, Why: "remove the lock"},
		{Verb: "get", Group: "coordination.k8s.io", Resource: "leases", Namespace: namespace, Why: "find the watcher's lease"},
		{Verb: "delete", Group: "coordination.k8s.io", Resource: "leases", Namespace: namespace, Why: "remove the watcher's lease"},
	}
	for _, k := range manifests.Kinds() {
		for _, verb := range []string{"list", "delete"} {
			out = append(out, kube.Access{Verb: verb, Group: k.Group, Resource: k.Resource, Why: "remove " + printers.PluralOf(k.Kind)})
		}
	}
	return out
}
