package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/scan"
)

// reported takes reports, and fails a given number of times.
type reported struct {
	mu    sync.Mutex
	all   []*v1alpha1.NodeCertificateReport
	fails int
}

func (r *reported) WriteReport(_ context.Context, report *v1alpha1.NodeCertificateReport) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails > 0 {
		r.fails--
		return errors.New("connection refused")
	}
	r.all = append(r.all, report)
	return nil
}

func (r *reported) failFromNowOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = math.MaxInt
}

func (r *reported) countReports() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

func (r *reported) lastReport() *v1alpha1.NodeCertificateReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return nil
	}
	return r.all[len(r.all)-1]
}

// lastFingerprint is that of a certificate in the last report.
func (r *reported) lastFingerprint(name string) string {
	if last := r.lastReport(); last != nil {
		for _, c := range last.Certificates {
			if c.Name == name {
				return c.FingerprintSHA256
			}
		}
	}
	return ""
}

// watched is a control-plane node in a directory, with an agent that watches it for real.
type watched struct {
	*certstest.Tree
	node *layouttest.Node
	reported
}

func watchNode(t *testing.T) *watched {
	t.Helper()
	w := &watched{Tree: certstest.Kubeadm(t, "cp1")}
	w.node = layouttest.NodeIn(t, w.Root)
	w.node.AddKubeadm(certstest.PKIDir)
	refuseConnections := func(context.Context, string, string) (*x509.Certificate, error) {
		return nil, errors.New("connection refused")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- RunAgent(ctx, Options{Root: w.Root, NodeName: "cp1", Reports: &w.reported, Interval: time.Hour,
			ScanNode: func(ctx context.Context) inventory.Node {
				return scan.TakeInventory(ctx, w.Root, scan.Options{NodeName: "cp1", Handshake: refuseConnections})
			}})
	}()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	w.expectSoon(t, func() bool { return w.countReports() > 0 }, "the first report")
	return w
}

// expectSoon waits for the promised time after a change, with a margin for a busy machine.
func (w *watched) expectSoon(t *testing.T, done func() bool, what string) {
	t.Helper()
	require.Eventually(t, done, 10*time.Second, 10*time.Millisecond, what)
}

// renewPair writes a new certificate as a component's files are replaced: by renaming.
func (w *watched) renewPair(t *testing.T, dir string) {
	t.Helper()
	pair := w.CA.Leaf(t, certstest.Name("kube-apiserver"))
	for name, data := range map[string][]byte{"apiserver.crt": pair.CertPEM(), "apiserver.key": pair.KeyPEM(t)} {
		tmp := filepath.Join(dir, "."+name)
		require.NoError(t, os.WriteFile(tmp, data, 0o600))
		require.NoError(t, os.Rename(tmp, filepath.Join(dir, name)))
	}
}

func TestAgentReportsAReplacedCertificate(t *testing.T) {
	w := watchNode(t)
	pki := w.Local(certstest.PKIDir)
	for range 3 {
		before := w.lastFingerprint("apiserver")
		require.NotEmpty(t, before)
		w.renewPair(t, pki)
		w.expectSoon(t, func() bool { return w.lastFingerprint("apiserver") != before }, "another fingerprint")
	}
}

func TestAgentReportsNothingWhereNothingIsNew(t *testing.T) {
	w := watchNode(t)
	before := w.countReports()
	now := time.Now()
	require.NoError(t, os.Chtimes(w.Local(certstest.PKIDir+"/apiserver.crt"), now, now))
	require.NoError(t, os.WriteFile(w.Local(certstest.PKIDir+"/note.txt"), []byte("hello"), 0o600))
	// A new report shows that the agent has scanned since.
	require.NoError(t, os.Remove(w.Local(certstest.KubernetesDir+"/scheduler.conf")))
	w.expectSoon(t, func() bool { return w.lastReport().Summary.Problems > 0 }, "a problem")
	assert.Equal(t, before+1, w.countReports())
}

func TestAgentFollowsDirectoriesThatAreReplaced(t *testing.T) {
	w := watchNode(t)
	pki := w.Local(certstest.PKIDir)
	first := w.lastFingerprint("apiserver")

	// As a tool that replaces a whole directory does.
	require.NoError(t, os.CopyFS(pki+".new", os.DirFS(pki)))
	w.renewPair(t, pki+".new")
	require.NoError(t, os.Rename(pki, pki+".old"))
	require.NoError(t, os.Rename(pki+".new", pki))
	w.expectSoon(t, func() bool { f := w.lastFingerprint("apiserver"); return f != "" && f != first }, "what the new directory holds")

	second := w.lastFingerprint("apiserver")
	w.renewPair(t, pki)
	w.expectSoon(t, func() bool { return w.lastFingerprint("apiserver") != second }, "a change in the new directory")
}

