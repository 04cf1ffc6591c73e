package main

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/logging"
	"github.com/rotate-certs/rotate-certs/pkg/node/agent"
)

// agentMemory is the limit for the agent's heap, unless GOMEMLIMIT is set.
const agentMemory = 48 << 20

// agentFlags holds the flags of "agent".
type agentFlags struct {
	kubeconfig, healthFile, logFormat, logLevel string

	interval   time.Duration
	podsHidden bool
	unconfined bool
}

func (p *program) agentCommand() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Scan this node when its certificates change, and write its NodeCertificateReport",
		Long: `Scan this node when its certificates change, and write its NodeCertificateReport.

It runs in a pod of the DaemonSet rotate-certs-agent, or as root on a node, and changes
nothing there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logging.New(p.stderr, f.logFormat, f.logLevel)
			if err != nil {
				return err
			}
			reports, err := agent.ConnectAPI(f.kubeconfig)
			if err != nil {
				return err
			}
			var health *agent.Health
			if f.healthFile != "" {
				if health, err = agent.OpenHealth(f.healthFile, f.interval); err != nil {
					return err
				}
			}
			if err := agent.ConfineProcess(); err != nil {
				if !f.unconfined {
					return hint.AddTo(err, "--unconfined runs it with all rights of its user")
				}
				log.Warn("the agent keeps rights that it does not need", "error", err)
			}
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(agentMemory)
			}
			options := agent.Options{
				Root: p.hostRoot(), NodeName: p.nodeName, PodsHidden: f.podsHidden,
				Interval: f.interval, Reports: reports, Health: health, Log: log,
			}
			return agent.RunAgent(cmd.Context(), options)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig for the API server (default: the ServiceAccount of the pod)")
	flags.DurationVar(&f.interval, "interval", agent.DefaultInterval, "time between two scans when no file changes")
	flags.BoolVar(&f.podsHidden, "pods-hidden", false, "the volumes of pods, and sockets, are not visible to the agent: a missing one is no problem")
	flags.BoolVar(&f.unconfined, "unconfined", false, "run even if the process cannot drop the rights to change files, to connect to Unix sockets and to start programs")
	flags.StringVar(&f.healthFile, "health-file", "", "file to keep up to date for \"rotate-certs-node probe\" (default: none)")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// probeCommand is the command that the probes of an agent's pod run. A probe by port is not
// possible: the agent uses the node's network, and another program may use the port.
func probeCommand() *cobra.Command {
	var healthFile string
	cmd := &cobra.Command{
		Use:       "probe (alive|ready)",
		Short:     "Check the health file of an agent: whether it scans its node, and whether its last report was written",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"alive", "ready"},
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "alive" {
				return agent.CheckAlive(healthFile, time.Now())
			}
			return agent.CheckReady(healthFile, time.Now())
		},
	}
	cmd.Flags().StringVar(&healthFile, "health-file", "", "the --health-file of the agent")
	return cmd
}
