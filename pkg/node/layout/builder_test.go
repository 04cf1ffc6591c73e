package layout

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestDirectoryThatIsMountedTwice: the API server names etcd's pair below another path, to which
// its directory is mounted. It is one certificate.
func TestDirectoryThatIsMountedTwice(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a directory")
	}
	n := layouttest.NewNode(t)
	n.WriteFile("/data/pki/etcd.crt", "")
	n.WriteFile("/data/pki/etcd.key", "")
	n.WriteFile("/etc/pki/below", "")
	n.AddProcess(10, layouttest.UnitCgroup("etcd.service"), "etcd", "--cert-file=/data/pki/etcd.crt", "--key-file=/data/pki/etcd.key")
	n.AddProcess(11, layouttest.UnitCgroup("kube-apiserver.service"), "kube-apiserver", "--etcd-certfile=/etc/pki/etcd.crt", "--etcd-keyfile=/etc/pki/etcd.key")
	done := make(chan error)
	var l Layout
	go func() {
		runtime.LockOSThread() // the thread ends with its mounts
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount(n.LocalPath("/data/pki"), n.LocalPath("/etc/pki"), "", unix.MS_BIND, "")
		}
		if err == nil {
			l = DiscoverNode(n.Root, Options{})
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("directories cannot be mounted here: ", err)
	}
	expectCertificates(t, l, "etcd+kube-apiserver etcd-server Pair /data/pki/etcd.crt /data/pki/etcd.key")
}
