package plugin

import (
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func healthy() *fake {
	return newFake(controlPlane("cp1"), controlPlane("cp2"), controlPlane("cp3"), worker("w1"))
}

func TestRotatePrintsProgressToStderrAndReportToStdout(t *testing.T) {
	f := healthy()
	code, stdout, stderr := f.run(t, "--service", "etcd,kube-proxy")
	require.Equal(t, 0, code, stderr)

	golden(t, "rotate-stdout.txt", stdout)
	assert.NotContains(t, stdout, "etcd restarts on", "the plan is progress, not result")
	plan := strings.Index(stderr, "new: etcd, kube-proxy. The CA stays")
	assert.Greater(t, plan, 0)
	assert.Less(t, plan, strings.Index(stderr, "cp1       replaced"), "the plan is shown before anything is done")
	assert.True(t, strings.HasSuffix(stderr, ": 3 certificates renewed and verified. Next: kubectl rotate-certs check\n"), stderr)
	assert.NotContains(t, stderr+stdout, "\x1b", "off a terminal nothing is coloured or redrawn")
	assert.True(t, f.did("Stage cp1 for 2160h"), "the cluster's kubeadm configuration gives the lifetime: %v", f.log)
}

func TestRotateAsJSONPrintsOnlyTheReportToStdout(t *testing.T) {
	for _, ends := range []map[string]nodeapi.Kind{{}, {"cp2": nodeapi.RolledBack}} {
		f := healthy()
		f.ends = ends
		_, stdout, stderr := f.run(t, "--service", "etcd", "-o", "json")
		var report v1alpha1.RotationReport
		require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout)
		assert.Equal(t, v1alpha1.RotationReportKind, report.Kind)
		assert.NotContains(t, stdout, "null")
		assert.Contains(t, stderr, "replaced")
		assert.Contains(t, strings.Join(report.Notes, "\n"), "Kubernetes cannot revoke them")
	}
}

func TestExitCodesOfRotate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fake)
		args   string
		code   int
		says   string
		begun  bool // a node was worked on
	}{
		"verified":                 {func(*fake) {}, "--all --yes", 0, "renewed and verified", true},
		"on disk only":             {func(*fake) {}, "--service etcd --restart never", 0, "renewed on disk, no component restarted. These may use the old certificates until they are restarted: etcd.", true},
		"rolled back":              {func(f *fake) { f.ends["cp2"] = nodeapi.RolledBack }, "--service etcd", 2, "cp2 runs on its old certificates again", true},
		"state unknown":            {func(f *fake) { f.ends["cp2"] = nodeapi.Unknown }, "--service etcd", 5, "cp2: state unknown", true},
		"rolled back, first node":  {rolledBackEverywhere, "--service etcd", 2, "runs on its old certificates again", true},
		"fails before any change":  {func(f *fake) { f.unsigned = "cp2" }, "--service etcd", 1, "cp2 was not changed", false},
		"held":                     {func(f *fake) { f.held = &kube.HeldError{Holder: "jane@laptop"} }, "--service etcd", 3, "another rotation holds the lock: jane@laptop", false},
		"admission refuses":        {func(f *fake) { f.refused = errors.New("pod security") }, "--service etcd", 1, "nothing was changed", false},
		"no permission":            {func(f *fake) { f.denied = errors.New("missing permissions for rotate:\n  create pods") }, "--service etcd", 1, "create pods", false},
		"API unavailable":          {func(f *fake) { f.down = errors.New("list nodes: connection refused") }, "--service etcd", 1, "error: list nodes: connection refused", false},
		"unknown node":             {func(*fake) {}, "--service etcd --node cp11", 1, `unknown node "cp11", did you mean "cp1"?`, false},
		"NotReady, named":          {func(f *fake) { f.nodes[1].Ready = false }, "--service etcd --node cp1,cp2", 1, "cannot work on a node that was named, so nothing was changed:\n  cp2: NotReady", false},
		"node's pod failed, named": {failing("cp2"), "--service etcd --node cp2", 1, "cp2: ImagePullBackOff", false},
		"service nowhere":          {func(f *fake) { f.nodes, f.scanned = f.nodes[3:], f.scanned[3:] }, "--service etcd", 1, "no node in scope runs any of these services\nsee what is where: kubectl rotate-certs check", false},
		"service elsewhere":        {func(*fake) {}, "--service etcd --node w1", 1, "runs any of these services\netcd runs on cp1, cp2, cp3\n", false},
		"no CA key":                {noIssuer, "--service etcd", 4, "2 certificates renewed and verified, but 1 certificate was left out: see above. Next: kubectl rotate-certs check", true},
		"no CA key, all required":  {noIssuer, "--service etcd --require-all", 1, "cannot be renewed, so nothing was changed:\n  cp1: etcd-peer \"/etc/kubernetes/pki/etcd-peer.crt\": no CA key on this node", false},
		"no CA key, nothing else":  {noIssuer, "--service etcd --node cp1", 1, "cannot be renewed, so nothing was changed", false},
		"no CA key, plan":          {noIssuer, "plan --service etcd", 0, "Nothing was changed.", false},
		"a worker NotReady":        {func(f *fake) { f.nodes[3].Ready = false }, "--all --yes", 4, "1 item was not inspected: see above", true},
		"NotReady, all required":   {func(f *fake) { f.nodes[3].Ready = false }, "--all --require-all", 1, "so nothing was changed:\n  w1: NotReady", false},
		"NotReady, not in scope":   {func(f *fake) { f.nodes[3].Ready = false }, "--service etcd", 0, "renewed and verified", true},
		"a node without programs":  {func(f *fake) { f.nodes[3].OS = "windows" }, "--all --yes", 0, "renewed and verified", true},
		"--all, not confirmed":     {func(*fake) {}, "--all", 130, "Continue? [y/N]", false},
		"declined":                 {func(*fake) {}, "--service etcd --interactive", 130, "nothing was changed", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			tt.change(f)
			code, _, stderr := f.run(t, strings.Fields(tt.args)...)
			assert.Equal(t, tt.code, code, stderr)
			assert.Contains(t, stderr, tt.says)
			assert.Equal(t, tt.begun, f.did("Commit"), "%v", f.log)
		})
	}
}

