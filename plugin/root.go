package plugin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

const (
	// displayName is the command as it is typed; kubectl finds the program by its file's name.
	displayName = "kubectl rotate-certs"
	fileName    = "kubectl-rotate_certs"
	checkName   = "check"
	historyName = "history"
)

// rootCommand builds the tree of commands. The root itself is the rotation.
func (a *app) rootCommand(flags *connectionFlags) *cobra.Command {
	o := &rotateOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   fileName,
		Short: "Renew the certificates of Kubernetes' own components, and verify it",
		Long: `Renew the certificates of Kubernetes' own components on a self-managed cluster, and restart
these components so that they use them: one service, several, or all. The CA stays. One
control-plane node at a time, each verified before the next; a node that cannot be verified
is rolled back, and the rotation stops.

Services: ` + printers.JoinServices(certs.Services(), ", ") + `.
"` + displayName + ` check" lists the certificates on the nodes.

` + exitcode.Help(),
		Example: `  # Which certificates are there, and which expire soon?
  kubectl rotate-certs check

  # What would a rotation do?
  kubectl rotate-certs plan --service etcd

  # Renew etcd's certificates, then everything on two nodes
  kubectl rotate-certs --service etcd
  kubectl rotate-certs --all --node cp1,cp2

  # Without pods, over ssh
  kubectl rotate-certs --service etcd --transport ssh --host root@cp1,root@cp2,root@cp3`,
		Args:              rootArguments,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: displayName},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              o.runCommand,
	}
	silenceCobra(cmd)
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return logRequests(flags.verbosity) }
	cmd.SetIn(a.In)
	cmd.SetOut(a.Out)
	cmd.SetErr(a.ErrOut)
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetUsageFunc(func(c *cobra.Command) error { return printUsage(c, flags.set) })
	cmd.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprintln(c.OutOrStdout(), strings.TrimSpace(c.Long))
		_ = printUsage(c, flags.set) // it writes to a buffer or a terminal
	})
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return hint.AddTo(err, "see %s --help", c.CommandPath())
	})
	cmd.PersistentFlags().AddFlagSet(flags.set)
	o.addFlags(cmd)
	o.addRunFlags(cmd)
	cmd.AddCommand(a.checkCommand(flags), a.planCommand(flags), a.statusCommand(flags), a.historyCommand(flags), a.rollbackCommand(flags), a.versionCommand(flags), a.completionCommand(), optionsCommand(flags),
		a.installCommand(flags), a.uninstallCommand(flags), a.eventsCommand(flags), a.markCompromisedCommand(flags), a.policyCommand(flags), a.recoverCommand(flags), a.dashboardCommand(flags))
	a.completeConnection(cmd, flags)
	keepFlagOrder(cmd)
	return cmd
}

// keepFlagOrder has help texts list the flags of all commands in the order of their declaration:
// important ones first.
func keepFlagOrder(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	for _, sub := range cmd.Commands() {
		keepFlagOrder(sub)
	}
}

// rootArguments refuses arguments, since services are named by a flag, and suggests
// a command or a flag.
func rootArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if services, err := certs.ParseServices(strings.Split(args[0], ",")); err == nil {
		return hint.AddTo(fmt.Errorf("unknown command %q", args[0]), "%s --service %s", displayName, printers.JoinServices(services, ","))
	}
	names := []string{}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	suggestion := ""
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		suggestion = fmt.Sprintf(", did you mean %q?", near[0])
	} else {
		var unknown *certs.UnknownServiceError
		if _, err := certs.ParseServices(args[:1]); errors.As(err, &unknown) && unknown.Nearest != "" {
			suggestion = fmt.Sprintf(", did you mean --service %s?", unknown.Nearest)
		}
	}
	return hint.AddTo(fmt.Errorf("unknown command %q%s", args[0], suggestion), "the commands are %s", strings.Join(names, ", "))
}

// printUsage lists a command's own flags; those of every command are behind "options".
func printUsage(c *cobra.Command, connection *pflag.FlagSet) error {
	w := c.OutOrStdout()
	if c.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	use := c.CommandPath()
	if _, arguments, has := strings.Cut(c.Use, " "); has {
		use += " " + arguments
	}
	fmt.Fprintf(w, "\nUsage:\n  %s [flags]\n", use)
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-17s %s\n", sub.Name(), sub.Short)
			}
		}
	}
	own := pflag.NewFlagSet("own", pflag.ContinueOnError)
	own.SortFlags = false
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if connection.Lookup(f.Name) != f { // a command may have its own flag of that name
			own.AddFlag(f)
		}
	})
	fmt.Fprintf(w, "\nFlags:\n%s", own.FlagUsagesWrapped(helpWidth))
	fmt.Fprintf(w, "\nUse %q for the flags that every command has, such as --context.\n", displayName+" options")
	return nil
}