func TestAgentFollowsSymlinks(t *testing.T) {
	w := watchNode(t)
	pki := w.Local(certstest.PKIDir)
	first := w.lastFingerprint("apiserver")
	require.NoError(t, os.MkdirAll(w.Local("/data"), 0o755))
	require.NoError(t, os.CopyFS(w.Local("/data/1"), os.DirFS(pki)))
	require.NoError(t, os.CopyFS(w.Local("/data/2"), os.DirFS(pki)))
	require.NoError(t, os.Rename(pki, pki+".old"))
	w.node.LinkFile("/data/current", "1")
	w.node.LinkFile(certstest.PKIDir, "/data/current")
	w.renewPair(t, w.Local("/data/1"))
	w.expectSoon(t, func() bool { f := w.lastFingerprint("apiserver"); return f != "" && f != first }, "what the link leads to")

	second := w.lastFingerprint("apiserver")
	w.renewPair(t, w.Local("/data/2"))
	require.NoError(t, os.Symlink("2", w.Local("/data/next")))
	require.NoError(t, os.Rename(w.Local("/data/next"), w.Local("/data/current")))
	w.expectSoon(t, func() bool { f := w.lastFingerprint("apiserver"); return f != "" && f != first && f != second }, "what the turned link leads to")
}

func TestAgentContinuesWithUnreadableFiles(t *testing.T) {
	w := watchNode(t)
	// Root may read everything, so it is made unreadable by its kind.
	manifest := w.Local("/etc/kubernetes/manifests/kube-scheduler.yaml")
	require.NoError(t, os.WriteFile(manifest, []byte("\x00{not yaml"), 0o600))
	ca := w.Local(certstest.PKIDir + "/front-proxy-ca.crt")
	require.NoError(t, os.Remove(ca))
	require.NoError(t, os.Mkdir(ca, 0o755))
	w.expectSoon(t, func() bool {
		var paths []string
		for _, n := range w.lastReport().NotInspected {
			paths = append(paths, n.Path)
		}
		all := strings.Join(paths, " ")
		return strings.Contains(all, "kube-scheduler.yaml") && strings.Contains(all, "front-proxy-ca.crt")
	}, "both not inspected")
	assert.NotEmpty(t, w.lastFingerprint("apiserver"), "the rest is there")
}

func TestAgentNeverReportsKeys(t *testing.T) {
	w := watchNode(t)
	text := string(contentOf(w.lastReport()))
	for name, pair := range w.Pairs {
		for line := range strings.Lines(string(pair.KeyPEM(t))) {
			if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") {
				assert.NotContains(t, text, line, name)
			}
		}
	}
	assert.NotContains(t, text, "PRIVATE KEY")
}

func TestRunWantsSomewhereToWrite(t *testing.T) {
	assert.ErrorContains(t, RunAgent(t.Context(), Options{}), "no destination for reports")
}

// The rest runs on a clock of its own, with files that never change.
func pretendFiles(t *testing.T, r *reported, scanNode func() inventory.Node) {
	t.Helper()
	a := &agent{mail: newMailbox(), Options: Options{Root: "/nonexistent", Reports: r, ScanNode: func(context.Context) inventory.Node { return scanNode() }}}
	a.fillDefaults()
	go a.mail.deliver(t.Context(), r, nil, a.Log)
	go a.runLoop(t.Context())
}

func TestAgentSeesWhenAServedCertificateHasSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := endingIn("kube-apiserver", "apiserver", 300)
		c.Reason = "127.0.0.1:6443 serves another certificate"
		start := time.Now()
		var r reported
		pretendFiles(t, &r, func() inventory.Node {
			if time.Since(start) > 7*time.Second { // no file changes then
				c.Reason = ""
			}
			return inventory.Node{Name: "n", Time: time.Now(), Certificates: []inventory.Certificate{c}}
		})
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.Equal(t, 2, r.countReports())
		assert.Empty(t, r.lastReport().Certificates[0].Reason)
	})
}

func TestAgentWritesAgainNowAndThenThoughNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reported
		pretendFiles(t, &r, func() inventory.Node { return inventory.Node{Name: "n", Time: time.Now()} })
		time.Sleep(v1alpha1.ReportHeartbeat - time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, r.countReports())
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		assert.Equal(t, 2, r.countReports())
	})
}

func TestAgentRetriesWhileTheAPIIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reported{fails: 6}
		name := "old"
		pretendFiles(t, &r, func() inventory.Node {
			if r.failWrites() < 3 {
				name = "new"
			}
			return inventory.Node{Name: "n", Time: time.Now(), NotInspected: []inventory.NotInspected{{Reason: name}}}
		})
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, r.countReports(), "only the newest report is written")
		assert.Equal(t, "new", r.lastReport().NotInspected[0].Reason)
	})
}

func (r *reported) failWrites() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fails
}
