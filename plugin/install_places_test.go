package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInstallRefusesSensitiveAgentDirectories(t *testing.T) {
	for name, tt := range map[string]struct{ flag, says string }{
		"all of it":            {"--agent-directory=/", `--agent-directory "/": want a directory of the nodes`},
		"relative":             {"--agent-directory=srv", `--agent-directory "srv": want a directory of the nodes`},
		"a way up":             {"--agent-directory=/srv/../run", "want a directory of the nodes"},
		"what YAML would read": {"--agent-directory=/srv: {}", "want a directory of the nodes"},
		"the runtime's socket": {"--agent-directory=/run/containerd", "--agent-directory /run/containerd holds sockets or devices"},
		"MicroK8s":             {"--agent-directory=/var/snap/microk8s/current", "--agent-directory /var/snap/microk8s/current holds sockets or devices"},
		"what holds sockets":   {"--agent-directory=/var", "--agent-directory /var holds sockets or devices"},
		"devices":              {"--agent-directory=/dev/", "--agent-directory /dev holds sockets or devices"},
		"what it is shown":     {"--agent-directory=/etc/ssl", "--agent-directory /etc/ssl is not needed: agents read /etc"},
		"no root of kubelets":  {"--kubelet-root-dir=/run/kubelet", `--kubelet-root-dir "/run/kubelet": want the --root-dir of the kubelet`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			for _, args := range [][]string{{"install", tt.flag}, {"install", "--dry-run=client", tt.flag}} {
				code, _, stderr := s.run(t, args...)
				assert.Equal(t, 1, code)
				assert.Contains(t, stderr, "error: ")
				assert.Contains(t, stderr, tt.says)
			}
			assert.Empty(t, s.log)
		})
	}
	s := newAPIServer(t)
	_, _, stderr := s.run(t, "install", "--kubelet-root-dir=/data/kubelet", "--agent-directory=/data/kubelet/pods/x")
	assert.Contains(t, stderr, "holds volumes of pods or sockets of the kubelet")
}
