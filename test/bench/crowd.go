package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const (
	crowdSize = 10000
	// writers is how many write to the API server at the same time.
	writers = 32
	// certificatesEach are on every node of the crowd.
	certificatesEach = 20
)

// crowd is a large cluster as the API server shows it: Node objects and the reports of
// agents. There are no machines behind it.
type crowd struct {
	api  client.Client
	size int
}

func (c *crowd) name(i int) string { return fmt.Sprintf("crowd-%05d", i) }

// create writes everything down, and says how long that took.
func (c *crowd) create(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := c.each(ctx, func(i int) error {
		if err := c.api.Create(ctx, c.node(i)); err != nil {
			return err
		}
		return c.api.Create(ctx, c.report(i))
	})
	return time.Since(began), err
}

// remove removes it again.
func (c *crowd) remove(ctx context.Context) error {
	return c.each(ctx, func(i int) error {
		meta := metav1.ObjectMeta{Name: c.name(i)}
		return orNotFound(
			c.api.Delete(ctx, &v1alpha1.NodeCertificateReport{ObjectMeta: meta}),
			c.api.Delete(ctx, &corev1.Node{ObjectMeta: meta}))
	})
}

func orNotFound(errs ...error) error {
	for _, err := range errs {
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// each does something for every node, many at a time; it ends with the first error.
func (c *crowd) each(ctx context.Context, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan int)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range todo {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range c.size {
		select {
		case todo <- i:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(todo)
	all.Wait()
	return context.Cause(ctx)
}

// node is a worker as a kubelet would register it.
func (c *crowd) node(i int) *corev1.Node {
	name := c.name(i)
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("16"), corev1.ResourceMemory: resource.MustParse("64Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	now := metav1.Now()
	var conditions []corev1.NodeCondition
	for _, kind := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		conditions = append(conditions, corev1.NodeCondition{Type: kind, Status: corev1.ConditionFalse, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Fine"})
	}
	conditions = append(conditions, corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "KubeletReady"})
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
			corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3), corev1.LabelInstanceTypeStable: "large",
		}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room, Conditions: conditions,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.99.%d.%d", i/250, i%250+1)}, {Type: corev1.NodeHostName, Address: name}},
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: "linux", Architecture: "amd64", KernelVersion: "6.12.0", OSImage: "Debian GNU/Linux 13 (trixie)",
				ContainerRuntimeVersion: "containerd://2.1.4", KubeletVersion: "v1.37.0", MachineID: name, SystemUUID: name, BootID: name,
			},
		},
	}
}

// report is what an agent would write about it.
func (c *crowd) report(i int) *v1alpha1.NodeCertificateReport {
	r := &v1alpha1.NodeCertificateReport{
		ObjectMeta: metav1.ObjectMeta{Name: c.name(i), Labels: map[string]string{"app.kubernetes.io/name": "rotate-certs"}},
		Summary:    v1alpha1.ReportSummary{Certificates: certificatesEach, ObservedAt: time.Now().UTC().Format(time.RFC3339), ProgramVersion: "v0.1.0"},
	}
	for k := range certificatesEach {
		r.Certificates = append(r.Certificates, c.certificate(i, k))
	}
	began := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	r.Authorities = []v1alpha1.ReportedAuthority{{
		Name: "kubernetes", Path: "/etc/kubernetes/pki/ca.crt", Subject: "CN=kubernetes", SerialNumber: "1", FingerprintSHA256: print64("ca"),
		NotBefore: metav1.NewTime(began), NotAfter: metav1.NewTime(began.AddDate(10, 0, 0)),
	}}
	first := &r.Certificates[0]
	r.Summary.EarliestExpiry, r.Summary.EarliestCertificate = first.NotAfter.UTC().Format(time.RFC3339), string(first.Service)+"/"+first.Name
	return r
}

// certificate is one of a node's: as a kubelet's in a cluster that was set up within a
// month. The first node's first expires soon, so that there is something to decide.
func (c *crowd) certificate(i, k int) v1alpha1.ReportedCertificate {
	ends := time.Now().AddDate(0, 10, 0).Truncate(time.Minute).Add(time.Duration(i*c.size+k) * 13 * time.Second % (30 * 24 * time.Hour))
	if i == 0 && k == 0 {
		ends = time.Now().AddDate(0, 0, 3).Truncate(time.Minute)
	}
	role := fmt.Sprintf("kubelet-%02d", k)
	name := c.name(i)
	return v1alpha1.ReportedCertificate{
		Service: certs.Kubelet, Name: role, Path: "/var/lib/kubelet/pki/" + role + ".pem",
		Subject: "CN=system:node:" + name + ",O=system:nodes", Issuer: "CN=kubernetes",
		SerialNumber: print64(name, role, "serial")[:32], FingerprintSHA256: print64(name, role),
		NotBefore: metav1.NewTime(ends.AddDate(-1, 0, 0)), NotAfter: metav1.NewTime(ends),
		SANs: []string{name, name + ".example.com", "localhost", fmt.Sprintf("10.99.%d.%d", i/250, i%250+1), "127.0.0.1"},
	}
}

func print64(of ...string) string {
	sum := sha256.New()
	for _, s := range of {
		sum.Write([]byte(s + "\x00"))
	}
	return hex.EncodeToString(sum.Sum(nil))
}
