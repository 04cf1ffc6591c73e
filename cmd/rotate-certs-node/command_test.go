package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// runProgram runs the program on a node's tree and returns its output.
func runProgram(t *testing.T, root, stdin string, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := newCommand(strings.NewReader(stdin), &stdout, &stderr)
	cmd.SetArgs(append(args, "--root="+root, "--node-name=cp1"))
	err := cmd.ExecuteContext(t.Context())
	if err != nil && stdout.Len() > 0 {
		t.Errorf("%v failed, and printed %q", args, stdout.String())
	}
	return stdout.String(), err
}

func TestScanPrintsOneLineWithoutSecrets(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	out, err := runProgram(t, string(tree.Root), "", "scan")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(out, "\n") != 1 || strings.Contains(out, "PRIVATE") {
		t.Errorf("printed %q", out)
	}
	var node inventory.Node
	if err := json.Unmarshal([]byte(out), &node); err != nil || node.Name != "cp1" || node.ProgramVersion != version.Version {
		t.Errorf("node %+v, %v", node, err)
	}
}

func TestAnOrderIsAccepted(t *testing.T) {
	root := t.TempDir()
	for range 2 { // repeated after a lost answer
		out, err := runProgram(t, root, `{"kind":"Commit","rotation":"7f3c2a","token":1}`, "order", "--rotation=7f3c2a")
		if err != nil || out != "{\"accepted\":true}\n" {
			t.Errorf("printed %q, %v", out, err)
		}
	}
}

