package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func TestRecordsAsText(t *testing.T) {
	var out strings.Builder
	w := &recordText{w: &out}
	for _, rec := range []nodeapi.Record{
		{Kind: nodeapi.Staging, Services: []certs.Service{certs.Etcd, certs.Kubelet}},
		{Kind: nodeapi.Staged, Renewals: make([]inventory.Renewal, 3)},
		{Kind: nodeapi.Committing, Message: "without a recovery unit: no systemd runs on this node"},
		{Kind: nodeapi.Restarting, Service: certs.Etcd},
		{Kind: nodeapi.Restarted, Service: certs.Etcd, UnavailableSeconds: 2.1},
		{Kind: nodeapi.Verified, Evidence: &nodeapi.Evidence{Detail: "127.0.0.1:2379 serves 3f9a"}},
		{Kind: nodeapi.Committed, Renewals: make([]inventory.Renewal, 3)},
		{Kind: nodeapi.Finished, Rotation: "7f3c2a"},
		{Kind: nodeapi.Committed, Unverified: true},
		{Kind: nodeapi.RolledBack, Message: "etcd exited"},
		{Kind: nodeapi.Unknown, Message: "too long to be read twice"},
	} {
		rec.Time = time.Now()
		line, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"signing new certificates for etcd, kubelet", "signed 3 certificates; nothing is changed yet",
		"replacing files: without a recovery unit", "restarting etcd\n", "etcd runs again; it was unavailable for 2.1 s",
		"verified: 127.0.0.1:2379 serves 3f9a", "RENEWED: 3 certificates are in use and verified", "Next: the other nodes",
		"NOT VERIFIED: the new certificates are in place", "ROLLED BACK: etcd exited", "UNKNOWN:",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, out.String())
		}
	}
}

// TestRestartOfAUnitAsText: this program signs and replaces nothing there.
func TestRestartOfAUnitAsText(t *testing.T) {
	for want, rec := range map[string]nodeapi.Record{
		"checking etcd: a restart of k0scontroller.service renews their certificates": {Kind: nodeapi.Staging, Services: []certs.Service{certs.Etcd},
			Message: "a restart of k0scontroller.service renews their certificates"},
		"a restart of k0scontroller.service will renew 3 certificates":                                       {Kind: nodeapi.Staged, Message: "a restart of k0scontroller.service will renew 3 certificates"},
		"files are replaced: k0scontroller.service made them":                                                {Kind: nodeapi.Replaced, Message: "k0scontroller.service made them"},
		"finished rotation 7f3c2a; the earlier ones are deleted\nNext: the other nodes, one after the other": {Kind: nodeapi.Finished, Rotation: "7f3c2a", Message: "the earlier ones are deleted"},
	} {
		if got := describeRecord(rec); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestValidityInDays(t *testing.T) {
	var v validity
	if err := v.Set("90d"); err != nil || time.Duration(v) != 90*24*time.Hour || v.String() != "90d" {
		t.Errorf("%v, %s", err, v.String())
	}
}
