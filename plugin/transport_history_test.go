package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func TestHistoryOverSSHAsksNoAPIServer(t *testing.T) {
	f := etcdRotated()
	s := newSSHHosts(t, f.scanned...)
	var hosts []string
	for _, n := range f.scanned {
		hosts = append(hosts, n.Name)
		s.answer(n.Name, nodeapi.CommandJournal, nodeapi.Journal{Node: n.Name, Rotation: "abcdef", Records: []nodeapi.Record{
			{Seq: 1, Node: n.Name, Rotation: "abcdef", Time: noon, Kind: nodeapi.Staged}}})
	}
	f.down = assert.AnError
	code, stdout, stderr := f.run(t, append([]string{"history"}, s.flags(hosts...)...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "abcdef")
	assert.Empty(t, f.log)

	// The command that it names works as it is.
	_, next, found := strings.Cut(stderr, "Every record of one: kubectl rotate-certs ")
	require.True(t, found, stderr)
	code, stdout, stderr = f.run(t, strings.Fields(next)...)
	require.Zero(t, code, stderr)
	for _, host := range hosts {
		assert.Contains(t, stdout, host)
		assert.Contains(t, s.calls(host), "journal --node-name="+host+" --rotation=abcdef\n")
	}

	s.answer(hosts[0], nodeapi.CommandJournal, nodeapi.Journal{Node: "other", Rotation: "abcdef"})
	code, stdout, stderr = f.run(t, append([]string{"history", "abcdef", "-o", "json"}, s.flags(hosts...)...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, `its journal is of node \"other\"`, "a node does not report for another one")

	code, _, stderr = f.run(t, append([]string{"history", "-l", "a=b"}, s.flags(hosts...)...)...)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "--selector excludes --transport ssh")
}
