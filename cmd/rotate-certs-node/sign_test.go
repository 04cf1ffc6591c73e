package main

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// signLine is a request of cp2 for the successor of a certificate, with the new key.
func signLine(t *testing.T, tree *certstest.Tree) (line string, old certstest.Pair, key certs.Key) {
	t.Helper()
	old = tree.EtcdCA.Leaf(t, certstest.Name("cp2"), certstest.SANs("cp2"))
	key, err := certs.NewKeyLike(old.Leaf().PublicKey, "")
	if err != nil {
		t.Fatal(err)
	}
	request, err := certs.NewCSR(old.Leaf(), key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(request)
	signature, err := certs.SignPossession(old.Leaf(), old.Key, block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(nodeapi.SignRequest{
		Node: "cp2", CACert: certstest.PKIDir + "/etcd/ca.crt", CAKey: certstest.PKIDir + "/etcd/ca.key",
		CSR: nodeapi.CSR{TargetID: "etcd/etcd-server@/x", PEM: string(request), Authority: certs.AuthorityID(tree.EtcdCA.Cert), Chain: string(old.CertPEM()), Possession: signature}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data), old, key
}

func TestSignPrintsAndRecordsOneCertificate(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	line, old, key := signLine(t, tree)

	out, err := runProgram(t, string(tree.Root), line, "sign", "--rotation=7f3c2a")

	if err != nil {
		t.Fatal(err)
	}
	var answer nodeapi.SignAnswer
	if err := json.Unmarshal([]byte(out), &answer); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("printed %q, %v", out, err)
	}
	chain, err := certs.ParsePEM([]byte(answer.PEM))
	if err != nil || !key.FitsCert(chain[0]) || chain[0].CheckSignatureFrom(tree.EtcdCA.Cert) != nil {
		t.Errorf("signed %v, %v", chain, err)
	}
	data, err := os.ReadFile(filepath.Join(string(tree.Root), "var/lib/rotate-certs/rotations/7f3c2a/signed.jsonl"))
	var recorded nodeapi.Signature
	if err != nil || json.Unmarshal(data, &recorded) != nil {
		t.Fatalf("recorded %q, %v", data, err)
	}
	if recorded.Node != "cp2" || recorded.New != certs.Fingerprint(chain[0]) || recorded.Old != certs.Fingerprint(old.Leaf()) {
		t.Errorf("recorded %+v", recorded)
	}
}

// TestSignHandsOutNothingThatIsNotRecorded: the audit trail comes first.
func TestSignHandsOutNothingThatIsNotRecorded(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	line, _, _ := signLine(t, tree)
	out, err := runProgram(t, string(tree.Root), line, "sign", "--rotation=../x")
	if err == nil || !strings.Contains(err.Error(), "want lower-case letters") || out != "" {
		t.Errorf("printed %q, %v", out, err)
	}
}
