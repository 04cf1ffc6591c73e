package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// unmarkOptions are the flags of `unmark`.
type unmarkOptions struct {
	*app
	*connectionFlags

	all    bool
	dryRun string

	names []string
	conn  connection
}

func (a *app) unmarkCommand(flags *connectionFlags) *cobra.Command {
	o := &unmarkOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   "unmark NAME… | --all",
		Short: "Take marks of compromised keys back",
		Long: `Take marks back: keys that turned out to be safe, or that have been replaced. A rotation
that a mark has started already goes on; a certificate is not trusted less for having
been marked.`,
		Example: `  kubectl get compromisedcertificates
  kubectl rotate-certs unmark kube-apiserver-x7k2p`,
		ValidArgsFunction: a.completeMarks(flags),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			if err := o.Complete(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	plain(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.all, "all", false, "All marks")
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" lists the marks; "server" also has the API server judge it`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	complete(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete turns flags into values.
func (o *unmarkOptions) Complete() error {
	switch {
	case o.all && len(o.names) > 0:
		return errors.New("--all and names exclude each other")
	case !o.all && len(o.names) == 0:
		return errors.New("say which marks: NAME… or --all\nsee: kubectl get compromisedcertificates")
	case !oneOf(dryRuns, o.dryRun):
		return fmt.Errorf("unknown --dry-run %q\nwant one of: %s", o.dryRun, strings.Join(dryRuns, ", "))
	}
	for i, name := range o.names {
		// As "mark-compromised -o name" prints it.
		if _, after, has := strings.Cut(name, "/"); has {
			o.names[i] = after
		}
		if !validName(o.names[i]) {
			return fmt.Errorf("mark %q: no name of an object", name)
		}
	}
	var err error
	o.conn, err = o.connection()
	return err
}

// Run removes the marks.
func (o *unmarkOptions) Run(ctx context.Context) error {
	api, err := openObjects(o.conn)
	if err != nil {
		return err
	}
	marks := map[string]*v1alpha1.CompromisedCertificate{}
	var order []string
	err = eachOf(ctx, api, marksResource, func(m *v1alpha1.CompromisedCertificate) {
		marks[m.Name] = m
		order = append(order, m.Name)
	})
	if noSuchKind(err) {
		return errors.New("the watcher is not installed in this cluster, so there are no marks")
	}
	if err != nil {
		return err
	}
	if !o.all {
		order = o.names
	}
	for _, name := range order {
		if marks[name] == nil {
			return fmt.Errorf("no mark %q\nsee: kubectl get compromisedcertificates", name)
		}
	}
	if len(order) == 0 {
		note(o.ErrOut, "There are no marks.")
		return nil
	}
	dry := ""
	options := metav1.DeleteOptions{}
	if dryRun(o.dryRun) != dryRunNone {
		dry, options.DryRun = " (dry run)", []string{metav1.DryRunAll}
	}
	for _, name := range order {
		if dryRun(o.dryRun) != dryRunClient {
			uid := marks[name].UID
			options.Preconditions = &metav1.Preconditions{UID: &uid}
			if err := api.resource(marksResource, "").Delete(ctx, name, options); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("remove mark %q: %w", name, err)
			}
		}
		fmt.Fprintf(o.Out, "compromisedcertificate.%s/%s removed%s\n", v1alpha1.GroupVersion.Group, name, dry)
		if conditionOf(marks[name].Status.Conditions, v1alpha1.ConditionReplaced) != metav1.ConditionTrue {
			note(o.ErrOut, fmt.Sprintf("%s: its keys have not been replaced, and now will not be.", name))
		}
	}
	return nil
}

func conditionOf(conditions []metav1.Condition, kind string) metav1.ConditionStatus {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// completeMarks completes the names of marks; silently nothing where none can be asked for.
func (a *app) completeMarks(flags *connectionFlags) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		conn, err := flags.connection()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		api, err := openObjects(conn)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		var names []string
		_ = eachOf(ctx, api, marksResource, func(m *v1alpha1.CompromisedCertificate) { // no answer: nothing to offer
			if strings.HasPrefix(m.Name, toComplete) && !oneOf(given, m.Name) {
				names = append(names, m.Name)
			}
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