// When the main process ends, processes that exec has started in its pod end as well, such as
// follow.
func TestTheMainProcessWaitsForTheReaderOfItsLastRecord(t *testing.T) {
	root := string(certstest.Kubeadm(t, "cp1").Root)
	if _, err := runProgram(t, root, `{"kind":"Abandon","rotation":"7f3c2a","token":1}`, "order", "--rotation=7f3c2a"); err != nil {
		t.Fatal(err)
	}
	ctx, sigterm := context.WithCancel(t.Context())
	defer sigterm()
	cmd := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	cmd.SetArgs([]string{"run", "--rotation=7f3c2a", "--root=" + root, "--node-name=cp1"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()

	abandoned := errors.New("abandoned")
	err := statedir.FollowJournal(t.Context(), hostfs.Root(root), "7f3c2a", 0, func(rec nodeapi.Record) error {
		if rec.Kind == nodeapi.Abandoned {
			return abandoned
		}
		return nil
	})
	if !errors.Is(err, abandoned) {
		t.Fatal(err)
	}
	dir, err := statedir.OpenDir(hostfs.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	release, err := dir.TakeLock(t.Context(), statedir.Holder{})
	if err != nil {
		t.Fatalf("no other process can take the lock: %v", err)
	}
	release()
	select {
	case err := <-ended:
		t.Fatalf("it has ended already: %v", err)
	default:
	}
	sigterm()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHealthAsksOtherAPIServers(t *testing.T) {
	out, err := runProgram(t, string(certstest.Kubeadm(t, "cp1").Root), "", "health", "--other=cp2=127.0.0.1:1", "--other=cp3=[::1]:1")
	var h inventory.Health
	if err != nil || json.Unmarshal([]byte(out), &h) != nil || len(h.Others) != 2 || h.Others[0].Node != "cp2" || h.Others[1].Node != "cp3" || h.Others[0].Healthy {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestBadInput(t *testing.T) {
	root := t.TempDir()
	for _, test := range []struct {
		stdin string
		args  []string
		words string
	}{
		{"", []string{"order", "--rotation=7f3c2a"}, "read order"},
		{"{]", []string{"order", "--rotation=7f3c2a"}, "read order"},
		{`{"kind":"Commit","rotation":"other"}`, []string{"order", "--rotation=7f3c2a"}, `in the inbox of rotation "7f3c2a"`},
		{`{"kind":"Commit","rotation":"../x"}`, []string{"order", "--rotation=../x"}, "want lower-case letters"},
		{strings.Repeat(" ", 5<<20), []string{"order", "--rotation=7f3c2a"}, "larger than"},
		{"", []string{"order"}, "rotation"},
		{"", []string{"sign", "--rotation=7f3c2a"}, "read request"},
		{"{}", []string{"sign", "--rotation=7f3c2a"}, "refuse to sign for node"},
		{"", []string{"sign"}, "rotation"},
		{"", []string{"run", "--rotation=../x"}, "want lower-case letters"},
		{"", []string{"follow", "--rotation=../x"}, "want lower-case letters"},
		{"", []string{"journal", "--rotation=../x"}, "want lower-case letters"},
		{"", []string{"rotate"}, "name the services"},
		{"", []string{"rotate", "--service=ectd"}, `did you mean "etcd"?`},
		{"", []string{"rotate", "--service=etcd", "--all"}, "all"},
		{"", []string{"rotate", "--all", "--restart=perhaps"}, "always, if-needed, never"},
		{"", []string{"rotate", "--all", "--validity=soon"}, "validity"},
		{"", []string{"rotate", "--all", "--component-timeout=1ms"}, "at least one second"},
		{"", []string{"rotate", "--all", "--output=xml"}, `unknown output format "xml"`},
		{"", []string{"check", "--output=xml"}, `unknown output format "xml"`},
		{"", []string{"check", "--service=ectd"}, `did you mean "etcd"?`},
		{"", []string{"history", "../x"}, "want lower-case letters"},
		{"", []string{"history", "n0ne"}, "no journal has rotation \"n0ne\"\nhint: rotate-certs-node history lists them"},
		{"", []string{"rollback"}, "accepts 1 arg"},
		{"", []string{"rollback", "n0ne"}, `roll back rotation "n0ne": no node in scope has it in its journal`},
		{"", []string{"recover", "--output=xml"}, "json or text"},
		{"", []string{"forget", "n0ne"}, "not known on this node"},
		{"", []string{"forget", "../x"}, "want lower-case letters"},
		{"", []string{"dance"}, "unknown command"},
		{"", []string{"health", "--other=cp2"}, "want NODE=HOST:PORT"},
		{"", []string{"health", "--other=cp2=10.0.0.12"}, "want NODE=HOST:PORT"},
	} {
		_, err := runProgram(t, root, test.stdin, test.args...)
		if err == nil || !strings.Contains(hint.TextOf(err), test.words) {
			t.Errorf("%v: error %v, want %q", test.args, err, test.words)
		}
	}
}

func TestUnknownServiceHasAnErrorTypeOfItsOwn(t *testing.T) {
	_, err := runProgram(t, t.TempDir(), "", "rotate", "--service=nginx")
	var unknown *certs.UnknownServiceError
	if !errors.As(err, &unknown) {
		t.Errorf("error %v", err)
	}
}

func TestRecoverFailsWhileARotationIsInProgress(t *testing.T) {
	root := t.TempDir()
	dir, err := statedir.OpenDir(hostfs.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	release, err := dir.TakeLock(t.Context(), statedir.Holder{Rotation: "7f3c2a"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, err = runProgram(t, root, "", "recover")
	var locked *statedir.LockedError
	if !errors.As(err, &locked) || exitCode("recover", err, false) != exitcode.Held {
		t.Errorf("error %v, want that the node is locked, and exit code 3", err)
	}
}

func TestRotateWithNothingToDo(t *testing.T) {
	out, err := runProgram(t, t.TempDir(), "", "rotate", "--service=kube-proxy")
	if err != nil || out != "" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestJournalPrintsOneLine(t *testing.T) {
	root := t.TempDir()
	out, err := runProgram(t, root, "", "journal", "--rotation=7f3c2a")
	if err != nil || out != `{"node":"cp1","rotation":"7f3c2a","records":null}`+"\n" {
		t.Errorf("of a node that had no part: %q, %v", out, err)
	}
	dir := filepath.Join(root, "var/lib/rotate-certs/rotations/7f3c2a")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	line := `{"seq":1,"rotation":"7f3c2a","node":"cp1","kind":"Staging"}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "journal.jsonl"), []byte(line+"{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = runProgram(t, root, "", "journal", "--rotation=7f3c2a")
	var log nodeapi.Journal
	if err != nil || strings.Count(out, "\n") != 1 || json.Unmarshal([]byte(out), &log) != nil || len(log.Records) != 1 {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestVersion(t *testing.T) {
	out, err := runProgram(t, t.TempDir(), "", "version")
	if err != nil || strings.TrimSpace(out) != version.String() {
		t.Errorf("printed %q, %v", out, err)
	}
}
