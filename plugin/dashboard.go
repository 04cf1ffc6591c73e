package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// dashboardOptions are the flags of dashboard.
type dashboardOptions struct {
	*app
	*connectionFlags

	port      int
	readOnly  bool
	noOpen    bool
	tokenFile string
}

func (a *app) dashboardCommand(flags *connectionFlags) *cobra.Command {
	o := &dashboardOptions{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Show and rotate the certificates of all clusters of the kubeconfig in a browser",
		Long: `Show every cluster of the kubeconfig in a browser: its certificates and what needs attention,
rotations in progress and past. A dialog plans a rotation and shows the plan before anything
begins.

The pages are served on this machine only, at 127.0.0.1, to the browser that opens the printed
address: its token can be used once. Everything is done in your own name, with the rights of each
context of the kubeconfig. Where the watcher is installed, it carries rotations out: it scans and
plans again before it begins. Elsewhere this program carries out exactly the plan that was shown,
and must run until the rotation has ended. Ctrl-C ends it as it ends a rotation: the node in
progress is finished or rolled back first.

--api-token-file lets programs use the API of the dashboard: the one of Rancher as far as it is
about certificates, below /v3, and its own below /api/v1. See docs/api.md.

Exit codes:
  0    ended by Ctrl-C
  1    the dashboard could not be served
  130  ended by Ctrl-C, which interrupted a rotation; the other codes of a rotation where it
       ended otherwise`,
		Example: `  # All clusters of the kubeconfig
  kubectl rotate-certs dashboard

  # One cluster; nothing can be changed
  kubectl rotate-certs dashboard --context production --read-only

  # For scripts: the API, with the token in a file
  kubectl rotate-certs dashboard --no-open --port 8443 --api-token-file ~/.kube/rotate-certs-token

  # On a server without a browser: open the printed address on your own machine
  ssh -t -L 8443:127.0.0.1:8443 server kubectl rotate-certs dashboard --port 8443 --no-open`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.Run(cmd.Context())
		},
	}
	silenceCobra(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&o.port, "port", 0, "Port at 127.0.0.1 to serve the pages on; 0 means any free port")
	f.BoolVar(&o.readOnly, "read-only", false, "Serve no page that changes anything, and refuse every such request")
	f.BoolVar(&o.noOpen, "no-open", false, "Do not open a browser")
	f.StringVar(&o.tokenFile, "api-token-file", "", "File to write a token for the API to, for you only; it is new at each start and deleted at the end. Without it, the API answers the pages only")
	o.addPodFlags(f)
	return cmd
}

// Run serves the pages until ctx ends.
func (o *dashboardOptions) Run(ctx context.Context) error {
	if o.port < 0 || o.port > 65535 {
		return hint.AddTo(fmt.Errorf("invalid --port %d", o.port), "want 1 to 65535, or 0 for any free port")
	}
	clusters, err := o.openContexts(o.connectionFlags, ctx.Done())
	if err != nil {
		return err
	}
	options := dashboard.Options{Clusters: clusters, ReadOnly: o.readOnly, Version: version.String(), Now: o.now, Report: o.printLine}
	if o.tokenFile != "" {
		options.Token = dashboard.NewToken()
		if options.TokenFile, err = filepath.Abs(o.tokenFile); err != nil {
			return fmt.Errorf("--api-token-file %q: %w", o.tokenFile, err)
		}
	}
	server, err := dashboard.NewServer(options)
	if err != nil {
		return err
	}
	listener, err := o.listenLocally(ctx)
	if err != nil {
		return err
	}
	if options.Token != "" {
		remove, err := writeTokenFile(options.TokenFile, options.Token)
		if err != nil {
			_ = listener.Close()
			return err
		}
		defer remove()
	}
	// A closed terminal or pipe must not end a rotation: a write fails instead.
	signal.Ignore(syscall.SIGPIPE)
	address := server.OpenAddress(listener.Addr())
	fmt.Fprintf(o.Out, "Dashboard: %s (its token signs one browser in; Ctrl-C ends the dashboard)\n", address)
	if options.Token != "" {
		fmt.Fprintf(o.Out, "API: http://%[1]s/api/v1 and http://%[1]s/v3, with the token in %[2]s\n", listener.Addr(), options.TokenFile)
	}
	if !o.noOpen && o.terminal.in && hasDisplay() {
		defer openBrowser(address)()
	}
	err = server.Serve(ctx, listener)
	return clusters.ending.endError(err)
}

// listenLocally listens at an address that no other machine reaches.
func (o *dashboardOptions) listenLocally(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)))
	switch {
	case errors.Is(err, errPortUsed):
		return nil, hint.AddTo(fmt.Errorf("listen at port %d: another program uses it", o.port),
			"--port with another number, or without --port any free one is used")
	case errors.Is(err, errPortDenied):
		return nil, hint.AddTo(fmt.Errorf("listen at port %d: %w", o.port, errPortDenied), "use a port above 1023")
	case err != nil:
		return nil, fmt.Errorf("listen at port %d: %w", o.port, err)
	}
	return listener, nil
}
