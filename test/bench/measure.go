package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// measurement is one procedure, as it went.
type measurement struct {
	procedure
	wall        time.Duration
	experiences []experience
	plugin      resources
	nodes       resources // of the node program: CPU of all its pods, memory of the largest
	load        string    // of the machine when it began
	busy        float64   // share of the machine's CPU time that was used meanwhile
	reported    []string  // what our report says of the API servers
}

// resources is what a program took.
type resources struct {
	cpu    time.Duration
	memory int64 // peak, bytes
}

// aside is for how long clients ask before a procedure begins and after it has ended.
const aside = 3 * time.Second

func (l *lab) measure(ctx context.Context, p procedure) (*measurement, error) {
	fmt.Fprintf(os.Stderr, "%s: restarting the kubelets and waiting for health, then: %s\n", p.name, p.about)
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	m := &measurement{procedure: p, load: loadAverage()}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	askers := l.askers()
	for _, a := range askers {
		running.Go(func() { a.ask(asking, l.identity) })
	}
	watch := l.watchPods()
	running.Go(func() { watch.run(asking) })
	err := pause(ctx, aside)
	began, before := time.Now(), cpuTimes()
	if err == nil {
		err = p.run(ctx, l, m)
	}
	m.wall, m.busy = time.Since(began), cpuTimes().busySince(before)
	if err == nil {
		err = pause(ctx, aside)
	}
	stop()
	running.Wait()
	m.nodes = watch.total()
	for _, a := range askers {
		m.experiences = append(m.experiences, a.experience())
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, m.wall.Round(100*time.Millisecond))
	return m, err
}

// worst returns the worst of what the clients of some kind saw.
func (m *measurement) worst(of func(experience) bool) (e experience) {
	for _, x := range m.experiences {
		if !of(x) {
			continue
		}
		e.asked += x.asked
		e.failed += x.failed
		e.gap, e.down, e.slowest = max(e.gap, x.gap), max(e.down, x.down), max(e.slowest, x.slowest)
	}
	return e
}

func direct(e experience) bool  { return e.where != balancer && !e.keep }
func through(e experience) bool { return e.where == balancer && !e.keep }

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:1], " ")
}

// ticks are the machine's CPU times since it was started.
type ticks struct{ idle, all int64 }

func cpuTimes() (t ticks) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseInt(f, 10, 64)
		if i < 8 { // guests are counted among the users
			t.all += n
		}
		if i == 3 || i == 4 { // idle, iowait
			t.idle += n
		}
	}
	return t
}

func (t ticks) busySince(before ticks) float64 {
	if t.all == before.all {
		return 0
	}
	return 1 - float64(t.idle-before.idle)/float64(t.all-before.all)
}
