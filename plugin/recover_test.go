package plugin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestRecoverNeedsHosts(t *testing.T) {
	f := &hostFlags{}
	_, err := f.hostOptions()
	require.Contains(t, hint.TextOf(err), "no host is named\nhint: --host [USER@]HOST[,…] or --host-file FILE")

	f.hostFile = filepath.Join(t.TempDir(), "hosts")
	_, err = f.hostOptions()
	require.ErrorContains(t, err, "read --host-file")

	require.NoError(t, os.WriteFile(f.hostFile, []byte("\ufeff# control plane\r\nroot@cp1\r\n\n  cp2  \n"), 0o600))
	f.hosts = []string{"w1"}
	o, err := f.hostOptions()
	require.NoError(t, err)
	assert.Equal(t, []string{"w1", "root@cp1", "cp2"}, o.Addresses)
}

func TestNodeProgramIsThatOfTheHostsArchitecture(t *testing.T) {
	f := &hostFlags{programs: t.TempDir()}
	_, err := f.nodeProgram("arm64")
	require.ErrorContains(t, err, `there is no "rotate-certs-node-linux-arm64"`)
	require.Contains(t, hint.TextOf(err), "hint: the archive of the release has it; --node-programs names its directory")

	arm := filepath.Join(f.programs, "rotate-certs-node-linux-arm64")
	require.NoError(t, os.WriteFile(arm, nil, 0o600))
	got, err := f.nodeProgram("arm64")
	require.NoError(t, err)
	assert.Equal(t, arm, got)
	_, err = f.nodeProgram("amd64")
	require.Error(t, err, "that of another architecture is not taken")
}
