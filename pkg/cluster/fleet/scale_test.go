package fleet_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const (
	// nodeTakes is how long a simulated node works on its commit; a real one takes
	// a few seconds.
	nodeTakes = 50 * time.Millisecond
	// atOnce is how many of them work at the same time.
	atOnce = 10
	// tolerated is by how much a large fleet may do worse, node by node.
	tolerated = 1.5
)

// BenchmarkFleet renews the kubelets' certificates of 100 and of 1,000 simulated
// workers, and fails where the large fleet costs more than its size explains.
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		small, large := renewFleet(b, 100), renewFleet(b, 1000)
		b.Logf("%s\n%s", small, large)
		require.Less(b, large.perWave(), time.Duration(tolerated*float64(small.perWave())), "time is proportional to nodes / parallelism")
		require.Less(b, large.perNode(), tolerated*small.perNode(), "memory for each node does not grow with the fleet")
		b.ReportMetric(float64(large.perWave().Microseconds())/1000, "ms/wave")
		b.ReportMetric(large.perNode()/1024, "KiB/node")
	}
}

// fleetRun is what a rotation of a fleet took.
type fleetRun struct {
	workers int
	took    time.Duration
	peak    uint64 // of the heap, beyond what was there before
}

func (f fleetRun) perWave() time.Duration { return f.took / time.Duration(f.workers/atOnce) }
func (f fleetRun) perNode() float64       { return float64(f.peak) / float64(f.workers) }

func (f fleetRun) String() string {
	return fmt.Sprintf("%4d workers, %d at a time, each works %s: %.2f s, %.1f ms a wave; peak heap %.1f MiB, %.1f KiB a worker",
		f.workers, atOnce, nodeTakes, f.took.Seconds(), float64(f.perWave().Microseconds())/1000,
		float64(f.peak)/(1<<20), f.perNode()/1024)
}

func renewFleet(b *testing.B, workers int) fleetRun {
	c := newCluster(3, workers)
	request := plan.Request{Services: []certs.Service{certs.Kubelet}, Restart: plan.RestartAlways, MaxUnavailable: fmt.Sprint(atOnce)}
	for name := range c.nodes {
		if c.nodes[name].inventory.ComponentOf(certs.Etcd) == nil {
			request.Nodes = append(request.Nodes, name)
		}
	}
	p, err := plan.BuildPlan(c.inventories(), request, nil)
	require.NoError(b, err)
	require.Len(b, p.Waves, workers/atOnce)
	o := fleet.Options{Rotation: fleet.Rotation{ID: "7f3c2a", Request: request, Plan: p, Scanned: c.inventories()}, Timeout: time.Minute}
	working := c.asCluster()
	working.Nodes = busyNodes{c}

	peak := watchHeap()
	began := time.Now()
	_, err = fleet.Rotate(b.Context(), working, o)
	took := time.Since(began)
	require.NoError(b, err)
	return fleetRun{workers: workers, took: took, peak: peak()}
}

// busyNodes open sessions with nodes that take their time to commit.
type busyNodes struct{ *cluster }

func (n busyNodes) Open(ctx context.Context, rotation string, s plan.Step) (fleet.Session, error) {
	_, err := n.cluster.Open(ctx, rotation, s)
	return busyNode{n.nodes[s.Node]}, err
}

type busyNode struct{ *node }

func (n busyNode) Order(ctx context.Context, o nodeapi.Order) error {
	if o.Kind == nodeapi.OrderCommit {
		<-time.After(nodeTakes)
	}
	return n.node.Order(ctx, o)
}

// watchHeap watches how the heap grows until the returned function is called. Garbage
// is collected often meanwhile, so that what is seen is what is in use.
func watchHeap() func() uint64 {
	percent := debug.SetGCPercent(10)
	runtime.GC()
	before := heapInUse()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		highest := before
		for {
			select {
			case <-tick.C:
				highest = max(highest, heapInUse())
			case <-stop:
				peak <- max(highest, heapInUse()) - before
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		defer debug.SetGCPercent(percent)
		return <-peak
	}
}

func heapInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
