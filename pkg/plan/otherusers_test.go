package plan

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestOtherUsersAreRestartedWhereThatIsPossible(t *testing.T) {
	pod := inventory.OtherUser{Kind: inventory.OtherStaticPod, Name: "kube-vip", Restartable: true}
	unit := inventory.OtherUser{Kind: inventory.OtherUnit, Name: "exporter.service", Unit: "exporter.service", Restartable: true}
	link := inventory.OtherUser{Kind: inventory.OtherHardLink, Name: "/x"}
	container := inventory.OtherUser{Kind: inventory.OtherContainer, Name: "container nginx", ContainerID: "e", Restartable: true}
	first := inventory.OtherUser{Kind: inventory.OtherStaticPod, Name: "init"}
	for _, test := range []struct {
		name             string
		policy           RestartPolicy
		cri, bus, docker string
		want             int
	}{
		{"all that can be", RestartAlways, "/cri.sock", "/bus.sock", "/docker.sock", 3},
		{"what does not read its files again", RestartIfNeeded, "/cri.sock", "/bus.sock", "/docker.sock", 3},
		{"none", RestartNever, "/cri.sock", "/bus.sock", "/docker.sock", 0},
		{"no unit without systemd's socket", RestartAlways, "/cri.sock", "", "/docker.sock", 2},
		{"no pod without the runtime's socket", RestartAlways, "", "/bus.sock", "/docker.sock", 2},
		{"no container without Docker's socket", RestartAlways, "/cri.sock", "/bus.sock", "", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := inventory.Certificate{Service: certs.Admin, Name: "admin.conf", Store: inventory.Store{Cert: "/a"}, OtherUsers: []inventory.OtherUser{pod, unit, container, link, first}}
			same := file
			same.Store.Cert = "/b"
			n := &inventory.Node{CRISocket: test.cri, DBusSocket: test.bus, DockerSocket: test.docker, Certificates: []inventory.Certificate{file, same}}
			s := Step{Targets: []Target{{ID: file.ID()}, {ID: same.ID()}}}
			s.addOthers(n, test.policy)
			if len(s.OtherRestarts) != test.want {
				t.Errorf("restarts %+v, want %d", s.OtherRestarts, test.want)
			}
			if (s.CRISocket != "") != s.RestartsOther(pod) || (s.DBusSocket != "") != s.RestartsOther(unit) ||
				(s.DockerSocket != "") != s.RestartsOther(container) {
				t.Errorf("sockets %q, %q and %q for %+v", s.CRISocket, s.DBusSocket, s.DockerSocket, s.OtherRestarts)
			}
		})
	}
	outside := &inventory.Node{CRISocket: "/cri.sock", Certificates: []inventory.Certificate{{Name: "other", OtherUsers: []inventory.OtherUser{pod}}}}
	var s Step
	if s.addOthers(outside, RestartAlways); len(s.OtherRestarts) != 0 {
		t.Errorf("restarts %+v for a certificate that is not renewed", s.OtherRestarts)
	}
}
