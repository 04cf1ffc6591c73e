// Command rotate-certs-watcher sees to it that no certificate of a cluster expires.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/watcher"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", hint.TextOf(err))
		os.Exit(1)
	}
}

// garbage is how much of it there may be before it is collected, in percent of what is in
// use. The watcher holds all that agents report and does little with it: memory is dearer
// than the time to collect. GOGC says otherwise.
const garbage = 50

func newCommand(stdout, stderr io.Writer) *cobra.Command {
	var f watchFlags
	root := &cobra.Command{
		Use:   "rotate-certs-watcher",
		Short: "See to it that no certificate of a Kubernetes cluster expires",
		Long: `See to it that no certificate of a Kubernetes cluster expires: watch what the agents
report, publish it as events, and rotate what is due or compromised, under a policy.

It runs in the cluster ("kubectl rotate-certs install") or beside it, with --kubeconfig.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.complete(stderr); err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(garbage)
			}
			return watcher.Run(cmd.Context(), f.Options)
		},
	}
	f.addTo(root)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(stdout, version.String())
			return err
		},
	})
	return root
}
