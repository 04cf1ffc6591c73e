package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/node/background"
	"github.com/rotate-certs/rotate-certs/pkg/node/nodecsr"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func (p *program) startCommand() *cobra.Command {
	var rotation string
	cmd := &cobra.Command{
		Use:   nodeapi.CommandStart + " --rotation ID",
		Short: "Start \"run\" in the background, unless it runs already; for rotations without pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			// The process itself may wait two minutes for another rotation's.
			ctx, cancel := context.WithTimeout(cmd.Context(), 150*time.Second)
			defer cancel()
			started, err := background.StartRun(ctx, p.hostRoot(), rotation,
				own, nodeapi.CommandRun, "--rotation="+rotation, "--root="+p.root, "--node-name="+p.nodeName)
			if err != nil {
				return err
			}
			return p.printJSON(map[string]bool{"started": started})
		},
	}
	addRotation(cmd, &rotation)
	return cmd
}

func (p *program) endCommand() *cobra.Command {
	var rotation string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   nodeapi.CommandEnd + " [--rotation ID]",
		Short: "End the process that \"start\" has started; a commit in progress is completed or rolled back first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			ended, err := background.EndRun(ctx, p.hostRoot(), rotation)
			if err != nil {
				return err
			}
			return p.printJSON(map[string]bool{"ended": ended})
		},
	}
	cmd.Flags().StringVar(&rotation, "rotation", "", "only the process of this rotation")
	cmd.Flags().DurationVar(&limit, "timeout", time.Minute, "how long to wait for its end")
	return cmd
}

func (p *program) readyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   nodeapi.CommandReady,
		Short: "Print whether the API server has this node as Ready, as one line of JSON; asks with the kubelet's identity",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node := p.discoverNode()
			if node.KubeletConf == "" {
				return p.printJSON(nodeapi.Readiness{Node: node.Name, Reason: "no kubelet was found on it"})
			}
			requests := &nodecsr.Requests{Root: p.hostRoot(), Kubeconfig: node.KubeletConf, Node: node.Name}
			return p.printJSON(requests.Readiness(cmd.Context()))
		},
	}
}
