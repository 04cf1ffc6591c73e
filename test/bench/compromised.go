package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/watcher"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
)

// reportedKeys is how many certificates are reported as compromised, one after another.
const reportedKeys = 50

// measureCompromised runs the watcher in this process, with an engine that finds what the crowd
// reports and rotates at once, and returns how long after "kubectl rotate-certs
// mark-compromised" asks for the CompromisedCertificate its CertificateRotation is Running, as
// a watch shows it. The watcher keeps its events on disk, synced, as it does by default.
func measureCompromised(ctx context.Context, config *rest.Config, api client.WithWatch, c *crowd) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := os.MkdirTemp("", "bench-compromised")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(store) }()
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200 // as the program has it
	ended := make(chan error, 1)
	go func() {
		ended <- watcher.Run(ctx, watcher.Options{
			Config: config, Bus: bus.Config{StoreDir: store}, Pods: kube.PodOptions{Namespace: namespace},
			Log: slog.New(slog.DiscardHandler), Engine: &fakeEngine{c},
		})
	}()
	began, err := watchRotations(ctx, api)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for i := range reportedKeys + 1 {
		d, err := c.reportCompromised(ctx, i, began, ended)
		if err != nil {
			return nil, fmt.Errorf("report certificate %d as compromised: %w", i, err)
		}
		if i > 0 { // the first waits for the watcher's start
			took = append(took, d)
		}
	}
	cancel()
	return took, <-ended
}

// begun is a rotation that is Running.
type begun struct {
	name        string
	compromised string
	at          time.Time
}

// watchRotations follows CertificateRotations until ctx ends.
func watchRotations(ctx context.Context, api client.WithWatch) (<-chan begun, error) {
	var list v1alpha1.CertificateRotationList
	watching, err := api.Watch(ctx, &list)
	if err != nil {
		return nil, fmt.Errorf("watch rotations: %w", err)
	}
	out := make(chan begun, reportedKeys)
	go func() {
		defer watching.Stop()
		defer close(out)
		for e := range watching.ResultChan() {
			r, ok := e.Object.(*v1alpha1.CertificateRotation)
			if !ok || e.Type != watch.Modified || r.State() != v1alpha1.StateRunning || r.Spec.Trigger == nil || len(r.Spec.Trigger.CompromisedCertificates) == 0 {
				continue
			}
			select {
			case out <- begun{r.Name, r.Spec.Trigger.CompromisedCertificates[0], time.Now()}:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

// reportCompromised creates a CompromisedCertificate, waits for its rotation and deletes both again.
func (c *crowd) reportCompromised(ctx context.Context, i int, rotations <-chan begun, ended <-chan error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	node := i + 1
	m := &v1alpha1.CompromisedCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%02d", i)},
		Spec: v1alpha1.CompromisedCertificateSpec{
			Service: certs.Kubelet, Nodes: []string{c.name(node)}, Fingerprint: c.certificate(node, 0).FingerprintSHA256, Reason: "measured",
		},
	}
	asked := time.Now()
	if err := c.api.Create(ctx, m); err != nil {
		return 0, err
	}
	for {
		select {
		case err := <-ended:
			return 0, fmt.Errorf("the watcher ended: %w", err)
		case r, ok := <-rotations:
			if !ok || ctx.Err() != nil {
				return 0, errors.New("its rotation did not begin")
			}
			if r.compromised != m.Name {
				continue // a state that came twice
			}
			// The engine is a fake, so the certificate is not replaced. Without its
			// CompromisedCertificate the watcher requests nothing again.
			err := orNotFound(c.api.Delete(ctx, m), c.api.Delete(ctx, &v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: r.name}}))
			return r.at.Sub(asked), err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// fakeEngine finds what the crowd's reports say, and has everything rotated at once.
type fakeEngine struct{ crowd *crowd }

func (e *fakeEngine) Prepare(_ context.Context, req plan.Request, _ string) (fleet.Rotation, error) {
	ready := fleet.Rotation{ID: fmt.Sprintf("%06x", rand.Uint32()&0xffffff), Request: req}
	for i := range reportedKeys + 2 {
		if name := e.crowd.name(i); slices.Contains(req.Nodes, name) {
			n := inventory.Node{Name: name, Time: time.Now()}
			for k := range certificatesEach {
				found := e.crowd.certificate(i, k)
				has := inventory.Certificate{Service: found.Service, Name: found.Name}
				has.FingerprintSHA256, has.NotBefore, has.NotAfter = found.FingerprintSHA256, found.NotBefore.Time, found.NotAfter.Time
				n.Certificates = append(n.Certificates, has)
			}
			ready.Scanned = append(ready.Scanned, n)
		}
	}
	return ready, nil
}

func (e *fakeEngine) Rotate(_ context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
	return &v1alpha1.RotationReport{ID: o.ID, Result: v1alpha1.Succeeded}, nil
}
