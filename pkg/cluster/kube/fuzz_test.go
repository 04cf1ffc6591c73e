package kube

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// FuzzInventory is a node that answers a scan with anything: it is refused, or it is
// about that node only, and everything that decides by it ends.
func FuzzInventory(f *testing.F) {
	line, err := json.Marshal(inventory.Node{
		Name: "w1", Token: 7,
		Components: []inventory.Component{{Service: certs.Kubelet, Runtime: inventory.Systemd, Args: []string{"--service-cluster-ip-range=10.0.0.0/8"}}},
		Certificates: []inventory.Certificate{{Service: certs.Kubelet, Name: "kubelet-client", Status: certs.OK,
			Facts: certs.Facts{FingerprintSHA256: "ab", SANs: []string{"w1", "10.0.0.1"}, Usages: []string{"server auth"}}}},
		Rotations: []inventory.NodeRotation{{ID: "7f3c2a", Scope: "services=etcd;nodes=w1", State: inventory.Committed, Renewed: []inventory.Renewal{{ID: "a"}}}},
	})
	require.NoError(f, err)
	f.Add(line)
	f.Add([]byte(`{"name":"w1","rotations":[{"id":"../x","scope":"services=etcd;nodes=$(x)"}]}`))
	f.Add([]byte("{\"name\":\"w1\"}\n{\"name\":\"cp1\"}"))
	f.Add([]byte(`{"name":"w1","certificates":[null],"components":[{}],"token":-1}`))
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, output []byte) {
		n, err := parseInventory(output, "w1")
		if err != nil {
			require.Nil(t, n)
			return
		}
		require.Equal(t, "w1", n.Name)
		nodes := []inventory.Node{*n}
		req := plan.Request{Services: certs.Services(), Restart: plan.RestartIfNeeded}
		p, err := plan.BuildPlan(nodes, req, plan.FindUnfinished(nodes, req.ScopeText(), now, ""))
		if err == nil {
			for _, s := range p.AllSteps() {
				require.Equal(t, "w1", s.Node, "a node can make a plan for itself only")
			}
		}
		for _, past := range plan.RotationsOf(nodes, false, now) {
			require.Regexp(t, `^(--all|--service [a-z,-]+)?( --node [a-z0-9.,-]+)?$`, past.CommandArgs())
		}
		kubenode.CheckNames(*n, []string{"10.0.0.2"}, []string{"w1.example"})
	})
}

// FuzzJournal is a node pod that writes anything as a journal.
func FuzzJournal(f *testing.F) {
	for _, rec := range []nodeapi.Record{
		{Seq: 1, Node: "w1", Rotation: "7f3c2a", Kind: nodeapi.Committed, Renewals: []inventory.Renewal{{}}},
		{Seq: 2, Node: "cp1", Rotation: "7f3c2a", Kind: nodeapi.Verified, Evidence: &nodeapi.Evidence{}},
		{Seq: 2, Node: "w1", Rotation: "other", Kind: nodeapi.CSRNeeded, CSR: &nodeapi.CSR{}},
	} {
		line, err := json.Marshal(nodeapi.Journal{Node: rec.Node, Rotation: rec.Rotation, Records: []nodeapi.Record{rec}})
		require.NoError(f, err)
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		log, err := parseLog(line, "w1", "7f3c2a")
		if err != nil {
			return
		}
		for _, r := range log.Records {
			require.Equal(t, "w1/7f3c2a", r.Node+"/"+r.Rotation)
		}
		nodeapi.SummarizeRecords("7f3c2a", log.Records)
	})
}

// FuzzRequest is a node that asks to have anything signed.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		csr, err := certs.ParseCSR(request)
		if (csr == nil) == (err == nil) {
			t.Errorf("%v, %v", csr, err)
		}
	})
}
