package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestSpecValidate(t *testing.T) {
	good := Spec{Name: "default", ControlPlanes: 3, Workers: 1}
	tests := map[string]struct {
		change func(*Spec)
		want   string // "" means valid
	}{
		"as usual":            {func(*Spec) {}, ""},
		"no workers":          {func(s *Spec) { s.Workers = 0 }, ""},
		"no control plane":    {func(s *Spec) { s.ControlPlanes = 0 }, "0 control planes"},
		"too many":            {func(s *Spec) { s.Workers = 151 }, "151 workers"},
		"etcd hosts":          {func(s *Spec) { s.EtcdHosts = 3 }, ""},
		"less than none":      {func(s *Spec) { s.EtcdHosts = -1 }, "-1 etcd hosts"},
		"kubespray's etcd":    {func(s *Spec) { s.EtcdHosts, s.EtcdLayout = 3, Kubespray }, ""},
		"a layout of no etcd": {func(s *Spec) { s.EtcdLayout = Kubespray }, `etcd layout "kubespray"`},
		"units":               {func(s *Spec) { s.Topology = Systemd }, ""},
		"another topology":    {func(s *Spec) { s.Topology = "x" }, `topology "x"`},
		"units and etcd":      {func(s *Spec) { s.Topology, s.EtcdHosts = Systemd, 1 }, "1 etcd hosts"},
		"a path as the name":  {func(s *Spec) { s.Name = "../etc" }, `"../etc"`},
		"an empty name":       {func(s *Spec) { s.Name = "" }, `""`},
		"a dotted prefix":     {func(s *Spec) { s.NodePrefix = "a.b-" }, ""},
		"an upper-case one":   {func(s *Spec) { s.NodePrefix = "A" }, `"A"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			spec := good
			test.change(&spec)
			err := spec.Validate()
			if test.want == "" && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error with %s", err, test.want)
			}
		})
	}
}

func TestDifferenceNamesWhatDiffers(t *testing.T) {
	running := Spec{Name: "x", ControlPlanes: 3, Workers: 1, LoadBalancer: true}
	if got := running.difference(running); got != "" {
		t.Errorf("the same spec differs by %q", got)
	}
	asked := running
	asked.ControlPlanes, asked.Config = 1, "kind: x"
	if got, want := asked.difference(running), "controlPlanes 1 instead of 3, another kubeadm configuration"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlanNamesAndAddressesAreUnique(t *testing.T) {
	spec := Spec{ControlPlanes: maxControlPlanes, Workers: maxWorkers, EtcdHosts: maxEtcdHosts, NodePrefix: "a-"}
	seen := map[string]bool{gateway: true}
	nodes := spec.plan()
	for _, n := range nodes {
		if seen[n.IP] || seen[n.Name] {
			t.Errorf("%s or %s is there twice", n.IP, n.Name)
		}
		seen[n.IP], seen[n.Name] = true, true
	}
	if first, last := nodes[0].Name, nodes[len(nodes)-1].Name; first != "a-cp1" || last != "a-etcd9" {
		t.Errorf("nodes from %s to %s, want a-cp1 to a-etcd9", first, last)
	}
}

func TestMountsBelow(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /var/lib/rotate-certs-lab/a/nodes/cp1/root rw - overlay overlay rw
31 30 0:31 / /var/lib/rotate-certs-lab/a/nodes/cp1/root/proc rw - proc proc rw
32 22 0:32 / /var/lib/rotate-certs-lab/ab/nodes/cp1/root rw - overlay overlay rw
33 22 0:33 / /var/lib/rotate-certs-lab/a rw - tmpfs tmpfs rw
`
	got := mountsBelow(strings.NewReader(mountinfo), "/var/lib/rotate-certs-lab/a")
	want := []string{"/var/lib/rotate-certs-lab/a/nodes/cp1/root", "/var/lib/rotate-certs-lab/a/nodes/cp1/root/proc"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
