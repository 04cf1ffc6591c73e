package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// byHand holds the flags of "rotate" and "rollback".
type byHand struct {
	services   []string
	all        bool
	validity   certs.DurationFlag
	allowShort bool
	timeout    time.Duration
	restart    string
	output     string
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
the same command on the other control-plane nodes, then "rotate-certs-node recover" here.

Progress goes to standard error, the report to standard output.

` + exitcode.Help(),
		Example: `  rotate-certs-node rotate --all
  rotate-certs-node rotate --service etcd,kube-apiserver --validity 90d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.planRequest()
			if err != nil {
				return err
			}
			err = p.rotateByHand(cmd.Context(), &f, req)
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
	f.addFlags(cmd, "renewed")
	cmd.MarkFlagsMutuallyExclusive("service", "all")
	return cmd
}

// addFlags adds the flags that a rotation and a rollback share; done is the verb for a
// certificate.
func (f *byHand) addFlags(cmd *cobra.Command, done string) {
	flags := cmd.Flags()
	flags.DurationVar(&f.timeout, "component-timeout", nodeapi.ComponentTimeout, "how long a component may take to become healthy, in addition to its supervisor's pauses")
	flags.StringVar(&f.restart, "restart", string(plan.RestartAlways), "always, if-needed, or never")
	flags.BoolVar(&f.strict, "require-all", false, fmt.Sprintf("change nothing if a certificate cannot be %s, instead of leaving it out", done))
	addFormat(cmd, &f.output)
}

// planRequest returns the request of the flags of "rotate".
func (f *byHand) planRequest() (plan.Request, error) {
	req, err := f.commonRequest()
	if err != nil {
		return req, err
	}
	if f.all {
		req.Services = certs.Services()
	} else if req.Services, err = certs.ParseServices(f.services); err != nil {
		return req, err
	}
	if len(req.Services) == 0 {
		return req, errors.New("name the services: --service NAME, or --all")
	}
	req.Validity = time.Duration(f.validity)
	req.AllowShortValidity = f.allowShort
	if err := req.CheckValidity(); err != nil {
		return req, hint.AddTo(fmt.Errorf("--%w", err), "days are written as 90d; --allow-short-validity allows less than a day")
	}
	return req, nil
}

// commonRequest returns the request of the flags that a rotation and a rollback share.
func (f *byHand) commonRequest() (req plan.Request, err error) {
	if req.Restart, err = plan.ParseRestartPolicy(f.restart); err != nil {
		return req, fmt.Errorf("--restart: %w", err)
	}
	if f.timeout < time.Second {
		return req, fmt.Errorf("--component-timeout %s: want at least one second", f.timeout)
	}
	req.RequireAll = f.strict
	return req, nil
}

// rotateByHand runs the engine, prints progress on standard error and the report on standard
// output.
func (p *program) rotateByHand(ctx context.Context, f *byHand, req plan.Request) error {
	format, err := printers.ParseFormat(f.output)
	if err != nil {
		return err
	}
	engine, closeEngine := p.newEngine()
	defer closeEngine()
	show := &recordText{w: p.stderr}
	var left []plan.LeftOut
	engine.Records = show
	engine.Alone = true
	engine.Timeout = f.timeout
	engine.LeftOut = func(found []plan.LeftOut) { left = found }
	began := time.Now()
	err = engine.RotateByHand(ctx, req)
	if len(show.records) == 0 {
		return err // nothing was begun
	}
	report := reportOf(show.records, req, left, err)
	if printErr := printers.PrintReport(p.stdout, format, report); printErr != nil && err == nil {
		err = fmt.Errorf("print: %w", printErr)
	}
	if err == nil || errors.Is(err, rotate.ErrLeftOut) {
		done := printers.OutcomeText(report, time.Since(began), req.Restart)
		if gap := printers.NotDone(report); gap != "" {
			done += ", but " + gap + ": see above"
		}
		fmt.Fprintf(p.stderr, "%s. Next: %s %s, then the other nodes, one after the other\n", done, programName, checkName)
	}
	return err
}
