package main

import (
	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
)

func (p *program) rollbackCommand() *cobra.Command {
	var f byHand
	cmd := &cobra.Command{
		Use:   "rollback ID",
		Short: "Put the certificates from before a finished rotation back on this node, and verify it",
		Long: `Put the certificates and keys from before a finished rotation back on this node, from the
files that it keeps of its last rotations, as "kubectl rotate-certs rollback" does on all
nodes. It does not check the other nodes: make sure that etcd keeps its quorum without this
one. If the earlier certificates cannot be verified, the present ones are put back.

"rotate-certs-node history" lists the ids.

` + exitcode.Help(),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := f.commonRequest()
			if err != nil {
				return err
			}
			req.Services = certs.Services()
			req.RollbackOf = args[0]
			return p.rotateByHand(cmd.Context(), &f, req)
		},
	}
	f.addFlags(cmd, "put back")
	return cmd
}
