package lab

import (
	"strings"
	"testing"
)

func TestEtcdMembersKnowEachOther(t *testing.T) {
	l := Lab{Nodes: Spec{ControlPlanes: 1, EtcdHosts: 2}.plan()}
	hosts := l.etcdHosts()
	if len(hosts) != 2 {
		t.Fatalf("%d etcd hosts, want 2", len(hosts))
	}
	got := l.etcdVariables(kubeadmMember("/pki"), hosts[1])
	for _, want := range []string{
		"ETCD_NAME=etcd2\n", "ETCD_ADVERTISE_CLIENT_URLS=https://10.10.0.32:2379\n", "ETCD_CERT_FILE=/pki/etcd/server.crt\n",
		"ETCD_INITIAL_CLUSTER=etcd1=https://10.10.0.31:2380,etcd2=https://10.10.0.32:2380\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
