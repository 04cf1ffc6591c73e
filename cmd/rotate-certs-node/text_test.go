package main

import (
	"encoding/json"
	"io"
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
		"signing certificates of etcd, kubelet", "3 certificates signed, nothing changed yet",
		"replacing files: without a recovery unit", "restarting etcd\n", "etcd is healthy again, 2.1s unavailable",
		"verified: 127.0.0.1:2379 serves 3f9a", "COMMITTED AND VERIFIED: 3 new certificates in use", "rotation 7f3c2a finished; the replaced files are kept on this node",
		"NEW CERTIFICATES, NOT VERIFIED YET", "ROLLED BACK AND VERIFIED: etcd exited", "STATE UNKNOWN:",
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
		"a restart of k0scontroller.service will renew 3 certificates": {Kind: nodeapi.Staged, Message: "a restart of k0scontroller.service will renew 3 certificates"},
		"files replaced: k0scontroller.service made them":              {Kind: nodeapi.Replaced, Message: "k0scontroller.service made them"},
		"rotation 7f3c2a finished; the earlier ones are deleted":       {Kind: nodeapi.Finished, Rotation: "7f3c2a", Message: "the earlier ones are deleted"},
	} {
		if got := (&recordText{}).describeRecord(rec); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRollbackAsText(t *testing.T) {
	w := &recordText{w: io.Discard, rollback: true}
	for want, rec := range map[string]nodeapi.Record{
		"ROLLING BACK: etcd exited; putting the present certificates back": {Kind: nodeapi.RollingBack, Message: "etcd exited"},
		"COMMITTED AND VERIFIED: 1 earlier certificate in use":             {Kind: nodeapi.Committed, Renewals: make([]inventory.Renewal, 1)},
	} {
		if got := w.describeRecord(rec); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	line := []byte(`{"kind":"Staging","scope":"rollback=7f3c2a"}`)
	w = &recordText{w: io.Discard}
	if _, err := w.Write(line); err != nil || !w.rollback {
		t.Errorf("a rollback is not recognised by its scope, %v", err)
	}
}
