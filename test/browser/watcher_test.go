package browser

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installWatcher installs the watcher in the first cluster until the test ends. Its policy has no
// limit for a day, which a cluster of one node reaches at once.
func (l *labs) installWatcher(t *testing.T) {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(policy, []byte("apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: default}\nspec: {limits: {rotationsPerDay: 0}}\n"), 0o600))
	t.Cleanup(func() {
		_, err := runCommand(context.WithoutCancel(t.Context()), filepath.Join(l.bin, "kubectl-rotate_certs"), "uninstall", "--yes", "--force")
		assert.NoError(t, err)
	})
	l.plugin(t, "install", "--policy", policy)
}

// TestRotateWithTheWatcher has the watcher carry out rotations that the dialog requests.
func TestRotateWithTheWatcher(t *testing.T) {
	here.installWatcher(t)
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
