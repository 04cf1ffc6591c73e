package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestOneNodeSignsForAnother passes messages between the programs of two nodes, as the plugin
// does. Only the second has the key of the CA.
func TestOneNodeSignsForAnother(t *testing.T) {
	root := schedulerNode(t)
	signer := t.TempDir()
	if err := os.CopyFS(signer+certstest.PKIDir, os.DirFS(root+certstest.PKIDir)); err != nil {
		t.Fatal(err)
	}
	withKey := scanned(t, root, "cp0")
	if err := os.Remove(root + certstest.PKIDir + "/ca.key"); err != nil {
		t.Fatal(err)
	}
	step := stepOf(t, withKey, scanned(t, root, "cp1"))
	order := func(o nodeapi.Order) {
		o.Rotation = "7f3c2a"
		o.Token = 1
		line, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runProgram(t, root, string(line), "order", "--rotation=7f3c2a"); err != nil {
			t.Fatal(err)
		}
	}
	order(nodeapi.Order{Kind: nodeapi.OrderStage, ID: "stage", Step: &step, Restart: plan.RestartNever})
	ctx, sigterm := context.WithCancel(t.Context())
	defer sigterm()
	cmd := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	cmd.SetArgs([]string{"run", "--rotation=7f3c2a", "--root=" + root, "--node-name=cp1"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()

	var answer nodeapi.Record
	answered := errors.New("answered")
	err := statedir.FollowJournal(t.Context(), hostfs.Root(root), "7f3c2a", 0, func(rec nodeapi.Record) error {
		if rec.Kind == nodeapi.CSRNeeded {
			order(nodeapi.Order{Kind: nodeapi.OrderIssued, ID: rec.CSR.TargetID, Issued: signedBy(t, signer, *rec.CSR)})
		}
		answer = rec
		if rec.Kind.IsAnswer() {
			return answered
		}
		return nil
	})

	if !errors.Is(err, answered) || answer.Kind != nodeapi.Staged || len(answer.Renewals) != 1 {
		t.Fatalf("answer %s %q with %d renewals, %v", answer.Kind, answer.Message, len(answer.Renewals), err)
	}
	for _, renewal := range answer.Renewals {
		if renewal.SignedBy != "cp0" {
			t.Errorf("%s is signed by %q", renewal.ID, renewal.SignedBy)
		}
	}
	sigterm()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// schedulerNode is a node that runs kube-scheduler, whose API server does not run.
func schedulerNode(t *testing.T) string {
	t.Helper()
	tree := certstest.Kubeadm(t, "cp1")
	root := string(tree.Root)
	conf := root + "/etc/kubernetes/scheduler.conf"
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, bytes.ReplaceAll(text, []byte("10.0.0.11:6443"), []byte("127.0.0.1:1")), 0o600); err != nil {
		t.Fatal(err)
	}
	n := layouttest.NodeIn(t, tree.Root)
	n.KubeadmWorker()
	argv := layouttest.ControlPlaneArgs(certs.KubeScheduler, certstest.PKIDir)
	n.WriteFile("/etc/kubernetes/manifests/kube-scheduler.yaml", layouttest.ManifestFor("kube-scheduler", argv, layouttest.MountsOf(certs.KubeScheduler, certstest.PKIDir)))
	n.AddProcess(402, layouttest.StaticPodCgroup("c"), argv...)
	return root
}

// scanned is the inventory that the node program prints, under that name.
func scanned(t *testing.T, root, name string) inventory.Node {
	t.Helper()
	out, err := runProgram(t, root, "", "scan")
	var node inventory.Node
	if err != nil || json.Unmarshal([]byte(out), &node) != nil {
		t.Fatalf("scan: %q, %v", out, err)
	}
	node.Name = name
	return node
}

// stepOf is the part of the last node in a rotation of the scheduler.
func stepOf(t *testing.T, nodes ...inventory.Node) plan.Step {
	t.Helper()
	for i := range nodes {
		nodes[i].Known.ControlPlane = true
	}
	p, err := plan.BuildPlan(nodes, plan.Request{Services: []certs.Service{certs.KubeScheduler}, Restart: plan.RestartNever}, nil)
	if err != nil {
		t.Fatal(err)
	}
	steps := p.AllSteps()
	return steps[len(steps)-1]
}

// signedBy is the answer of a node's program to a request of cp1.
func signedBy(t *testing.T, root string, csr nodeapi.CSR) *nodeapi.Issued {
	t.Helper()
	line, err := json.Marshal(nodeapi.SignRequest{Node: "cp1", ControlPlane: true, CSR: csr, CACert: certstest.PKIDir + "/ca.crt", CAKey: certstest.PKIDir + "/ca.key"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := runProgram(t, root, string(line), "sign", "--rotation=7f3c2a")
	var answer nodeapi.SignAnswer
	if err != nil || json.Unmarshal([]byte(out), &answer) != nil {
		t.Fatalf("sign: %q, %v", out, err)
	}
	return &nodeapi.Issued{TargetID: csr.TargetID, PEM: answer.PEM, SignedBy: "cp0"}
}