func TestHeldLockIsReportedBeforeTheScan(t *testing.T) {
	f := healthy()
	f.heldNow = &kube.HeldError{Holder: "jane@laptop"}
	code, _, stderr := f.run(t, "--service", "etcd")
	assert.Equal(t, 3, code)
	assert.Contains(t, stderr, "another rotation holds the lock: jane@laptop")
	assert.Contains(t, stderr, "\nhint: wait until it has finished; if its process was killed, or you have ended it, add --take-over")
	assert.False(t, f.did("scan"), "%v", f.log)

	code, stdout, _ := f.run(t, "--service", "etcd", "-o", "json")
	assert.Equal(t, 3, code)
	var report v1alpha1.RotationReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), "%s", stdout)
	assert.Equal(t, v1alpha1.Failed, report.Result)
	assert.Contains(t, report.Message, "jane@laptop")

	code, _, stderr = f.run(t, "plan", "--service", "etcd")
	assert.Equal(t, 0, code, "a plan needs no lock: %s", stderr)
}

func rolledBackEverywhere(f *fake) {
	for _, n := range f.nodes {
		f.ends[n.Name] = nodeapi.RolledBack
	}
}

func TestTakeOverReachesTheLock(t *testing.T) {
	f := healthy()
	for args, want := range map[string]bool{"--service etcd": false, "--service etcd --take-over": true} {
		code, _, stderr := f.run(t, strings.Fields(args)...)
		require.Zero(t, code, stderr)
		assert.Equal(t, want, f.connection.takeOver, args)
	}
	displaced := &kube.HeldError{Holder: "jane@laptop (rotation 7f3c2a)", Since: noon}
	assert.Equal(t, "took the lock from jane@laptop (rotation 7f3c2a), who had held it since 2026-11-24 12:00:00 UTC", displacedText(displaced))
}

func failing(node string) func(*fake) {
	return func(f *fake) {
		f.missing = []plan.NotInspected{{Node: node, Reason: "ImagePullBackOff: not found"}}
	}
}

func noIssuer(f *fake) {
	c := &f.scanned[0].Certificates[0]
	c.Issuer, c.Reason = inventory.Issuer{Kind: inventory.NoIssuer}, "no CA key on this node"
}

