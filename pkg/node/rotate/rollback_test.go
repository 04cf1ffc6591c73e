package rotate

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// A kubelet may need up to a minute after its own start before it starts static pods: it must not
// be restarted to save less than that.
func TestKubeletIsRestartedOnlyToEndALongerWait(t *testing.T) {
	for _, test := range []struct {
		name    string
		broken  certs.Service
		backOff time.Duration
		want    bool
	}{
		{"a short back-off", certs.KubeScheduler, 5 * time.Second, false},
		{"a long one", certs.KubeScheduler, 40 * time.Second, true},
		{"a long one, but there is no API server", certs.KubeAPIServer, 40 * time.Second, false},
		{"a very long one, without an API server", certs.KubeAPIServer, 160 * time.Second, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.breaks[test.broken] = true
				n.backOff = test.backOff
				r := rotateAll(n, plan.RestartAlways, test.broken)
				if len(r.recordsOf(nodeapi.RolledBack)) != 1 {
					t.Fatalf("records: %s", r.kindsText())
				}
				if got := slices.Contains(n.started, certs.Kubelet); got != test.want {
					t.Errorf("kubelet restarted: %v, want %v", got, test.want)
				}
			})
		})
	}
}

// If another program continues to write a file, the file is named and not waited for.
func TestFilesChangedAfterARollbackAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.breaks[certs.KubeAPIServer] = true
		n.onStop = func(certs.Service) {
			n.onStop = nil
			go func() {
				for certs.Fingerprint(n.readStore("apiserver").LeafCert()) != n.original["apiserver"] {
					time.Sleep(time.Millisecond)
				}
				n.tree.WritePair(n.t, certstest.PKIDir+"/apiserver", n.tree.CA.Leaf(n.t, certstest.Name("kube-apiserver")))
				n.mu.Lock()
				defer n.mu.Unlock()
				n.breaks[certs.KubeAPIServer] = false // it starts, but not on the restored certificate
			}()
		}
		began := time.Now()
		r := rotateAll(n, plan.RestartAlways, certs.KubeAPIServer)
		broken := r.recordsOf(nodeapi.Unknown)
		if len(broken) != 1 || !strings.Contains(broken[0].Message, "apiserver does not hold the restored certificate, another program changes it") {
			t.Fatalf("records: %s\n%+v", r.kindsText(), r.lastRecord())
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// A supervisor's pause is said, and how long it may be.
func TestALongPauseIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.backOff = 40 * time.Second
		r := rotateAll(n, plan.RestartAlways, certs.KubeScheduler)
		waiting := r.recordsOf(nodeapi.Waiting)
		if len(waiting) != 1 || waiting[0].Service != certs.KubeScheduler || waiting[0].WithinSeconds != 100 ||
			!strings.Contains(waiting[0].Message, "only after a pause of up to 40s") {
			t.Errorf("%+v", waiting)
		}
		for _, rec := range r.recordsOf(nodeapi.Restarting) {
			if rec.WithinSeconds != 180 {
				t.Errorf("the next record comes within %.0fs, want 180s", rec.WithinSeconds)
			}
		}
	})
}
