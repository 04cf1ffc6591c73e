package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// byHand holds the flags of "rotate".
type byHand struct {
	services   []string
	all        bool
	validity   validity
	allowShort bool
	timeout    time.Duration
	restart    string
	output     output
	strict     bool
}

func (p *program) rotateCommand() *cobra.Command {
	var f byHand
	cmd := &cobra.Command{
		Use:   "rotate --service NAME[,NAME…] | --all",
		Short: "Renew certificates of only this node, by hand",
		Long: `Renew certificates of only this node, by hand, as root on the node.

It renews, verifies and rolls back as "kubectl rotate-certs" does, but it does not check
the other nodes: make sure that etcd keeps its quorum without this one.

A commit that has begun is completed or rolled back, even if the terminal's connection
breaks. If the old certificates have expired, the new ones stay in place even if a component
does not become healthy, as one of several expired etcd members cannot (exit code 5): run
the same command on the other control-plane nodes, then "rotate-certs-node recover" here.`,
		Example: `  rotate-certs-node rotate --all
  rotate-certs-node rotate --service etcd,kube-apiserver --validity 90d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.planRequest()
			if err != nil {
				return err
			}
			engine, closeEngine := p.newEngine()
			defer closeEngine()
			if engine.Records, err = f.output.recordWriter(p.stdout); err != nil {
				return err
			}
			engine.Alone = true
			engine.Timeout = f.timeout
			engine.LeftOut = p.printLeftOut
			err = engine.RotateByHand(cmd.Context(), req)
			if errors.Is(err, plan.ErrNothing) {
				fmt.Fprintln(p.stderr, "nothing to do: these services have no certificate on this node")
				return nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.services, "service", nil, "services whose certificates to renew")
	flags.BoolVar(&f.all, "all", false, "all services")
	flags.Var(&f.validity, "validity", "lifetime of the new certificates, e.g. 90d (default: that of the old ones; never beyond their CA)")
	flags.BoolVar(&f.allowShort, "allow-short-validity", false, "accept a --validity of less than a day")
	flags.DurationVar(&f.timeout, "component-timeout", rotate.DefaultTimeout, "how long a component may take to become healthy, in addition to its supervisor's pauses")
	flags.StringVar(&f.restart, "restart", string(plan.RestartAlways), "always, if-needed, or never")
	flags.BoolVar(&f.strict, "require-all", false, "change nothing if a certificate cannot be renewed, instead of leaving it out")
	f.output.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("service", "all")
	return cmd
}

// planRequest returns the request of the flags.
func (f *byHand) planRequest() (req plan.Request, err error) {
	if f.all {
		req.Services = certs.Services()
	} else if req.Services, err = certs.ParseServices(f.services); err != nil {
		return req, err
	}
	if len(req.Services) == 0 {
		return req, errors.New("name the services: --service NAME, or --all")
	}
	if req.Restart, err = plan.ParseRestartPolicy(f.restart); err != nil {
		return req, fmt.Errorf("--restart: %w", err)
	}
	if f.timeout < time.Second {
		return req, fmt.Errorf("--component-timeout %s: want at least one second", f.timeout)
	}
	req.Validity = time.Duration(f.validity)
	req.AllowShortValidity = f.allowShort
	req.RequireAll = f.strict
	if err := req.CheckValidity(); err != nil {
		return req, fmt.Errorf("--%w\nhint: days are written as 90d; --allow-short-validity allows less than a day", err)
	}
	return req, nil
}

// printLeftOut lists the certificates that a rotation by hand does not renew, with the reason.
func (p *program) printLeftOut(left []plan.LeftOut) {
	for _, l := range left {
		expires := ""
		if !l.NotAfter.IsZero() {
			expires = ", expires " + l.NotAfter.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(p.stderr, "left out: %s %q%s: %s\n", l.Name, l.Path, expires, l.Reason)
	}
}
