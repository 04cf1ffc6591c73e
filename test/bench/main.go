package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// errMissed means that everything was measured, and is not as it should be.
var errMissed = errors.New("not every aim was met; the load above shows whether the machine was busy")

func run(ctx context.Context) error {
	name := flag.String("lab", "bench", "the lab to measure, in whose network namespace this runs")
	bin := flag.String("bin", "bin", "the directory of the built programs")
	only := flag.String("only", "", "measure only one of: documented, always, if-needed, programs, dashboard, watcher, recovery")
	nodes := flag.Int("nodes", crowdSize, "how many nodes the watcher is measured with")
	rate := flag.Int("rate", 20, "requests of each client a second; the clients are a load, too, which can be too much for a slow machine")
	flag.Parse()
	if *rate < 1 {
		return fmt.Errorf("-rate %d: want at least 1", *rate)
	}
	l, err := openLab(ctx, *name, *bin)
	if err != nil {
		return err
	}
	l.rate = *rate
	var results []*measurement
	for _, p := range procedures {
		if *only != "" && *only != p.name {
			continue
		}
		// With a single control plane, its API server is unavailable whenever it restarts: only
		// the way that restarts nothing of it is held to anything.
		if len(l.controlPlanes()) == 1 && p.name != ifNeeded && *only == "" {
			continue
		}
		m, err := l.measure(ctx, p)
		if err != nil {
			return fmt.Errorf("measure %q: %w", p.name, err)
		}
		results = append(results, m)
	}
	fmt.Printf("\n%s\n\n", l)
	printMeasurements(os.Stdout, *rate, results)
	aims := judge(l, results)
	if *only == "" && len(l.controlPlanes()) > 1 || *only == "programs" {
		programs, err := l.measurePrograms(ctx, os.Stdout)
		if err != nil {
			return err
		}
		aims = append(aims, programs...)
	}
	if *only == "" && len(l.controlPlanes()) > 1 || *only == "dashboard" {
		pages, err := measureDashboard(ctx, os.Stdout)
		if err != nil {
			return fmt.Errorf("measure the dashboard: %w", err)
		}
		aims = append(aims, pages...)
	}
	met := printAims(os.Stdout, aims)
	if *only == "" && len(l.controlPlanes()) > 1 || *only == "watcher" {
		aims, err := l.measureWatcher(ctx, os.Stdout, *nodes)
		if err != nil {
			return fmt.Errorf("measure the watcher: %w", err)
		}
		met = printAims(os.Stdout, aims) && met
	}
	if *only == "" && len(l.controlPlanes()) > 1 || *only == "recovery" {
		aims, err := l.measureRecovery(ctx, os.Stdout)
		if err != nil {
			return fmt.Errorf("measure a recovery: %w", err)
		}
		met = printAims(os.Stdout, aims) && met
	}
	if !met {
		return errMissed
	}
	return nil
}
