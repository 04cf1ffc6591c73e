//go:build e2e

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/settings/settingstest"
)

// TestKnownFlagsAreThoseOfThePrograms compares the list of flags that the table of settings
// is tested with with what the cluster's own programs print.
func TestKnownFlagsAreThoseOfThePrograms(t *testing.T) {
	data, err := os.ReadFile("../../pkg/settings/testdata/flags.txt")
	require.NoError(t, err)
	known := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && (strings.HasSuffix(f[1], "1.37") || strings.HasSuffix(f[1], "3.7")) {
			known[f[0]] = append(known[f[0]], f[2])
		}
	}
	node := the.controlPlanes()[0].Name
	for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"} {
		// The lab's programs of Kubernetes are one, which goes by the name that it is called by.
		help := the.on(t, node, "d=$(mktemp -d) && ln -s \"$(command -v kubelet)\" $d/"+program+" && $d/"+program+" --help 2>&1; rm -r $d")
		slices.Sort(known[program])
		assert.Equal(t, known[program], settingstest.KubernetesFlags(string(help)), program)
	}
	help := the.on(t, node, `for p in /proc/[0-9]*; do case $(tr '\0' ' ' <$p/cmdline 2>/dev/null) in "etcd "*|*/etcd\ *) $p/exe --help 2>&1; exit 0;; esac; done; exit 1`)
	slices.Sort(known["etcd"])
	assert.Equal(t, known["etcd"], settingstest.EtcdFlags(string(help)), "etcd")
}
