package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

const (
	// programName is what an operator types, for next steps.
	programName = "rotate-certs-node"
	checkName   = "check"
)

// errAttention makes a check exit with [exitcode.Attention]; the output has said why.
var errAttention = errors.New("certificates need attention")

// checkFlags are the flags of "check".
type checkFlags struct {
	services []string
	within   certs.DurationFlag
	output   string
}

func (p *program) checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   checkName,
		Short: "Show every certificate of this node, and what needs attention; changes nothing",
		Long: `Show every certificate of this node, as "kubectl rotate-certs check" shows those of all nodes:
its expiry, its CA, and whether the certificate on disk is the one that is served.

Exit codes:
  0    nothing needs attention
  1    a certificate or CA has expired, expires soon, is invalid or is not the one that is
       served, or something could not be inspected
  2    wrong usage, or not run as root
  130  interrupted`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := certs.ParseServices(f.services)
			if err != nil {
				return err
			}
			if err := refuseUser(p.root, os.Geteuid()); err != nil {
				return err
			}
			format, err := printers.ParseFormat(f.output)
			if err != nil {
				return err
			}
			return p.checkNode(cmd.Context(), format, printers.ListOptions{Services: wanted, Within: time.Duration(f.within)})
		},
	}
	flags := cmd.Flags()
	flags.Var(&f.within, "within", "time before its expiry from which a certificate needs attention, e.g. 90d (default: 30d, or a fifth of a shorter validity)")
	flags.StringSliceVar(&f.services, "service", nil, "only these services")
	addFormat(cmd, &f.output)
	return cmd
}

func addFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "", printers.FormatUsage)
}

// refuseUser refuses to judge a host as another user than root: certificates would be missing
// that only root can read.
func refuseUser(root string, uid int) error {
	if root != "/" || uid == 0 {
		return nil
	}
	return hint.AddTo(errors.New("check this node: only root can read all certificates"), "sudo "+programName+" "+checkName)
}

// checkNode prints the node's certificates and returns errAttention if one needs it.
func (p *program) checkNode(ctx context.Context, format printers.Format, o printers.ListOptions) error {
	node := p.scanNode(ctx, true)
	if err := ctx.Err(); err != nil {
		return err
	}
	o.Now = time.Now()
	list := printers.ListCertificates([]inventory.Node{node}, nil, o)
	if err := printers.PrintCertificates(p.stdout, format, list, o.Now); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	printers.PrintNotes(p.stderr, printers.CheckHints(list, o.Now)...)
	printers.PrintNotes(p.stderr, printers.CheckVerdict(list, programName+" rotate", nil, o.Now))
	if printers.NeedsAttention(list) {
		return errAttention
	}
	return nil
}
