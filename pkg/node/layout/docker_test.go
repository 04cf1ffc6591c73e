package layout

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// dockerNode is a node of RKE1's kind: an API server in a container of Docker's own, whose
// data-root is directory, and other containers.
func dockerNode(t *testing.T, directory, labels string) *layouttest.Node {
	t.Helper()
	n := layouttest.NewNode(t)
	id := strings.Repeat("e", 64)
	n.AddProcess(30, "/system.slice/docker-"+id+".scope", "kube-apiserver", "--tls-cert-file=/etc/kubernetes/ssl/kube-apiserver.pem", "--tls-private-key-file=/etc/kubernetes/ssl/kube-apiserver-key.pem")
	n.WriteFile("/proc/1/mountinfo", "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n")
	n.WriteFile("/proc/30/mountinfo", fmt.Sprintf("50 1 0:44 / / rw - overlay overlay rw\n51 50 254:1 /etc/kubernetes /etc/kubernetes rw - ext4 /dev/vda1 rw\n"+
		"52 50 254:1 %s/%s/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n", directory, id))
	n.WriteFile(directory+"/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/kube-apiserver","State":{"Running":true},"Config":{"Labels":{`+labels+`}}}`)
	n.WriteFile("/usr/lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/bin/dockerd\n")
	n.WriteFile("/etc/kubernetes/ssl/kube-apiserver.pem", "")
	n.WriteFile("/etc/kubernetes/ssl/kube-apiserver-key.pem", "")
	return n
}

// dockerOther is a container that is no component.
type dockerOther struct{ digit, name, running, source, args, labels string }

func (d dockerOther) addTo(n *layouttest.Node) {
	id := strings.Repeat(d.digit, 64)
	n.WriteFile("/var/lib/docker/containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/`+d.name+`","State":{"Running":`+d.running+`},`+
		`"Path":"nginx","Args":[`+d.args+`],"Config":{"Labels":{`+d.labels+`}},"MountPoints":{"/x":{"Source":"`+d.source+`","Destination":"/x"}}}`)
}

