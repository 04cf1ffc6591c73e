package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// labs are two clusters. Tests and Chromium run in the network namespace of the first one.
type labs struct {
	first  *cluster
	second *cluster
	bin    string    // directory of the built programs
	axe    string    // the program axe-core
	relay  io.Closer // the relay ends when it is closed, as it is when this process ends
}

// cluster is a lab with one node.
type cluster struct {
	lab       string
	node      string
	server    string // its API server, as a client in the namespace of the first lab reaches it
	name      string // in the certificate of the API server, where server has another
	authority string
	user      json.RawMessage
}

func openLabs() (*labs, error) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		return nil, err
	}
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		return nil, fmt.Errorf("read axe-core: %w", err)
	}
	l := &labs{bin: bin, axe: string(axe)}
	if l.first, err = l.openCluster(os.Getenv("LAB_NAME")); err != nil {
		return nil, err
	}
	if l.second, err = l.openCluster(os.Getenv("SECOND_LAB_NAME")); err != nil {
		return nil, err
	}
	return l, l.startRelay(l.second)
}

// openCluster reads the state and the kubeconfig of a lab.
func (l *labs) openCluster(lab string) (*cluster, error) {
	status, err := exec.Command(filepath.Join(l.bin, "lab"), "status", "--name", lab).Output()
	if err != nil {
		return nil, fmt.Errorf("read the state of lab %q: %w", lab, err)
	}
	var state struct {
		Nodes      []struct{ Name string }
		Kubeconfig string
	}
	if err := json.Unmarshal(status, &state); err != nil {
		return nil, fmt.Errorf("parse the state of lab %q: %w", lab, err)
	}
	view, err := exec.Command("kubectl", "config", "view", "--raw", "-o", "json", "--kubeconfig", state.Kubeconfig).Output()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of lab %q: %w", lab, err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server    string `json:"server"`
				Authority string `json:"certificate-authority-data"`
			}
		}
		Users []struct{ User json.RawMessage }
	}
	if err := json.Unmarshal(view, &config); err != nil {
		return nil, fmt.Errorf("parse the kubeconfig of lab %q: %w", lab, err)
	}
	if len(state.Nodes) == 0 || len(config.Clusters) != 1 || len(config.Users) != 1 {
		return nil, fmt.Errorf("lab %q has %d nodes, %d clusters and %d users", lab, len(state.Nodes), len(config.Clusters), len(config.Users))
	}
	only := config.Clusters[0].Cluster
	return &cluster{lab: lab, node: state.Nodes[0].Name, server: only.Server, authority: only.Authority, user: config.Users[0].User}, nil
}

// namedCluster is a context of a kubeconfig.
type namedCluster struct {
	context string
	cluster *cluster
}

// The contexts of the kubeconfig of most tests.
const (
	production = "production"
	staging    = "staging"
	silent     = "branch-office" // its server accepts connections and answers nothing
)

// writeKubeconfig writes a kubeconfig; its first context is the current one.
func writeKubeconfig(t *testing.T, contexts ...namedCluster) string {
	t.Helper()
	type object = map[string]any
	var clusters, users, names []object
	for _, c := range contexts {
		reached := object{"server": c.cluster.server, "certificate-authority-data": c.cluster.authority}
		if c.cluster.name != "" {
			reached["tls-server-name"] = c.cluster.name
		}
		clusters = append(clusters, object{"name": c.context, "cluster": reached})
		users = append(users, object{"name": c.context + "-admin", "user": c.cluster.user})
		names = append(names, object{"name": c.context, "context": object{"cluster": c.context, "user": c.context + "-admin"}})
	}
	text, err := json.Marshal(object{"apiVersion": "v1", "kind": "Config", "current-context": contexts[0].context,
		"clusters": clusters, "users": users, "contexts": names})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// bothClusters is a kubeconfig of the two labs.
func (l *labs) bothClusters(t *testing.T) string {
	t.Helper()
	return writeKubeconfig(t, namedCluster{production, l.first}, namedCluster{staging, l.second})
}

// commandLimit is how long one command may take.
const commandLimit = 5 * time.Minute

// runCommand runs a command and returns its standard output.
func runCommand(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), nil
}

// kubectl runs kubectl on the first cluster; it has to succeed.
func (l *labs) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runCommand(t.Context(), "kubectl", args...)
	require.NoError(t, err)
	return out
}

// plugin runs the plugin, on the first cluster without other flags; it has to succeed.
func (l *labs) plugin(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runCommand(t.Context(), filepath.Join(l.bin, "kubectl-rotate_certs"), args...)
	require.NoError(t, err)
	return out
}

// onNode runs a shell command on the node of a cluster.
func (l *labs) onNode(ctx context.Context, c *cluster, script string) (string, error) {
	out, err := runCommand(ctx, filepath.Join(l.bin, "lab"), "exec", "--name", c.lab, c.node, "--", "/bin/sh", "-c", script)
	return strings.TrimSpace(out), err
}

// fileSum is the checksum of a file of a node.
func (l *labs) fileSum(t *testing.T, c *cluster, path string) string {
	t.Helper()
	sum, err := l.onNode(t.Context(), c, "sha256sum < "+path)
	require.NoError(t, err)
	return sum
}

// hostOf is the host in the URL of an API server.
func hostOf(server string) (host, address string, err error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return "", "", fmt.Errorf("parse the address of an API server: %w", err)
	}
	return parsed.Hostname(), parsed.Host, nil
}
