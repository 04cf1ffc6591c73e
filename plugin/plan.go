package plugin

import (
	"github.com/spf13/cobra"
)

const planName = "plan"

// planCommand is a rotation without its end: it scans and prints.
func (a *app) planCommand(flags *connectionFlags) *cobra.Command {
	o := &rotateOptions{app: a, connectionFlags: flags, dryRun: string(dryRunNone), planOnly: true}
	cmd := &cobra.Command{
		Use:   planName,
		Short: "Scan the nodes and print what a rotation would do",
		Long: `Scan the nodes and print what a rotation with the same flags would do: which certificates
it renews, which components restart in which order, what that means for clients, and what
is left out. It creates the read-only pods of the scan, or scans over ssh, and changes nothing
on a node.`,
		Example: `  # What would a rotation of etcd's certificates do?
  kubectl rotate-certs plan --service etcd

  # Every certificate, with its expiry, issuer and path
  kubectl rotate-certs plan --all -o wide`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              o.runCommand,
	}
	o.addFlags(cmd)
	return cmd
}
