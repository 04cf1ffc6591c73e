package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// writeAPIServerPod adds a static pod kube-apiserver whose container has some fields, as JSON.
func writeAPIServerPod(n *layouttest.Node, fields string) {
	n.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", `{"kind": "Pod", "metadata": {"name": "kube-apiserver", "namespace": "kube-system"}, "spec": {"hostNetwork": true,
		"containers": [{"name": "kube-apiserver", "image": "registry.example/apiserver:v1", "volumeMounts": [{"name": "pki", "mountPath": "/pki"}], `+fields+`}],
		"volumes": [{"name": "pki", "hostPath": {"path": "/etc/kubernetes/pki"}}]}}`)
}

const apiServerPair = "kube-apiserver apiserver Pair /etc/kubernetes/pki/a.crt /etc/kubernetes/pki/a.key"

// apiServerPairs are the summaries of the API server's certificates.
func apiServerPairs(l Layout) []string {
	var out []string
	for _, c := range l.Node.Certificates {
		if c.Service == certs.KubeAPIServer {
			out = append(out, summarize(c))
		}
	}
	return out
}

// TestComponentInAScript: a static pod starts the component in a script for a shell. Which arguments
// the script gives it is read from the process that runs, else from the script.
func TestComponentInAScript(t *testing.T) {
	for name, fields := range map[string]string{
		"continued lines":             `"command": ["/bin/sh"], "args": ["-c", "set -e\n# kube-apiserver --v=9\nexec kube-apiserver \\\n  --tls-cert-file=/pki/a.crt\\\n --tls-private-key-file \\\n  /pki/a.key\n"]`,
		"several commands":            `"command": ["/bin/sh", "-c", "chmod +x /usr/bin/kube-apiserver && kube-apiserver --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key; exit 1"]`,
		"variables of the pod":        `"command": ["/bin/sh", "-c", "exec kube-apiserver --tls-cert-file=${PKI}/a.crt --tls-private-key-file=$PKI/a.key"], "env": [{"name": "PKI", "value": "/pki"}]`,
		"variables of the script":     `"command": ["/bin/sh", "-c", "export DIR=/pki; PKI=$DIR; exec kube-apiserver --tls-cert-file=${PKI}/a.crt --tls-private-key-file=$PKI/a.key"]`,
		"flags in a variable":         `"command": ["/bin/sh", "-c", "exec kube-apiserver $FLAGS --v=1"], "env": [{"name": "FLAGS", "value": "--tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key"}]`,
		"commands that all count":     `"command": ["/bin/sh", "-c", "cd / && PKI=/pki && exec kube-apiserver --tls-cert-file=$PKI/a.crt --tls-private-key-file=$PKI/a.key"]`,
		"arguments of the script":     `"command": ["/bin/sh", "-c", "exec kube-apiserver \"$@\"", "--"], "args": ["--tls-cert-file=/pki/a.crt", "--tls-private-key-file=/pki/a.key"]`,
		"its version before":          `"command": ["/bin/sh", "-c", "kube-apiserver --version; echo kube-apiserver --v=9; exec kube-apiserver --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key"]`,
		"its version in a test":       `"command": ["/bin/sh", "-c", "if kube-apiserver --version=raw >/dev/null; then exec kube-apiserver --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key; fi"]`,
		"twice in the same way":       `"command": ["/bin/sh", "-c", "kube-apiserver --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key || exec kube-apiserver --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key"]`,
		"a value before a semicolon":  `"command": ["/bin/sh", "-c", "kube-apiserver --tls-cert-file /pki/a.crt --tls-private-key-file /pki/a.key; exit 1"]`,
		"own variables come too late": `"command": ["/bin/sh", "-c", "PKI=/pki; PKI=/other kube-apiserver --tls-cert-file=$PKI/a.crt --tls-private-key-file=$PKI/a.key"]`,
		"a user of that name":         `"command": ["/bin/sh", "-c", "useradd kube-apiserver -r -s /bin/false; install -o kube-apiserver -d /x; su kube-apiserver -s /bin/true; exec kube-apiserver --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key"]`,
		"a value that is a command":   `"command": ["/bin/sh", "-c", "exec kube-apiserver --service-account-issuer logger --tls-cert-file=/pki/a.crt --tls-private-key-file=/pki/a.key"]`,
		"of another command":          `"command": ["/bin/sh", "-c", "PKI=/pki; PKI=/other true; exec kube-apiserver --tls-cert-file=$PKI/a.crt --tls-private-key-file=$PKI/a.key"]`,
		"all of it are arguments":     `"command": ["/bin/bash", "-ec", "exec \"$@\"", "run", "kube-apiserver", "--tls-cert-file=/pki/a.crt", "--tls-private-key-file=/pki/a.key"]`,
	} {
		for _, runs := range []bool{false, true} {
			n := layouttest.NewNode(t)
			n.KubeadmWorker()
			writeAPIServerPod(n, fields)
			want := apiServerPair
			if runs {
				want = strings.NewReplacer("a.crt", "b.crt", "a.key", "b.key").Replace(apiServerPair)
				n.AddProcess(400, layouttest.StaticPodCgroup("a"), "kube-apiserver", "--tls-cert-file=/pki/b.crt", "--tls-private-key-file=/pki/b.key")
			}
			if got := apiServerPairs(DiscoverNode(n.Root, Options{})); !slices.Equal(got, []string{want}) {
				t.Errorf("%s, runs %v: %q", name, runs, got)
			}
		}
	}
}

// TestComponentWhoseArgumentsOnlyItsProcessHas: a script that cannot be evaluated, or a program that
// is not known. The arguments are those of the process, and where none runs it is left out by name.
func TestComponentWhoseArgumentsOnlyItsProcessHas(t *testing.T) {
	for name, fields := range map[string]string{
		"a command in a script":       `"command": ["/bin/sh", "-c", "exec kube-apiserver --tls-cert-file=$(find /pki -name a.crt) --tls-private-key-file=$KEY"]`,
		"a branch of a script":        `"command": ["/bin/sh", "-c", "if [ -f /x ]; then A=/pki/a; else A=/pki/b; fi; exec kube-apiserver --tls-cert-file=$A.crt --tls-private-key-file=$A.key"]`,
		"a condition in a script":     `"command": ["/bin/sh", "-c", "[ -f /x ] && A=/pki/b\nexec kube-apiserver --tls-cert-file=$A.crt --tls-private-key-file=$A.key"]`,
		"several ways":                `"command": ["/bin/sh", "-c", "if [ -f /x ]; then exec kube-apiserver --tls-cert-file=/pki/b.crt --tls-private-key-file=/pki/b.key; fi; exec kube-apiserver --tls-cert-file=/pki/c.crt --tls-private-key-file=/pki/c.key"]`,
		"variables of a file":         `"command": ["/bin/sh", "-c", "PKI=/pki; . /etc/env; exec kube-apiserver --tls-cert-file=$DIR/b.crt --tls-private-key-file=$DIR/b.key"]`,
		"a script of the image":       `"command": ["/scripts/run.sh"]`,
		"with arguments":              `"command": ["/scripts/run.sh"], "args": ["--tls-cert-file=/x"]`,
		"the entrypoint of the image": `"env": []`,
	} {
		n := layouttest.NewNode(t)
		n.KubeadmWorker()
		kubeadmFiles(n)
		writeAPIServerPod(n, fields)
		l := DiscoverNode(n.Root, Options{})
		if got := apiServerPairs(l); len(got) > 0 {
			t.Errorf("%s, stopped: %q", name, got)
		}
		if !slices.ContainsFunc(l.Node.NotInspected, func(x inventory.NotInspected) bool { return x.Service == certs.KubeAPIServer && !x.Informational }) {
			t.Errorf("%s, stopped: nothing says that it was not inspected: %+v", name, l.Node.NotInspected)
		}

		n.AddProcess(400, layouttest.StaticPodCgroup("a"), "kube-apiserver", "--tls-cert-file=/pki/a.crt", "--tls-private-key-file=/pki/a.key")
		l = DiscoverNode(n.Root, Options{})
		expectInspected(t, l)
		if got := apiServerPairs(l); !slices.Equal(got, []string{apiServerPair}) {
			t.Errorf("%s: %q", name, got)
		}
		c := l.Node.ComponentOf(certs.KubeAPIServer)
		if c == nil || c.Runtime != inventory.StaticPod || c.Manifest != "/etc/kubernetes/manifests/kube-apiserver.yaml" || c.PID != 400 {
			t.Errorf("%s: component %+v", name, c)
		}
		for _, other := range l.OtherPrograms(n.Root) {
			t.Errorf("%s: another program, %s", name, other.Name)
		}
	}
}

// TestPodThatIsNoComponent: the name of one that is known does not make a component of another
// container.
func TestPodThatIsNoComponent(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	n.WriteFile("/etc/kubernetes/manifests/backup.yaml", `{"kind": "Pod", "metadata": {"name": "backup"}, "spec": {"containers": [{"name": "etcd", "image": "etcd", "command": ["/backup.sh"]}]}}`)
	l := DiscoverNode(n.Root, Options{})
	for _, x := range l.Node.NotInspected {
		if strings.Contains(x.Path, "backup") {
			t.Errorf("not inspected: %+v", x)
		}
	}
	if got := l.Node.ComponentOf(certs.Etcd).Manifest; got != "/etc/kubernetes/manifests/etcd.yaml" {
		t.Errorf("etcd's manifest is %s", got)
	}
}

// TestVariablesOfACommand: a wrapper or a script sets variables for etcd that its unit does not have.
func TestVariablesOfACommand(t *testing.T) {
	for _, line := range []string{
		"/usr/bin/env ETCD_CERT_FILE=/pki/a.crt ETCD_KEY_FILE=/pki/a.key /usr/bin/etcd",
		"/bin/sh -c 'ETCD_CERT_FILE=/pki/a.crt ETCD_KEY_FILE=/pki/a.key exec /usr/bin/etcd --name=x'",
		"/bin/sh -c 'exec /usr/bin/etcd --cert-file=$${PKI}/a.crt --key-file=$$PKI/a.key'",
		"/bin/sh -c 'export ETCD_CERT_FILE=/pki/a.crt; ETCD_KEY_FILE=/pki/a.key; export ETCD_KEY_FILE; exec /usr/bin/etcd --name=x'",
		"/bin/sh -c 'set -a; ETCD_CERT_FILE=/pki/a.crt; ETCD_KEY_FILE=/pki/a.key; set +a; ETCD_PEER_CERT_FILE=/p.crt; ETCD_PEER_KEY_FILE=/p.key; exec /usr/bin/etcd --name=x'",
		"/bin/sh -c 'ETCD_PEER_CERT_FILE=/p.crt; ETCD_PEER_KEY_FILE=/p.key; exec /usr/bin/etcd --cert-file=/pki/a.crt --key-file=/pki/a.key'",
		"/bin/sh -c 'export ETCD_PEER_CERT_FILE=/p.crt ETCD_PEER_KEY_FILE=/p.key; unset ETCD_PEER_CERT_FILE ETCD_PEER_KEY_FILE; exec /usr/bin/etcd --cert-file=/pki/a.crt --key-file=/pki/a.key'",
		"/bin/sh -c 'PKI=/pki; A=$$PKI/a; export ETCD_CERT_FILE=$$A.crt; ETCD_KEY_FILE=$$A.key exec /usr/bin/etcd --name=x'",
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nEnvironment=PKI=/pki\nExecStart="+line+"\n")
		l := DiscoverNode(n.Root, Options{})
		expectInspected(t, l)
		expectCertificates(t, l, "etcd etcd-server Pair /pki/a.crt /pki/a.key")
	}
}

// TestStoppedScriptThatCannotBeRead: a variable of etcd that a script sets in one case only, or reads from
// a file, is not one that is not set: that etcd would be without TLS.
func TestStoppedScriptThatCannotBeRead(t *testing.T) {
	for _, script := range []string{
		"if [ -f /x ]; then export ETCD_CERT_FILE=/a.crt ETCD_KEY_FILE=/a.key; fi; exec /usr/bin/etcd --name=x",
		"set -a; . /etc/etcd.env; exec /usr/bin/etcd --name=x",
		"if [ -f /x ]; then exec etcd --name=a; else exec etcd --name=b --cert-file=/a.crt --key-file=/a.key; fi",
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nExecStart=/bin/sh -c '"+script+"'\n")
		l := DiscoverNode(n.Root, Options{})
		expectCertificates(t, l)
		if !slices.ContainsFunc(l.Node.NotInspected, func(x inventory.NotInspected) bool { return x.Service == certs.Etcd && !x.Informational }) {
			t.Errorf("%s: nothing says that it was not inspected: %+v", script, l.Node.NotInspected)
		}
	}
}

// TestScriptsOfTwoStaticPods: two static pods start one service in scripts that cannot be read. The
// arguments of the first manifest's are those of its own process, and where nothing says which that is, it
// is left out.
func TestScriptsOfTwoStaticPods(t *testing.T) {
	for name, tt := range map[string]struct {
		logs map[string]string // name of a pod → digit of its UID
		want []string
	}{
		"named in the logs":           {map[string]string{"etcd-events-node-1": "b", "etcd-node-1": "a"}, []string{"etcd etcd-server Pair /events/s.crt /events/s.key"}},
		"of a node with another name": {map[string]string{"etcd-events-cloud": "b", "etcd-cloud": "a"}, []string{"etcd etcd-server Pair /events/s.crt /events/s.key"}},
		"only the other is named":     {map[string]string{"etcd-node-1": "a"}, []string{"etcd etcd-server Pair /events/s.crt /events/s.key"}},
		"without logs":                {nil, nil},
	} {
		n := layouttest.NewNode(t)
		n.KubeadmWorker()
		for _, pod := range []string{"etcd", "etcd-events"} {
			n.WriteFile("/etc/kubernetes/manifests/"+pod+".yaml", `{"kind": "Pod", "metadata": {"name": "`+pod+`", "namespace": "kube-system"}, "spec": {"hostNetwork": true,
				"containers": [{"name": "etcd", "image": "etcd", "command": ["/bin/sh", "-c", "exec etcd --cert-file=$(cat /f) --key-file=$(cat /k)"],
				"volumeMounts": [{"name": "p", "mountPath": "/main"}, {"name": "q", "mountPath": "/events"}]}],
				"volumes": [{"name": "p", "hostPath": {"path": "/main"}}, {"name": "q", "hostPath": {"path": "/events"}}]}}`)
		}
		n.AddProcess(400, layouttest.StaticPodCgroup("a"), "etcd", "--cert-file=/main/s.crt", "--key-file=/main/s.key")
		n.AddProcess(401, layouttest.StaticPodCgroup("b"), "etcd", "--cert-file=/events/s.crt", "--key-file=/events/s.key")
		for pod, digit := range tt.logs {
			n.WriteFile("/var/log/pods/kube-system_"+pod+"_"+strings.Repeat(digit, 32)+"/etcd/0.log", "")
		}
		l := DiscoverNode(n.Root, Options{})
		var got []string
		for _, c := range l.Node.Certificates {
			if c.Service == certs.Etcd {
				got = append(got, summarize(c))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if !slices.ContainsFunc(l.Node.NotInspected, func(x inventory.NotInspected) bool { return x.Service == certs.Etcd && !x.Informational }) {
			t.Errorf("%s: nothing says which is not inspected: %+v", name, l.Node.NotInspected)
		}
	}
}

// TestOpaquePodBesideAWorkload: an application's etcd, which has all its settings in variables, is not
// the process of a static pod whose command is not known.
func TestOpaquePodBesideAWorkload(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	n.WriteFile("/etc/kubernetes/manifests/etcd.yaml", `{"kind": "Pod", "metadata": {"name": "etcd"}, "spec": {"hostNetwork": true, "containers": [{"name": "etcd", "image": "etcd", "command": ["/run.sh"]}]}}`)
	n.AddProcess(300, layouttest.PodCgroup("0a1b2c3d-0001-4002-8003-0000000000aa"), "etcd")
	n.AddProcess(400, layouttest.StaticPodCgroup("a"), "etcd", "--name=cp1")
	l := DiscoverNode(n.Root, Options{})
	c := l.Node.ComponentOf(certs.Etcd)
	if c == nil || c.PID != 400 {
		t.Errorf("component %+v", c)
	}
}
