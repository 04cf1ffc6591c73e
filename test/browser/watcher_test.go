package browser

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// noDailyLimit is a policy without a limit for a day, which a cluster of one node reaches at once,
// with more of its spec.
func noDailyLimit(t *testing.T, spec string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	text := "apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: default}\nspec: {limits: {rotationsPerDay: 0}" + spec + "}\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// installWatcher installs the watcher in the cluster of a kubeconfig until the test ends.
func (l *labs) installWatcher(t *testing.T, kubeconfig string, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		_, err := runCommand(context.WithoutCancel(t.Context()), filepath.Join(l.bin, "kubectl-rotate_certs"), "uninstall", "--yes", "--force", "--kubeconfig", kubeconfig)
		assert.NoError(t, err)
	})
	l.plugin(t, append([]string{"install", "--kubeconfig", kubeconfig}, args...)...)
}

// TestRotateWithTheWatcher has the watcher carry out rotations that the dialog requests.
func TestRotateWithTheWatcher(t *testing.T) {
	here.installWatcher(t, writeKubeconfig(t, namedCluster{production, here.first}), "--policy", noDailyLimit(t, ""))
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	for _, test := range []struct{ name, service, file string }{
		{"one service", "kube-controller-manager", managerFile},
		{"all services", "", "/etc/kubernetes/pki/etcd/server.crt"},
	} {
		p.click("header a")
		p.await("the first page", stepLimit, `document.querySelector("#clusters")`)
		p.openCluster(production)
		require.NoError(t, poll(stepLimit, func() bool {
			p.open(evaluate[string](p, "location.href"))
			return evaluate[bool](p, `/by the reports of the agents/.test(document.body.innerText) && /Watcher 1 of 1 ready/.test(document.body.innerText)`)
		}), "agents report, and the watcher is ready")
		p.assertAccessible("the page of a cluster with the watcher, " + test.name)
		p.openDialog()
		if test.service != "" {
			p.chooseService(test.service)
		}
		p.click("dialog button.primary")
		assert.Contains(t, p.awaitPlan(), "the watcher, by a CertificateRotation", test.name)
		before := here.fileSum(t, here.first, test.file)
		p.save()
		p.recordProgress()
		p.assertEnd("succeeded")
		assert.NotEqual(t, before, here.fileSum(t, here.first, test.file), test.name)
		assert.NotEmpty(t, p.recorded(), "%s: the page showed the progress", test.name)
		p.assertAccessible("a rotation of the watcher, " + test.name)
	}

	p.click(`.path a + a`)
	p.await("the cluster", stepLimit, `document.querySelector("#marks ~ p a[href$='/mark']")`)
	p.click(`#marks ~ p a[href$="/mark"]`)
	p.awaitText("Mark as compromised", stepLimit)
	p.assertAccessible("the page that marks certificates")
}
