package plugin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
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

// TestRecoverNamesTheRenewedKubeconfig: people need it next, and its path is the cluster's own.
func TestRecoverNamesTheRenewedKubeconfig(t *testing.T) {
	of := func(service certs.Service, renewed *v1alpha1.CertificateRef) *v1alpha1.RotationReport {
		return &v1alpha1.RotationReport{Items: []v1alpha1.RotationItem{
			{Node: "cp1", Service: certs.Etcd, Certificates: []v1alpha1.RotatedCertificate{{Path: "/pki/etcd.crt", New: &v1alpha1.CertificateRef{}}}},
			{Node: "cp2", Service: service, Certificates: []v1alpha1.RotatedCertificate{{Path: "/var/lib/admin.kubeconfig", New: renewed}}}}}
	}
	const anyOther = "the one of the administrator (kubeadm: /etc/kubernetes/admin.conf) from a control-plane node"
	assert.Equal(t, "/var/lib/admin.kubeconfig from cp2", administratorKubeconfig(of(certs.Admin, &v1alpha1.CertificateRef{})))
	assert.Equal(t, anyOther, administratorKubeconfig(of(certs.Admin, nil)), "it was not renewed")
	assert.Equal(t, anyOther, administratorKubeconfig(of(certs.KubeScheduler, &v1alpha1.CertificateRef{})))
	assert.Equal(t, anyOther, administratorKubeconfig(nil), "nothing was to be done")
}
