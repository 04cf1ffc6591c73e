package logging

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, "json", "warn")
	require.NoError(t, err)
	log.Info("hidden")
	log.Warn("shown", "node", "cp1")
	assert.Regexp(t, `^\{"time":"[^"]+","level":"WARN","msg":"shown","node":"cp1"\}\n$`, out.String())
}

func TestUnknownFormatAndLevel(t *testing.T) {
	_, err := New(io.Discard, "xml", "info")
	require.EqualError(t, err, `--log-format "xml": want text or json`)
	_, err = New(io.Discard, "text", "loud")
	assert.EqualError(t, err, `--log-level "loud": want debug, info, warn or error`)
}
