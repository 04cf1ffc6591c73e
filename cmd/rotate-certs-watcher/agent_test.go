package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAgentSaysWhatIsWrongWithItsFlags(t *testing.T) {
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
		cmd := newCommand(io.Discard, io.Discard)
		cmd.SetArgs(c.args)
		assert.ErrorContains(t, cmd.ExecuteContext(t.Context()), c.want)
	}
}

func TestLoggerWritesJSONWhenAsked(t *testing.T) {
	var out bytes.Buffer
	log, err := newLogger(&out, "json", "warn")
	require.NoError(t, err)
	log.Info("hidden")
	log.Warn("shown", "node", "cp1")
	assert.Regexp(t, `^\{"time":"[^"]+","level":"WARN","msg":"shown","node":"cp1"\}\n$`, out.String())
}

func TestLivenessIsThatOfTheLastLook(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())

	looked := serveLiveness(address, time.Minute, slog.New(slog.DiscardHandler))
	status := func() int {
		answer, err := http.Get("http://" + address + "/livez") //nolint:noctx // ends with the test
		if err != nil {
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	require.Eventually(t, func() bool { return status() == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
	looked(time.Now().Add(-time.Hour))
	assert.Equal(t, http.StatusServiceUnavailable, status())
	looked(time.Now())
	assert.Equal(t, http.StatusOK, status())
}
