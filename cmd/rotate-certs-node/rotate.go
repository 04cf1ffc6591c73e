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

// byHand are the flags of "rotate".
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
		Short: "Renew certificates of this node alone, by hand",
		Long: `Renew certificates of this node alone, by hand, as root on the node.

The same way forth and back as through "kubectl rotate-certs", but nobody looks at the
other nodes: see to it that etcd keeps its quorum without this one.

A commit that has begun goes on to its end, also when the terminal's connection breaks.
Where the old certificates have expired, the new ones stay in place even if a component
does not become healthy, as one of several expired etcd members cannot (exit code 5): run
the same command on the other control-plane nodes, then "rotate-certs-node recover" here.`,
		Example: `  rotate-certs-node rotate --all
  rotate-certs-node rotate --service etcd,kube-apiserver --validity 90d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request()
			if err != nil {
				return err
			}
			engine, closeEngine := p.engine()
			defer closeEngine()
			if engine.Records, err = f.output.records(p.stdout); err != nil {
				return err
			}
			engine.Alone, engine.Timeout = true, f.timeout
			engine.LeftOut = p.leftOut
			err = engine.ByHand(cmd.Context(), req)
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
	flags.Var(&f.validity, "validity", "for how long the new certificates are valid, e.g. 90d (default: as long as the old ones were; never past their CA)")
	flags.BoolVar(&f.allowShort, "allow-short-validity", false, "take a --validity of less than a day")
	flags.DurationVar(&f.timeout, "component-timeout", rotate.DefaultTimeout, "for how long a component may take to become healthy, besides its supervisor's pauses")
	flags.StringVar(&f.restart, "restart", string(plan.RestartAlways), "always, if-needed, or never")
	flags.BoolVar(&f.strict, "require-all", false, "change nothing where a certificate cannot be renewed, instead of leaving it out")
	f.output.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("service", "all")
	return cmd
}

// request is what the flags ask for.
func (f *byHand) request() (req plan.Request, err error) {
	if f.all {
		req.Services = certs.Services()
	} else if req.Services, err = certs.ParseServices(f.services); err != nil {
		return req, err
	}
	if len(req.Services) == 0 {
		return req, errors.New("say which services: --service NAME, or --all")
	}
	if req.Restart, err = plan.ParseRestartPolicy(f.restart); err != nil {
		return req, fmt.Errorf("--restart: %w", err)
	}
	if f.timeout < time.Second {
		return req, fmt.Errorf("--component-timeout %s: want a second at least", f.timeout)
	}
	req.Validity, req.AllowShortValidity, req.RequireAll = time.Duration(f.validity), f.allowShort, f.strict
	if err := req.CheckValidity(); err != nil {
		return req, fmt.Errorf("--%w\nhint: days are written as 90d; --allow-short-validity allows less than a day", err)
	}
	return req, nil
}

// leftOut lists what a rotation by hand does not renew, and why.
func (p *program) leftOut(left []plan.LeftOut) {
	for _, l := range left {
		expires := ""
		if !l.NotAfter.IsZero() {
			expires = ", expires " + l.NotAfter.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(p.stderr, "left out: %s %q%s: %s\n", l.Name, l.Path, expires, l.Reason)
	}
}
