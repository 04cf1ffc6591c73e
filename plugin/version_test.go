package plugin

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

func TestSkew(t *testing.T) {
	for name, tt := range map[string]struct {
		installed *installedVersions
		says      string
	}{
		"nothing installed":       {nil, ""},
		"the same":                {&installedVersions{Watcher: "v1.2.0", Agents: "v1.2.0"}, ""},
		"older":                   {&installedVersions{Watcher: "v1.1.9", Agents: "v1.1.9"}, "older than this plugin. To update it: kubectl rotate-certs install"},
		"older agents":            {&installedVersions{Watcher: "v1.2.0", Agents: "v1.1.9"}, "The installation is older"},
		"newer":                   {&installedVersions{Watcher: "v1.10.0", Agents: "v1.10.0"}, "This plugin is older than the installation."},
		"a release candidate":     {&installedVersions{Watcher: "v1.2.0-rc.1"}, "The installation is older"},
		"agents alone":            {&installedVersions{Agents: "v1.2.0"}, ""},
		"no version in the label": {&installedVersions{Watcher: "unknown"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := versionSkew("v1.2.0", tt.installed, displayName)
			if tt.says == "" {
				assert.Empty(t, got)
			} else {
				assert.Contains(t, got, tt.says)
			}
		})
	}
}

func TestVersionOfBothSides(t *testing.T) {
	s := installed(t)
	code, stdout, stderr := s.run(t, "version")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "installed in namespace rotate-certs: watcher "+version.Version+", agents "+version.Version+"\n")
	code, stdout, stderr = s.run(t, "version", "-o", "json")
	require.Zero(t, code, stderr)
	var info versionInfo
	require.NoError(t, json.Unmarshal([]byte(stdout), &info))
	assert.Equal(t, version.Version, info.Installed.Watcher)
	assert.Empty(t, info.Skew)

	s.forbidden = []string{"list deployments"}
	_, stdout, _ = s.run(t, "version")
	assert.Contains(t, stdout, "installed: unknown (")
	_, stdout, _ = s.run(t, "version", "--client")
	assert.NotContains(t, stdout, "installed")
	_, stdout, _ = newAPIServer(t).run(t, "version")
	assert.Contains(t, stdout, "installed: nothing\n")
}

// TestVersionWithoutACluster works: it is the first thing that people try.
func TestVersionWithoutACluster(t *testing.T) {
	s := newAPIServer(t)
	s.Close()
	code, stdout, stderr := s.run(t, "version")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, displayName+" "+version.Version)
	assert.Contains(t, stdout, "installed: unknown (")
}

// TestVersionDoesNotWaitForALogin: the kubeconfig's exec plugin waits for a login, here until
// the test ends.
func TestVersionDoesNotWaitForALogin(t *testing.T) {
	dir := t.TempDir()
	login := filepath.Join(dir, "login")
	require.NoError(t, unix.Mkfifo(login, 0o600))
	config := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(config, []byte(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: cat, args: [`+login+`]}}}]
`), 0o600))
	t.Cleanup(func() {
		if waiting, err := os.OpenFile(login, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			_ = waiting.Close()
		}
	})
	flags := newConnectionFlags()
	flags.KubeConfig = &config
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := installedIn(ctx, flags)
	require.ErrorContains(t, err, "read what is installed: context deadline exceeded")
}