func TestDockersContainersAreRestartedByDocker(t *testing.T) {
	for _, directory := range []string{"/var/lib/docker/containers", "/data/docker/containers"} {
		n := dockerNode(t, directory, `"io.rancher.rke.container.name":"kube-apiserver"`)
		n.WriteFile("/run/x", "")
		socket, err := net.Listen("unix", n.LocalPath("/run/docker.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = socket.Close() })
		l := DiscoverNode(n.Root, Options{})
		c := l.Node.ComponentOf(certs.KubeAPIServer)
		if c.Runtime != inventory.Docker || c.ContainerID != strings.Repeat("e", 64) || c.ContainerName != "kube-apiserver" || c.Unit != "docker.service" || c.Note != "" {
			t.Errorf("%s: %+v", directory, c)
		}
		if l.Node.DockerSocket != "/run/docker.sock" {
			t.Errorf("%s: socket %q", directory, l.Node.DockerSocket)
		}
	}
}

// TestStoppedDockerContainersAreComponents: a control plane whose certificates have expired does
// not run, or only for moments.
func TestStoppedDockerContainersAreComponents(t *testing.T) {
	for name, test := range map[string]struct {
		containerName, labels, host string
		found                       bool
	}{
		"by its policy":            {"kube-scheduler", "", `{"NetworkMode":"host","RestartPolicy":{"Name":"always"}}`, true},
		"without a policy":         {"kube-scheduler", "", `{"NetworkMode":"host","RestartPolicy":{"Name":"no"}}`, false},
		"on a network of its own":  {"kube-scheduler", "", `{"NetworkMode":"bridge","RestartPolicy":{"Name":"always"}}`, false},
		"replaced by RKE1":         {"old-kube-scheduler", "", `{"NetworkMode":"host","RestartPolicy":{"Name":"always"}}`, false},
		"of a pod":                 {"k8s_x", `"io.kubernetes.pod.name":"x"`, `{"NetworkMode":"host","RestartPolicy":{"Name":"always"}}`, false},
		"its settings are missing": {"kube-scheduler", "", `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			id := strings.Repeat("a", 64)
			n.WriteFile("/etc/docker/daemon.json", `{"data-root":"/data/docker"}`)
			n.WriteFile("/data/docker/containers/"+id+"/hostconfig.json", test.host)
			n.WriteFile("/data/docker/containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/`+test.containerName+`","Path":"/opt/rke-tools/entrypoint.sh",`+
				`"Args":["kube-scheduler","--kubeconfig=/etc/kubernetes/ssl/kubecfg.yaml"],"Config":{"Labels":{`+test.labels+`}},`+
				`"MountPoints":{"/etc/kubernetes":{"Source":"/etc/kubernetes","Destination":"/etc/kubernetes"}}}`)
			l := DiscoverNode(n.Root, Options{})
			c := l.Node.ComponentOf(certs.KubeScheduler)
			if (c != nil) != test.found {
				t.Fatalf("found %+v", c)
			}
			if c != nil && (c.Runtime != inventory.Docker || c.ContainerID != id || c.PID != 0 || c.Note != "does not run") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestContainersOfPodsAreNotDockersOwn: the kubelet would make another container in place of a
// stopped one.
func TestContainersOfPodsAreNotDockersOwn(t *testing.T) {
	n := dockerNode(t, "/var/lib/docker/containers", `"io.kubernetes.pod.name":"x"`)
	l := DiscoverNode(n.Root, Options{})
	if c := l.Node.ComponentOf(certs.KubeAPIServer); c.Runtime != inventory.None || c.ContainerID != "" || c.Note == "" {
		t.Errorf("%+v", c)
	}
	if l.Node.DockerSocket != "" {
		t.Errorf("socket %q", l.Node.DockerSocket)
	}
}

// TestContainersThatAreRemovedWhenTheyStop: something else starts another one, as kubespray's
// unit of an etcd in Docker does.
func TestContainersThatAreRemovedWhenTheyStop(t *testing.T) {
	n := dockerNode(t, "/var/lib/docker/containers", "")
	n.WriteFile("/var/lib/docker/containers/"+strings.Repeat("e", 64)+"/hostconfig.json", `{"AutoRemove":true,"RestartPolicy":{"Name":""}}`)
	l := DiscoverNode(n.Root, Options{})
	c := l.Node.ComponentOf(certs.KubeAPIServer)
	if c.Runtime != inventory.None || !strings.Contains(c.Note, `"kube-apiserver", which is removed when it stops`) {
		t.Errorf("%+v", c)
	}
}

// TestOtherDockerContainersThatUseAFile: those that name or mount a certificate's file, and
// those that mount its directory, if they run and belong to no pod.
func TestOtherDockerContainersThatUseAFile(t *testing.T) {
	n := dockerNode(t, "/var/lib/docker/containers", "")
	const file = "/etc/kubernetes/ssl/kube-apiserver.pem"
	for _, other := range []dockerOther{
		{digit: "1", name: "mounts-file", running: "true", source: file},
		{digit: "2", name: "names-file", running: "true", source: "/etc/kubernetes", args: `"--cert=/x/ssl/kube-apiserver.pem"`},
		{digit: "3", name: "mounts-directory", running: "true", source: "/etc/kubernetes"},
		{digit: "4", name: "service-sidekick", running: "false", source: "/etc/kubernetes"},
		{digit: "5", name: "rke-cert-deployer", running: "false", source: file},
		{digit: "6", name: "nginx-proxy", running: "true", source: "/var/log"},
		{digit: "7", name: "k8s_pod", running: "true", source: file, labels: `"io.kubernetes.pod.name":"x"`},
	} {
		other.addTo(n)
	}
	l := DiscoverNode(n.Root, Options{})
	store := inventory.Store{Cert: file}
	var names []string
	for _, u := range l.OtherUsers(n.Root, store) {
		names = append(names, u.Name)
		if u.Kind != inventory.OtherContainer || !u.Restartable || u.ContainerID == "" || u.GraceSeconds != 10 {
			t.Errorf("%+v", u)
		}
	}
	if want := []string{"container mounts-file", "container names-file"}; !slices.Equal(names, want) {
		t.Errorf("users %q, want %q", names, want)
	}
	if may := l.MayUse(n.Root, store); !slices.Equal(may, []string{"container mounts-directory"}) {
		t.Errorf("may use it: %q", may)
	}
	for _, c := range l.Node.Components {
		if c.Service != certs.KubeAPIServer {
			t.Errorf("%s is no component", c.Service)
		}
	}
}

// TestPublishedPortsOfAContainer: in a network of its own, a component can be asked for its health at
// a port that Docker publishes under the same number. Else it is left out, before anything changes.
func TestPublishedPortsOfAContainer(t *testing.T) {
	for name, test := range map[string]struct {
		host    string
		reached bool
	}{
		"host network":          {`{"NetworkMode":"host"}`, true},
		"not known":             {`{}`, true},
		"same number":           {`{"NetworkMode":"bridge","PortBindings":{"6443/tcp":[{"HostIp":"","HostPort":"6443"}]}}`, true},
		"same number, loopback": {`{"NetworkMode":"bridge","PortBindings":{"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"6443"}]}}`, true},
		"same number elsewhere": {`{"NetworkMode":"bridge","PortBindings":{"6443/tcp":[{"HostIp":"10.0.0.11","HostPort":"6443"}]}}`, false},
		"every IPv4 address":    {`{"NetworkMode":"bridge","PortBindings":{"6443/tcp":[{"HostIp":"0.0.0.0","HostPort":"6443"}]}}`, true},
		"IPv6 only":             {`{"NetworkMode":"bridge","PortBindings":{"6443/tcp":[{"HostIp":"::","HostPort":"6443"}]}}`, false},
		"another container's":   {`{"NetworkMode":"container:` + strings.Repeat("a", 64) + `"}`, true},
		"another number":        {`{"NetworkMode":"bridge","PortBindings":{"6443/tcp":[{"HostIp":"","HostPort":"16443"}]}}`, false},
		"not published":         {`{"NetworkMode":"control-plane"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := dockerNode(t, "/var/lib/docker/containers", "")
			n.WriteFile("/var/lib/docker/containers/"+strings.Repeat("e", 64)+"/hostconfig.json", test.host)
			c := componentOf(n, certs.KubeAPIServer)
			if test.reached {
				if c.Runtime != inventory.Docker || c.Health != "https://127.0.0.1:6443/readyz" || c.Note != "" {
					t.Errorf("%+v", c)
				}
				return
			}
			if c.Runtime != inventory.None || c.Health != "" || !strings.Contains(c.Note, `"kube-apiserver" with a network of its own`) || !strings.Contains(c.Note, "6443:6443") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestComponentAtTheAddressOfItsContainer: the host reaches that address without a published port.
func TestComponentAtTheAddressOfItsContainer(t *testing.T) {
	n := dockerNode(t, "/var/lib/docker/containers", "")
	n.WriteFile("/proc/30/cmdline", "kube-apiserver\x00--tls-cert-file=/etc/kubernetes/ssl/kube-apiserver.pem\x00"+
		"--tls-private-key-file=/etc/kubernetes/ssl/kube-apiserver-key.pem\x00--bind-address=172.18.0.5\x00")
	n.WriteFile("/var/lib/docker/containers/"+strings.Repeat("e", 64)+"/hostconfig.json", `{"NetworkMode":"control-plane"}`)
	if c := componentOf(n, certs.KubeAPIServer); c.Runtime != inventory.Docker || c.Health != "https://172.18.0.5:6443/readyz" {
		t.Errorf("%+v", c)
	}
}
