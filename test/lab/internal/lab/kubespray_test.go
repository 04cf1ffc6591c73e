package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestKubesprayKeepsTheCAKeyOnTheFirstHost(t *testing.T) {
	l := Lab{Spec: Spec{ControlPlanes: 2, Workers: 1, EtcdHosts: 3, EtcdLayout: Kubespray}}
	l.Nodes = l.Spec.plan()
	files, err := l.kubesprayFiles()
	if err != nil {
		t.Fatal(err)
	}
	pairs := func(stems ...string) []string {
		paths := []string{kubesprayDir + "/ca.pem"}
		for _, stem := range stems {
			paths = append(paths, kubesprayDir+"/"+stem+".pem", kubesprayDir+"/"+stem+"-key.pem")
		}
		return paths
	}
	for machine, want := range map[string][]string{
		"etcd1": append(pairs("member-etcd1", "admin-etcd1"), kubesprayDir+"/ca-key.pem"),
		"etcd2": pairs("member-etcd2", "admin-etcd2"),
		"etcd3": pairs("member-etcd3", "admin-etcd3"),
		"cp1":   pairs("node-cp1"),
		"cp2":   pairs("node-cp2", "node-cp1"),
		"w1":    nil,
	} {
		var got []string
		for _, file := range files[machine] {
			got = append(got, file.Path)
			if file.Secret != strings.HasSuffix(file.Path, "-key.pem") {
				t.Errorf("%s %s: secret is %v", machine, file.Path, file.Secret)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", machine, got, want)
		}
	}
}