func TestLeftOutCertificatesAreInPlanAndReport(t *testing.T) {
	f := healthy()
	noIssuer(f)
	const line = "\nLeft out, since it cannot be renewed\n  cp1  etcd-peer /etc/kubernetes/pki/etcd-peer.crt, expires 2027-09-20 12:00 UTC: no CA key on this node\n"
	_, stdout, _ := f.run(t, "plan", "--service", "etcd")
	assert.Contains(t, stdout, line)
	assert.NotContains(t, stdout, "1       cp1")
	_, stdout, stderr := f.run(t, "--service", "etcd")
	assert.Contains(t, stderr, line, "before anything is done")
	assert.Contains(t, stdout, line)

	_, stdout, _ = f.run(t, "plan", "--service", "etcd", "-o", "json")
	var document v1alpha1.RotationPlan
	require.NoError(t, json.Unmarshal([]byte(stdout), &document))
	_, stdout, _ = f.run(t, "--service", "etcd", "-o", "json")
	var report v1alpha1.RotationReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	for _, left := range [][]v1alpha1.LeftOut{document.LeftOut, report.LeftOut} {
		require.Len(t, left, 1)
		assert.Equal(t, "no CA key on this node", left[0].Reason)
		assert.Equal(t, noon.Add(300*day), left[0].NotAfter.UTC())
	}
	for _, item := range report.Items {
		assert.NotEqual(t, "cp1", item.Node, "nothing of it was renewed there")
	}
}

func TestSecretsAreSearchedOnlyWhereAsked(t *testing.T) {
	f := healthy()
	peer := f.scanned[0].Certificates[0].FingerprintSHA256
	f.secrets = []kube.SecretCopy{{Namespace: "monitoring", Name: "etcd", Key: "tls.crt", FingerprintSHA256: peer}, {Namespace: "x", Name: "y", FingerprintSHA256: "another"}}
	for _, args := range []string{"check", "plan --service etcd"} {
		_, stdout, stderr := f.run(t, strings.Fields(args)...)
		assert.NotContains(t, stdout+stderr, "monitoring/etcd")
	}
	assert.False(t, f.did("secrets"))
	const line = `Secrets with a copy, which no rotation changes: monitoring/etcd key "tls.crt" (etcd-peer of `
	_, _, stderr := f.run(t, "check", "--find-secrets")
	assert.Contains(t, stderr, line)
	_, stdout, _ := f.run(t, "plan", "--service", "etcd", "--find-secrets")
	assert.Contains(t, stdout, line)
	_, stdout, _ = f.run(t, "--service", "etcd", "--find-secrets")
	assert.Contains(t, stdout, line, "the report has it, too")
	_, stdout, _ = f.run(t, "plan", "--service", "kubelet", "--find-secrets")
	assert.NotContains(t, stdout, "monitoring/etcd")
	f.notSearched = "ConfigMaps: you may not"
	_, _, stderr = f.run(t, "check", "--find-secrets")
	assert.Contains(t, stderr, "Not searched for copies: ConfigMaps: you may not.")
}

func TestMachinesOfClusterAPIAreInPlanAndReport(t *testing.T) {
	f := healthy()
	f.nodes[0].ClusterAPI = "prod"
	for _, args := range []string{"plan --service etcd", "--service etcd"} {
		_, stdout, _ := f.run(t, strings.Fields(args)...)
		assert.Contains(t, stdout, `Cluster API (cluster "prod") manages cp1: `, args)
	}
}

func TestUnavailableNodesAreListedAndTheOthersRotated(t *testing.T) {
	f := healthy()
	f.nodes[3].Ready = false
	code, stdout, _ := f.run(t, "--service", "kubelet")
	assert.Equal(t, 4, code)
	assert.Contains(t, stdout, "Not inspected\n  w1  NotReady\n")
	assert.False(t, f.did("open w1"))
	assert.True(t, f.did("Commit cp1"))
}

func TestNothingToRenewIsNoFailure(t *testing.T) {
	f := healthy()
	code, stdout, stderr := f.run(t, "--service", "kube-proxy")
	assert.Equal(t, 0, code)
	assert.Equal(t, "kube-proxy on cp1, cp2, cp3, w1: nothing to renew; authenticates with a ServiceAccount token, so it has no certificate.\n", stdout)
	assert.Contains(t, stderr, "Nothing to renew, nothing was changed.")
	assert.False(t, f.did("open"), "%v", f.log)
}

func TestNamedNodesAreRotatedAndTheControlPlaneIsScanned(t *testing.T) {
	f := healthy()
	code, _, stderr := f.run(t, "--service", "kubelet", "--node", "w1")
	require.Equal(t, 0, code, stderr)
	assert.True(t, f.did("scan cp1,cp2,cp3,w1"), "the highest fencing token may be on any of them: %v", f.log)
	assert.True(t, f.did("Commit w1"))
	assert.False(t, f.did("open cp"))
}

