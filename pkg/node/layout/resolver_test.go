package layout

import "testing"

// A file that is mounted without its directory is not replaced for its container by a rename.
func TestAFileMountedAloneIsKnown(t *testing.T) {
	r := resolver{inContainer: true, workDir: "/etc/etcd", mounts: []mount{
		{container: "/etc/kubernetes/pki", host: "/etc/kubernetes/pki"},
		{container: "/etc/etcd/server.crt", host: "/srv/server.crt"},
	}}
	for file, want := range map[string]bool{
		"/etc/etcd/server.crt": true, "server.crt": true, "/etc/etcd/../etcd/server.crt": true,
		"/etc/kubernetes/pki/apiserver.crt": false, "/etc/etcd/server.key": false, "": false,
	} {
		if r.keepsOldFile(file) != want {
			t.Errorf("%q is mounted alone: %v", file, !want)
		}
	}
	if (resolver{mounts: r.mounts}).keepsOldFile("/etc/etcd/server.crt") {
		t.Error("what runs on the host sees its files as they are")
	}
}
