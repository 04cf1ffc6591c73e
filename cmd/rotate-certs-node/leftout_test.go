package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestByHandLeftOutCertificatesAreNamed(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	node := layouttest.NodeIn(t, tree.Root)
	node.AddKubeadm(certstest.PKIDir)
	for _, f := range []string{"/etc/kubernetes/manifests/etcd.yaml", certstest.PKIDir + "/etcd/ca.key", "/proc/400"} {
		if err := os.RemoveAll(node.LocalPath(f)); err != nil {
			t.Fatal(err)
		}
	}
	serving := node.LocalPath(certstest.PKIDir + "/apiserver.crt")
	before, err := os.ReadFile(serving)
	if err != nil {
		t.Fatal(err)
	}
	rotated := func(args ...string) (string, error) {
		var stdout, stderr bytes.Buffer
		cmd := newCommand(strings.NewReader(""), &stdout, &stderr)
		cmd.SetArgs(append([]string{"rotate", "--service=kube-apiserver", "--restart=never", "--root=" + string(tree.Root), "--node-name=cp1"}, args...))
		err := cmd.ExecuteContext(t.Context())
		return stdout.String() + stderr.String(), err
	}

	_, err = rotated("--require-all")
	var refused *plan.RefusedError
	if !errors.As(err, &refused) || exitCode("rotate", err, false) != exitcode.Failed {
		t.Errorf("--require-all: %v, want a refusal and 1", err)
	}
	if after, err := os.ReadFile(serving); err != nil || !bytes.Equal(before, after) {
		t.Errorf("--require-all has changed %s, %v", serving, err)
	}

	words, err := rotated()
	if !errors.Is(err, rotate.ErrLeftOut) || exitCode("rotate", err, false) != exitcode.LeftOut {
		t.Errorf("error %v, want ErrLeftOut and 4", err)
	}
	for _, want := range []string{
		"\nLeft out, since it cannot be renewed\n  cp1  apiserver-etcd-client /etc/kubernetes/pki/apiserver-etcd-client.crt, expires ",
		", but 1 certificate was left out: see above. Next: rotate-certs-node check, then the other nodes, one after the other\n",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("%q was printed, want %q", words, want)
		}
	}
	if after, err := os.ReadFile(serving); err != nil || bytes.Equal(before, after) {
		t.Errorf("%s was not renewed, %v", serving, err)
	}
}