// TestClosedPipeDoesNotStopARotation: the reader of the output has ended.
func TestClosedPipeDoesNotStopARotation(t *testing.T) {
	f := healthy()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	f.out = w
	f.onCommit = func(string) { assert.True(t, signal.Ignored(syscall.SIGPIPE), "it would end the program") }
	for _, format := range []string{"", "json", "name"} {
		code, _, stderr := f.run(t, "--service", "etcd", "-o", format)
		require.Equal(t, 0, code, stderr)
		assert.Contains(t, stderr, "Done in")
	}
	assert.True(t, f.did("Commit cp3"))
}

func TestNodesAreChosenByTheirLabels(t *testing.T) {
	f := healthy()
	for i := range f.nodes {
		f.nodes[i].Labels = map[string]string{"pool": f.nodes[i].Name[:1]}
	}
	code, _, stderr := f.run(t, "--service", "kubelet", "-l", "pool=w")
	require.Equal(t, 0, code, stderr)
	assert.True(t, f.did("Commit w1"))
	assert.False(t, f.did("open cp"))

	code, _, stderr = f.run(t, "--service", "kubelet", "-l", "pool=x")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `no node is selected by "pool=x"`)

	f.log = nil
	code, stdout, _ := f.run(t, "check", "-l", "pool=w", "-o", "json")
	assert.Equal(t, 0, code)
	assert.Contains(t, stdout, `"w1"`)
	assert.True(t, f.did("scan w1"), "%v", f.log)
}

func TestPlanAndServerDryRunChangeNothing(t *testing.T) {
	f := healthy()
	code, stdout, stderr := f.run(t, "plan", "--service", "etcd", "-o", "json")
	require.Equal(t, 0, code, stderr)
	var document v1alpha1.RotationPlan
	require.NoError(t, json.Unmarshal([]byte(stdout), &document))
	assert.Equal(t, v1alpha1.RotationPlanKind, document.Kind)
	assert.Len(t, document.Steps, 3)
	assert.Equal(t, int64(90*24*3600), document.ValiditySeconds)
	assert.Contains(t, stderr, "Nothing was changed. To do it, run the same without \"plan\".")
	assert.False(t, f.did("dry run of"), "no node pod is sent to the API server")

	code, stdout, stderr = f.run(t, "--service", "etcd", "--dry-run=server")
	assert.Equal(t, 0, code)
	assert.Contains(t, stdout, "etcd restarts on cp1, cp2, cp3")
	assert.Contains(t, stderr, "The API server admits 3 node pods.")
	f.refused = errors.New(`pods "x" is forbidden: violates PodSecurity`)
	code, _, stderr = f.run(t, "--service", "etcd", "--dry-run=server")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "violates PodSecurity")
	assert.False(t, f.did("lock") || f.did("open"), "%v", f.log)
}

func TestSameCommandContinuesAnUnfinishedRotation(t *testing.T) {
	f := healthy()
	for i := range f.scanned[:2] {
		n := &f.scanned[i]
		c := n.Certificates[0]
		rotation := inventory.NodeRotation{ID: "abc123", Token: 7, Scope: "services=etcd", StartTime: noon.Add(-time.Hour), State: inventory.RolledBack}
		if i == 0 {
			rotation.State = inventory.Committed
			rotation.Renewed = []inventory.Renewal{{ID: c.ID(), Old: facts("old", "ca", day), New: c.Facts}}
		}
		n.Rotations = []inventory.NodeRotation{rotation}
	}
	code, _, stderr := f.run(t, "--service", "etcd")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, "Rotation abc123, continued from 2026-11-24 11:00 UTC (cp1 done before): etcd")
	assert.False(t, f.did("Commit cp1"), "renewed by this rotation already")
	assert.True(t, f.did("open cp2 for abc123"))

	code, _, stderr = f.run(t, "--service", "etcd,kubelet")
	require.Equal(t, 0, code)
	assert.Contains(t, stderr, ", new: etcd, kubelet", "another scope is another rotation")
	assert.Contains(t, stderr, "Rotation abc123 is unfinished, and this one does not continue it. To continue it: kubectl rotate-certs --service etcd\n")
}

