package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/agent"
)

func TestAgentRefusesWrongFlags(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"agent", "--log-format=xml"}, `--log-format "xml": want text or json`},
		{[]string{"agent", "--log-level=loud"}, `--log-level "loud": want debug, info, warn or error`},
		{[]string{"agent"}, "--kubeconfig FILE"},
		{[]string{"agent", "--kubeconfig=/nonexistent"}, `read kubeconfig "/nonexistent"`},
		{[]string{"agent", "more"}, "unknown command"},
	} {
		cmd := newCommand(strings.NewReader(""), io.Discard, io.Discard)
		cmd.SetArgs(c.args)
		err := cmd.ExecuteContext(t.Context())
		require.Error(t, err)
		assert.Contains(t, hint.TextOf(err), c.want)
	}
}

func TestProbe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health")
	probe := func(what string) error {
		cmd := newCommand(strings.NewReader(""), io.Discard, io.Discard)
		cmd.SetArgs([]string{"probe", what, "--health-file=" + path})
		return cmd.ExecuteContext(t.Context())
	}
	require.ErrorContains(t, probe("alive"), "read health file")
	_, err := agent.OpenHealth(path, time.Minute)
	require.NoError(t, err)
	assert.NoError(t, probe("alive"))
	assert.EqualError(t, probe("ready"), "no report has been written yet")
	assert.ErrorContains(t, probe("well"), "invalid argument")
}
