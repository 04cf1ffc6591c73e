package plugin

import (
	"flag"
	"fmt"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

// helpWidth is how many columns help texts use at most.
const helpWidth = 100

// optionsCommand lists the flags that every command has, as "kubectl options" does.
func optionsCommand(flags *connectionFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "options",
		Short: "List the flags that every command has",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "The following flags can be passed to any command:\n\n%s", flags.set.FlagUsagesWrapped(helpWidth))
			return err
		},
	}
	cmd.Long = cmd.Short + "."
	return cmd
}

// logRequests has client-go log its requests from the given level on. Without a level its
// log is discarded: its errors are also returned.
func logRequests(level int) error {
	if level <= 0 {
		klog.SetLogger(logr.Discard())
		return nil
	}
	klog.ClearLogger()
	verbosity := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(verbosity)
	return verbosity.Set("v", strconv.Itoa(level))
}