// TestARotationThatMayHaveEndedElsewhereIsNotSaidToBeUnfinished: only the workers, which are not
// scanned, have the end of the other rotation in their journals.
func TestARotationThatMayHaveEndedElsewhereIsNotSaidToBeUnfinished(t *testing.T) {
	f := healthy()
	for i := range f.scanned {
		if f.scanned[i].ControlPlane() {
			f.scanned[i].Rotations = []inventory.NodeRotation{{ID: "abc123", Token: 7, Scope: "services=etcd,kubelet", StartTime: noon.Add(-time.Hour), State: inventory.Committed}}
		}
	}
	code, _, stderr := f.run(t, "--service", "etcd", "--node", "cp1")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, "Scanning 3 nodes")
	assert.NotContains(t, stderr, "unfinished")
}

func TestInteractiveAsksAfterThePlan(t *testing.T) {
	f := healthy()
	code, _, stderr := f.interrupted(t, nil, strings.NewReader("y\n"), "--service", "etcd", "--interactive")
	assert.Equal(t, 0, code, stderr)
	assert.Less(t, strings.Index(stderr, "etcd restarts on"), strings.Index(stderr, "Continue? [y/N]"), "the plan is printed before the question")
}

func TestCtrlCFinishesTheNodeInProgress(t *testing.T) {
	f := healthy()
	signals := make(chan os.Signal)
	f.onCommit = func(node string) {
		if node == "cp1" {
			signals <- os.Interrupt
			<-f.rotation.Done() // the engine is interrupted before the node continues
		}
	}
	code, stdout, stderr := f.interrupted(t, signals, strings.NewReader(""), "--service", "etcd")
	assert.Equal(t, 130, code, stderr)
	assert.Contains(t, stderr, "finishing or rolling back cp1, then stopping; press Ctrl-C again to stop at once")
	assert.Contains(t, stderr, "error: interrupted\n  cp1 keeps the new, verified certificates\n  cp2 cp3 were not touched")
	assert.Contains(t, stdout, "not reached", "there is a report all the same")
	assert.True(t, f.did("Commit cp1"))
	assert.False(t, f.did("Commit cp2"))
}

func TestCtrlCDuringTheScanChangesNothing(t *testing.T) {
	for _, args := range []string{"check", "--service etcd"} {
		f := healthy()
		signals := make(chan os.Signal)
		f.onScan = func() { signals <- os.Interrupt }
		code, stdout, stderr := f.interrupted(t, signals, strings.NewReader(""), strings.Fields(args)...)
		assert.Equal(t, 130, code, stderr)
		assert.Empty(t, stdout)
		assert.True(t, strings.HasSuffix(stderr, "stopping; press Ctrl-C again to stop at once\nerror: interrupted before anything was changed\n"), stderr)
	}
}

func TestCtrlCTwiceStopsAtOnce(t *testing.T) {
	f := healthy()
	signals, left := make(chan os.Signal), make(chan struct{})
	t.Cleanup(func() { close(left) })
	f.onCommit = func(string) {
		signals <- os.Interrupt
		signals <- os.Interrupt
		<-left // the node continues after the program has ended
	}
	code, _, stderr := f.interrupted(t, signals, strings.NewReader(""), "--service", "etcd")
	assert.Equal(t, 130, code)
	assert.Contains(t, stderr, "stopped at once: the process on cp1 finishes or rolls back on its own.\nnext: kubectl rotate-certs --service etcd --take-over\n")
}

func TestClosedTerminalFinishesTheNodeInProgress(t *testing.T) {
	f := healthy()
	signals := make(chan os.Signal)
	f.onCommit = func(node string) {
		if node == "cp1" {
			signals <- syscall.SIGHUP
			<-f.rotation.Done()
			signals <- syscall.SIGHUP
		}
	}
	code, stdout, stderr := f.interrupted(t, signals, strings.NewReader(""), "--service", "etcd")
	assert.Equal(t, 130, code, stderr)
	assert.Contains(t, stderr, "error: interrupted\n  cp1 keeps the new, verified certificates\n  cp2 cp3 were not touched")
	assert.Contains(t, stdout, "not reached", "there is a report all the same")
}

func TestExitCodesOfCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fake)
		args   string
		code   int
		says   string
	}{
		"OK":              {func(*fake) {}, "check", 0, "All 16 certificates are OK. The next one expires in 300d"},
		"expires soon":    {func(*fake) {}, "check --within 310d", 1, "12 of 16 certificates need attention. Next: kubectl rotate-certs --service etcd,kube-apiserver,admin"},
		"a NotReady node": {func(f *fake) { f.nodes[3].Ready = false }, "check", 1, "1 item was not inspected"},
		"a windows node":  {func(f *fake) { f.nodes[3].OS = "windows" }, "check", 0, "All 15 certificates are OK"},
		"no issuer":       {noIssuer, "check", 0, "1 cannot be renewed here"},
		"nothing scanned": {func(f *fake) {
			for i := range f.nodes {
				f.nodes[i].Ready = false
			}
		}, "check", 2, "error: no node could be scanned:\n  cp1, cp2, cp3, w1: NotReady"},
		"no permission": {func(f *fake) { f.denied = errors.New("missing permissions") }, "check", 2, "error: missing permissions"},
		"unknown node":  {func(*fake) {}, "check --node w2", 2, `unknown node "w2", did you mean "w1"?`},
		"bad flag":      {func(*fake) {}, "check --within soon", 2, `duration "soon"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			tt.change(f)
			code, _, stderr := f.run(t, strings.Fields(tt.args)...)
			assert.Equal(t, tt.code, code, stderr)
			assert.Contains(t, stderr, tt.says)
		})
	}
}

func TestCheckRepeatsHowTheClusterWasReached(t *testing.T) {
	_, _, stderr := healthy().run(t, "check", "--within", "310d", "--context", "night-shift", "--token", "canary", "--service", "etcd")
	assert.Contains(t, stderr, "Next: kubectl rotate-certs --context night-shift --service etcd\n")
	assert.NotContains(t, stderr, "canary", "a credential is never repeated")
}

func TestCheckAsJSONPrintsOnlyTheListToStdout(t *testing.T) {
	f := healthy()
	f.who = &identity{Facts: facts("jane", "kubernetes", day), kubeconfig: "jane.conf"}
	f.scanned[3].Time = noon.Add(-2 * time.Hour)
	code, stdout, stderr := f.run(t, "check", "-o", "json", "--node", "w1")
	assert.Equal(t, 0, code, stderr)
	var list v1alpha1.CertificateList
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Len(t, list.Items, 1)
	assert.Equal(t, certs.OK, list.Items[0].Status)
	assert.Contains(t, stderr, "w1: its clock is 2h behind this machine's")
	assert.Contains(t, stderr, "jane.conf: your own client certificate (jane) expires in 24h")
}

func TestHelpLeavesCommonFlagsToOptions(t *testing.T) {
	code, stdout, stderr := healthy().run(t, "check", "--help")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Contains(t, stdout, "kubectl rotate-certs check [flags]")
	assert.NotContains(t, stdout, "--kubeconfig")
	assert.Contains(t, stdout, `Use "kubectl rotate-certs options"`)
	_, stdout, _ = healthy().run(t, "options")
	assert.Contains(t, stdout, "--kubeconfig")
	assert.Contains(t, stdout, `(default "kube-system")`, "node pods do not run in the context's namespace")
}

func TestHelpFitsItsWidth(t *testing.T) {
	var commands [][]string
	var collect func(c *cobra.Command, path []string)
	collect = func(c *cobra.Command, path []string) {
		commands = append(commands, path)
		for _, sub := range c.Commands() {
			collect(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	collect((&app{}).rootCommand(newConnectionFlags()), nil)
	for _, path := range commands {
		args := append(slices.Clone(path), "--help")
		code, stdout, stderr := healthy().run(t, args...)
		require.Zero(t, code, stderr)
		for line := range strings.Lines(stdout) {
			assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), helpWidth, "%v: %s", args, line)
		}
	}
	_, stdout, _ := healthy().run(t, "options")
	for line := range strings.Lines(stdout) {
		assert.LessOrEqual(t, len(line), helpWidth+1, line)
	}
}

func TestCompletionOffersNodesThatAreNotGivenYet(t *testing.T) {
	_, stdout, _ := healthy().run(t, "__complete", "--service", "etcd", "--node", "cp1,c")
	assert.Equal(t, "cp1,cp2\ncp1,cp3\n:6\n", stdout)
	_, stdout, _ = healthy().run(t, "__complete", "--service", "etcd,kube-c")
	assert.Equal(t, "etcd,kube-controller-manager\n:6\n", stdout)
	_, stdout, _ = healthy().run(t, "__complete", "check", "--context", "n")
	assert.Equal(t, "night-shift\nnowhere\n:4\n", stdout)
}
