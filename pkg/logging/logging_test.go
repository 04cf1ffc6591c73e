package logging

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, "json", "warn")
	require.NoError(t, err)
	log.Info("hidden")
	log.Warn("shown", "node", "cp1")
	assert.Regexp(t, `^\{"time":"[^"]+","level":"WARN","msg":"shown","node":"cp1"\}\n$`, out.String())
}

func TestHintOfAnErrorIsAField(t *testing.T) {
	err := fmt.Errorf("start: %w", hint.AddTo(errors.New("the disk is full"), "delete %s", "files"))
	for format, want := range map[string]string{
		"json": `"error":"start: the disk is full","hint":"delete files","node":"cp1"}`,
		"text": `error="start: the disk is full" hint="delete files" node=cp1`,
	} {
		var out bytes.Buffer
		log, failed := New(&out, format, "info")
		require.NoError(t, failed)
		log.Error("not started", "error", err, "node", "cp1")
		assert.Contains(t, out.String(), want)
		out.Reset()
		log.Error("not started", "error", io.ErrUnexpectedEOF)
		assert.NotContains(t, out.String(), "hint")
	}
}

func TestUnknownFormatAndLevel(t *testing.T) {
	_, err := New(io.Discard, "xml", "info")
	require.EqualError(t, err, `--log-format "xml": want text or json`)
	_, err = New(io.Discard, "text", "loud")
	assert.EqualError(t, err, `--log-level "loud": want debug, info, warn or error`)
}
