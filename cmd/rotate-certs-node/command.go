package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

func newCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	p := &program{stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "rotate-certs-node",
		Short: "Scan and renew the certificates of one Kubernetes node",
		Long: `Scan and renew the certificates of one Kubernetes node.

"kubectl rotate-certs" runs this program on every node in a short-lived pod, and the
agents of an installation run it permanently. It can also be used by hand, as root on a
node, even if the cluster is down:

  rotate-certs-node check
  rotate-certs-node rotate --service etcd,kube-apiserver
  rotate-certs-node history
  rotate-certs-node recover

` + exitcode.Help(),
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&p.root, "root", "/", "mount point of the node's root directory")
	flags.StringVar(&p.nodeName, "node-name", "", "the node's name in the API (default: the kubelet's --hostname-override, or the host name)")
	root.AddCommand(p.scanCommand(), p.runCommand(), p.orderCommand(), p.followCommand(), p.journalCommand(), p.healthCommand(), p.signCommand(), p.startCommand(), p.endCommand(), p.readyCommand(), p.checkCommand(), p.rotateCommand(), p.rollbackCommand(), p.historyCommand(), p.recoverCommand(), p.forgetCommand(), p.agentCommand(), probeCommand(), p.versionCommand())
	return root
}

func (p *program) scanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   nodeapi.CommandScan,
		Short: "Print the node's inventory as one line of JSON; changes nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The process runs for some 20 ms: with the default setting, garbage collection
			// takes a sixth of that.
			debug.SetGCPercent(400)
			return p.printJSON(p.scanNode(cmd.Context(), true))
		},
	}
}

func (p *program) healthCommand() *cobra.Command {
	var others []string
	cmd := &cobra.Command{
		Use:   nodeapi.CommandHealth,
		Short: "Print the health of etcd and of this node's API server as one line of JSON",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			peers, err := parsePeers(others)
			if err != nil {
				return err
			}
			node := p.discoverNode()
			var asking sync.WaitGroup
			var found []inventory.PeerHealth
			asking.Go(func() { found = component.OtherAPIServers(cmd.Context(), p.hostRoot(), node, peers) })
			h := component.NodeHealth(cmd.Context(), p.hostRoot(), node)
			asking.Wait()
			h.Others = found
			return p.printJSON(h)
		},
	}
	cmd.Flags().StringArrayVar(&others, "other", nil, "also request the API server of another node, as NODE=HOST:PORT")
	return cmd
}

func parsePeers(values []string) ([]inventory.Peer, error) {
	peers := make([]inventory.Peer, 0, len(values))
	for _, v := range values {
		node, address, ok := strings.Cut(v, "=")
		if _, _, err := net.SplitHostPort(address); !ok || err != nil || node == "" {
			return nil, fmt.Errorf("--other %q: want NODE=HOST:PORT", v)
		}
		peers = append(peers, inventory.Peer{Node: node, Address: address})
	}
	return peers, nil
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.stdout, version.String())
			return err
		},
	}
}

// printJSON writes one line of JSON.
func (p *program) printJSON(v any) error {
	if err := json.NewEncoder(p.stdout).Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
