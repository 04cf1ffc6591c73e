package certs_test

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseServices(t *testing.T) {
	got, err := certs.ParseServices([]string{"kubelet", " ETCD", "kubelet"})
	require.NoError(t, err)
	assert.Equal(t, []certs.Service{certs.Etcd, certs.Kubelet}, got)
}

func TestUnknownServiceNamesTheNearest(t *testing.T) {
	for name, want := range map[string]certs.Service{
		"ectd": certs.Etcd, "kublet": certs.Kubelet, "apiserver": certs.KubeAPIServer, "kube-api-server": certs.KubeAPIServer,
		"scheduler": certs.KubeScheduler, "controller-manager": certs.KubeControllerManager, "proxy": certs.KubeProxy,
		"nonsense": "", "": "",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := certs.ParseServices([]string{name})
			var unknown *certs.UnknownServiceError
			require.ErrorAs(t, err, &unknown)
			assert.Equal(t, want, unknown.Nearest)
		})
	}
}
