package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// kubeadmNode is the tree of a kubeadm control plane on which nothing answers.
func kubeadmNode(t *testing.T) *layouttest.Node {
	t.Helper()
	tree := certstest.Kubeadm(t, "cp1")
	node := layouttest.NodeIn(t, tree.Root)
	node.AddKubeadm(certstest.PKIDir)
	return node
}

// call runs the program and returns its output, its messages and its exit code.
func call(t *testing.T, node *layouttest.Node, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := newCommand(strings.NewReader(""), &out, &errOut)
	cmd.SetArgs(append(args, "--root="+node.LocalPath("/"), "--node-name=cp1"))
	used, err := cmd.ExecuteContextC(t.Context())
	if err == nil {
		return out.String(), errOut.String(), 0
	}
	errOut.WriteString(errorText(err))
	return out.String(), errOut.String(), exitCode(used.Name(), err, false)
}

// TestCheckRotateHistoryAndRollbackByHand is what an operator types on a node without an API
// server.
func TestCheckRotateHistoryAndRollbackByHand(t *testing.T) {
	node := kubeadmNode(t)
	path := node.LocalPath("/etc/kubernetes/scheduler.conf")
	before := readFile(t, path)

	stdout, stderr, code := call(t, node, "rotate", "--service=kube-scheduler", "--restart=never", "-o", "json")
	if code != exitcode.Done {
		t.Fatalf("rotate: exit code %d: %s", code, stderr)
	}
	var report v1alpha1.RotationReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.Kind != v1alpha1.RotationReportKind || report.Result != v1alpha1.Succeeded {
		t.Fatalf("rotate printed %s, %v", stdout, err)
	}
	if len(report.Items) != 1 || len(report.Items[0].Certificates) != 1 || report.Items[0].Certificates[0].New == nil {
		t.Errorf("the report does not have the renewed certificate: %s", stdout)
	}
	if !strings.Contains(stderr, "1 certificate renewed on disk") || !strings.Contains(stderr, "Next: rotate-certs-node check") {
		t.Errorf("rotate said %s", stderr)
	}
	if bytes.Equal(before, readFile(t, path)) {
		t.Error("scheduler.conf was not renewed")
	}

	stdout, stderr, code = call(t, node, "rollback", report.ID, "--restart=never")
	if code != exitcode.Done || !strings.Contains(stdout, "put back") {
		t.Fatalf("rollback: exit code %d: %s%s", code, stdout, stderr)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Error("scheduler.conf is not as it was before the rotation")
	}
	stdout, stderr, code = call(t, node, "rollback", report.ID, "--restart=never")
	if code != exitcode.Failed || stdout != "" || !strings.Contains(stderr, "hint: rotate-certs-node history lists the rotations that this node keeps") {
		t.Errorf("a second rollback: exit code %d: %s%s", code, stdout, stderr)
	}

	stdout, _, code = call(t, node, "history")
	if code != 0 || !strings.Contains(stdout, report.ID) || !strings.Contains(stdout, "kube-scheduler, rollback of "+report.ID) {
		t.Errorf("history printed %s", stdout)
	}
	stdout, _, code = call(t, node, "history", report.ID)
	if code != 0 || !strings.Contains(stdout, "By the journals of cp1 only. Rotation "+report.ID+": kube-scheduler, from ") || !strings.Contains(stdout, "COMMITTED AND VERIFIED") {
		t.Errorf("history of one printed %s", stdout)
	}
}

func TestCheckByHandPrintsWhatThePluginPrints(t *testing.T) {
	node := kubeadmNode(t)
	stdout, stderr, code := call(t, node, "check", "--service=kube-scheduler")
	if code != exitcode.OK || !strings.HasPrefix(stdout, "NODE   SERVICE          CERTIFICATE      EXPIRES") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if !strings.HasPrefix(stderr, "The certificate is OK. The next one expires in ") {
		t.Errorf("the verdict is %s", stderr)
	}

	stdout, stderr, code = call(t, node, "check", "--service=kube-scheduler", "--within=9000d", "-o", "name")
	if code != exitcode.Attention || stdout != "cp1/kube-scheduler/scheduler.conf\n" {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	if !strings.Contains(stderr, "Next: rotate-certs-node rotate --service kube-scheduler\n") || strings.Contains(stderr, "error:") {
		t.Errorf("the verdict is %s", stderr)
	}

	_, stderr, code = call(t, node, "check", "--service=ectd")
	if code != exitcode.NotJudged || !strings.Contains(stderr, "error: ") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestCheckByHandIsRefusedToOtherUsersThanRoot(t *testing.T) {
	if err := refuseUser("/", 1000); err == nil || !strings.Contains(hint.TextOf(err), "hint: sudo rotate-certs-node check") || exitCode(checkName, err, false) != exitcode.NotJudged {
		t.Errorf("another user: %v, want a refusal and 2", err)
	}
	for root, uid := range map[string]int{"/": 0, "/host": 1000} {
		if err := refuseUser(root, uid); err != nil {
			t.Errorf("%s as user %d: %v", root, uid, err)
		}
	}
}

func TestHistoryByHandNamesADamagedJournal(t *testing.T) {
	node := kubeadmNode(t)
	stdout, _, code := call(t, node, "history")
	if code != 0 || stdout != "No rotation is recorded in the journals of the scanned nodes.\n" {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	dir := node.LocalPath("/var/lib/rotate-certs/rotations/7f3c2a")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/journal.jsonl", []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, _, code = call(t, node, "history")
	if code != 0 || !strings.Contains(stdout, "Not inspected\n  cp1  read this node's journals: ") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
