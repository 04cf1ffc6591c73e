package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

const (
	// calm is how long the watcher has nothing to do before its idle load is measured.
	calm = 10 * time.Second
	// atRest is how long its idle load is measured.
	atRest = 60 * time.Second
	// beats is how many agents of the crowd write each second that they are alive: each
	// does once an hour.
	beats = 3
	// changes is how many reports of the crowd change, one after another, for the CPU
	// time of one.
	changes = 200
)

// scaled is what the watcher takes for a cluster of some size.
type scaled struct {
	nodes         int
	pictured      time.Duration // from its start until every node is judged
	pictureCPU    time.Duration
	pictureMemory float64 // peak until then, MiB
	restMemory    float64
	rest          float64 // share of a core, percent
	beating       float64 // the same while agents say that they are alive
	change        time.Duration
	scrape        time.Duration
	scrapeSize    int
	peakMemory    float64
	load          string
}

// measureScale starts the watcher and measures what it takes.
func (l *lab) measureScale(ctx context.Context, c *crowd) (*scaled, error) {
	s := &scaled{load: loadAverage()}
	began := time.Now()
	b, err := l.startBeside(ctx)
	if err != nil {
		return nil, err
	}
	defer b.stop()
	said, err := b.says(ctx, judged)
	if err != nil {
		return nil, err
	}
	s.pictured, s.nodes = time.Since(began), said.Nodes
	s.pictureCPU = b.cpu()
	_, s.pictureMemory = b.memory()
	if said.Nodes != len(l.nodes)+c.size {
		return nil, fmt.Errorf("the watcher has judged %d nodes, and there are %d", said.Nodes, len(l.nodes)+c.size)
	}
	fmt.Fprintf(os.Stderr, "watcher: %d nodes judged after %s; watching it rest\n", s.nodes, seconds(s.pictured))
	if err := pause(ctx, calm); err != nil {
		return nil, err
	}
	if s.rest, err = b.share(ctx, func(ctx context.Context) error { return pause(ctx, atRest) }); err != nil {
		return nil, err
	}
	s.restMemory, _ = b.memory()
	if c.size > 0 {
		if err := s.withCrowd(ctx, b, c); err != nil {
			return nil, err
		}
	}
	_, s.peakMemory = b.memory()
	return s, nil
}

// withCrowd measures what follows changes, and a scrape.
func (s *scaled) withCrowd(ctx context.Context, b *beside, c *crowd) error {
	var err error
	s.beating, err = b.share(ctx, func(ctx context.Context) error {
		return every(ctx, time.Second/beats, beats*20, func(i int) error {
			return c.patch(ctx, i, fmt.Sprintf(`{"summary":{"observedAt":%q}}`, time.Now().UTC().Format(time.RFC3339)))
		})
	})
	if err != nil {
		return err
	}
	before, began := b.cpu(), time.Now()
	if err := every(ctx, 50*time.Millisecond, changes, func(i int) error { return c.change(ctx, i) }); err != nil {
		return err
	}
	idle := time.Duration(s.rest / 100 * float64(time.Since(began)))
	s.change = max(b.cpu()-before-idle, 0) / changes
	known, size, took, err := b.scrape(ctx, "rotate_certs_reports")
	if err == nil && known < c.size {
		err = fmt.Errorf("the watcher knows %d reports, and there are %d of the crowd", known, c.size)
	}
	s.scrape, s.scrapeSize = took, size
	return err
}

// every does something so many times, with a pause in between.
func every(ctx context.Context, interval time.Duration, times int, do func(i int) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range times {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) patch(ctx context.Context, i int, patch string) error {
	r := &v1alpha1.NodeCertificateReport{}
	r.Name = c.name(i)
	return c.api.Patch(ctx, r, client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// change lets a node's last certificate be another one.
func (c *crowd) change(ctx context.Context, i int) error {
	var r v1alpha1.NodeCertificateReport
	if err := c.api.Get(ctx, client.ObjectKey{Name: c.name(i)}, &r); err != nil {
		return err
	}
	last := &r.Certificates[len(r.Certificates)-1]
	last.FingerprintSHA256 = print64(last.FingerprintSHA256)
	return c.api.Update(ctx, &r)
}
