package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const oddManifest = `{
 "kind": "Pod", "metadata": {"name": "api"},
 "spec": {
  "containers": [{
   "name": "server", "image": "registry.example:5000/k8s/kube-apiserver@sha256:00",
   "args": ["--secure-port=$(PORT)", "--tls-cert-file=/pki/live/a.crt", "--advertise-address=$(POD_IP)"],
   "env": [{"name": "PORT", "value": "7443"}, {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
   "volumeMounts": [
    {"name": "etc", "mountPath": "/"},
    {"name": "pki", "mountPath": "/pki/", "readOnly": true},
    {"name": "pki", "mountPath": "/pki/live", "subPath": "current"},
    {"name": "scratch", "mountPath": "/tmp"}
   ]}],
  "volumes": [
   {"name": "pki", "hostPath": {"path": "/srv/pki"}}, {"name": "etc", "hostPath": {"path": "/srv/root"}},
   {"name": "scratch", "emptyDir": {}}
  ]}}`

func TestManifestWithoutCommand(t *testing.T) {
	p, err := parseManifest([]byte(oddManifest))
	if err != nil {
		t.Fatal(err)
	}
	c := &p.Spec.Containers[0]
	r, ok := c.recognizeComponent(c.literalVariables())
	if !ok || r.service != certs.KubeAPIServer {
		t.Fatalf("recognised %q, %v: the image's name identifies it", r.service, ok)
	}
	want := []string{"--secure-port=7443", "--tls-cert-file=/pki/live/a.crt", "--advertise-address=$(POD_IP)"}
	if !slices.Equal(r.args, want) {
		t.Errorf("args = %q, want %q", r.args, want)
	}
	if p.Metadata.Namespace != "default" {
		t.Errorf("namespace %q", p.Metadata.Namespace)
	}

	files := p.pathResolver(c, c.literalVariables())
	for path, want := range map[string]string{
		"/pki/x.crt":         "/srv/pki/x.crt",
		"/pki/live/a.crt":    "/srv/pki/current/a.crt",
		"/pki/live":          "/srv/pki/current",
		"/pkix/a.crt":        "/srv/root/pkix/a.crt",
		"/pki/../pki/b.crt":  "/srv/pki/b.crt",
		"relative/to/no/dir": "/srv/root/relative/to/no/dir",
	} {
		if got, err := files.hostPath(path); err != nil || got != want {
			t.Errorf("host(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := files.hostPath("/tmp/a"); err == nil {
		t.Error("a path in an emptyDir has no host path")
	}
}

func TestPathsInTheImageAreNotTheHosts(t *testing.T) {
	_, err := resolver{inContainer: true}.hostPath("/etc/kubernetes/pki/ca.crt")
	if err == nil || !strings.Contains(err.Error(), "image") {
		t.Errorf("err = %v, want one that names the image", err)
	}
}

func TestBrokenManifests(t *testing.T) {
	for name, data := range map[string]string{
		"not YAML": "\t{{{", "another kind": "kind: Deployment\n", "empty": "", "a list": "- 1\n", "wrong type": "kind: Pod\nspec: {containers: 7}\n",
	} {
		if _, err := parseManifest([]byte(data)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
