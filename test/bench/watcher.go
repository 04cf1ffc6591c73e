package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// namespace is where the watcher is installed.
const namespace = "rotate-certs"

// watcherLimit bounds all that is measured of the watcher, on a machine that is busy.
const watcherLimit = 20 * time.Minute

// measureWatcher installs the watcher and measures it: first as it is installed, then
// beside the cluster, with what the API server shows grown to a large one.
func (l *lab) measureWatcher(ctx context.Context, w io.Writer, size int) (aims []aim, err error) {
	ctx, cancel := context.WithTimeout(ctx, watcherLimit)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, fmt.Errorf("read KUBECONFIG: %w", err)
	}
	config.QPS = -1 // the API server's own limits are enough
	ctrllog.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, l.kubectl(context.WithoutCancel(ctx), "rotate-certs", "uninstall", "--yes"))
	}()
	published, load, err := l.installedWatcher(ctx, config)
	if err != nil {
		return nil, err
	}
	small, large, compromised, err := l.grownWatcher(ctx, config, api, size)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "\nThe watcher: %d replaced files; %d CompromisedCertificates\n\n", len(published), len(compromised))
	printReactions(w, published, load, compromised, large.load)
	fmt.Fprintf(w, "\nThe watcher's program beside the cluster, with %d certificates on each node of the large one:\n\n", certificatesEach)
	printScale(w, small, large)
	return []aim{
		atMost("watcher: every report known and judged after its start", large.pictured.Seconds(), 10, " s"),
		atMost("watcher: peak memory", large.peakMemory, 400, " MiB"),
		atMost("watcher: share of a core at rest", large.rest, 1, " %"),
		atMost("watcher: from a CompromisedCertificate to its rotation, 99 of 100", float64(rank(compromised, 0.99).Milliseconds()), 500, " ms"),
		atMost("watcher: from a replaced file to its event, longest", rank(published, 1).Seconds(), 2, " s"),
	}, nil
}

// installedWatcher measures the watcher and its agents in the cluster; it leaves the
// definitions only.
func (l *lab) installedWatcher(ctx context.Context, config *rest.Config) ([]time.Duration, string, error) {
	if err := l.kubectl(ctx, "rotate-certs", "install"); err != nil {
		return nil, "", err
	}
	fmt.Fprintln(os.Stderr, "watcher: installed; replacing certificates on the nodes")
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, "", err
	}
	load := loadAverage()
	published, err := l.measureFileChanges(ctx, typed)
	if err != nil {
		return nil, "", fmt.Errorf("measure the way from a file to its event: %w", err)
	}
	return published, load, l.kubectl(ctx, "delete", "deployments,daemonsets", "--all", "--namespace="+namespace, "--cascade=foreground")
}

// grownWatcher measures the watcher's program, at first for the lab as it is.
func (l *lab) grownWatcher(ctx context.Context, config *rest.Config, api client.WithWatch, size int) (small, large *scaled, compromised []time.Duration, err error) {
	if small, err = l.measureScale(ctx, &crowd{api: api}); err != nil {
		return nil, nil, nil, err
	}
	back, err := l.withoutControllers(ctx)
	defer func() { err = errors.Join(err, back()) }()
	if err != nil {
		return nil, nil, nil, err
	}
	c := &crowd{api: api, size: size}
	defer func() {
		fmt.Fprintln(os.Stderr, "watcher: removing the nodes and reports")
		err = errors.Join(err, c.remove(context.WithoutCancel(ctx)))
	}()
	fmt.Fprintf(os.Stderr, "watcher: creating %d nodes and as many reports\n", size)
	took, err := c.create(ctx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("create nodes and reports: %w", err)
	}
	fmt.Fprintf(os.Stderr, "watcher: created in %s\n", seconds(took))
	if large, err = l.measureScale(ctx, c); err != nil {
		return nil, nil, nil, err
	}
	fmt.Fprintln(os.Stderr, "watcher: reporting certificates as compromised")
	compromised, err = measureCompromised(ctx, config, api, c)
	return small, large, compromised, err
}

// withoutControllers stops the controller managers, which would write to each node of
// the crowd, and pods for it, for half an hour: it has no kubelets. They are back when the
// function that is returned has been called.
func (l *lab) withoutControllers(ctx context.Context) (back func() error, err error) {
	const manifest, moved = "/etc/kubernetes/manifests/kube-controller-manager.yaml", "/root/kube-controller-manager.yaml"
	back = func() error {
		for _, n := range l.controlPlanes() {
			if _, err := l.on(context.WithoutCancel(ctx), n.Name, fmt.Sprintf("if [ -e %[2]s ]; then mv %[2]s %[1]s; fi", manifest, moved), nil); err != nil {
				return err
			}
		}
		return nil
	}
	for _, n := range l.controlPlanes() {
		script := fmt.Sprintf("mv %s %s; timeout 60 sh -c 'while pgrep -x kube-controller >/dev/null; do sleep 0.2; done'", manifest, moved)
		if _, err := l.on(ctx, n.Name, script, nil); err != nil {
			return back, fmt.Errorf("stop the controller manager: %w", err)
		}
	}
	return back, nil
}

func (l *lab) kubectl(ctx context.Context, args ...string) error {
	if out, err := l.command(ctx, "kubectl", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func printReactions(w io.Writer, published []time.Duration, whenPublished string, compromised []time.Duration, whenReported string) {
	row := func(what string, d []time.Duration, load string) []string {
		return []string{what, milliseconds(rank(d, 0.5)), milliseconds(rank(d, 0.99)), milliseconds(rank(d, 1)), load}
	}
	table{
		{"", "median", "99 of 100", "longest", "load"},
		row("from a certificate's file on a node to its event at /events?follow=true", published, whenPublished),
		row("from mark-compromised to its CertificateRotation Running, the engine faked", compromised, whenReported),
	}.print(w)
}

func printScale(w io.Writer, small, large *scaled) {
	t := table{{"", fmt.Sprintf("%d nodes", small.nodes), fmt.Sprintf("%d nodes", large.nodes)}}
	row := func(what string, cell func(*scaled) string) { t = append(t, []string{what, cell(small), cell(large)}) }
	mebibytes := func(v float64) string { return fmt.Sprintf("%.0f MiB", v) }
	percent := func(v float64) string { return fmt.Sprintf("%.2f %%", v) }
	row("from its start to every node judged, the election of a leader included", func(s *scaled) string { return seconds(s.pictured) })
	row("CPU until then", func(s *scaled) string { return seconds(s.pictureCPU) })
	row("memory: peak until then", func(s *scaled) string { return mebibytes(s.pictureMemory) })
	row(fmt.Sprintf("memory: at rest, %s later", calm+atRest), func(s *scaled) string { return mebibytes(s.restMemory) })
	row("memory: peak of all of this", func(s *scaled) string { return mebibytes(s.peakMemory) })
	row("at rest: share of a core", func(s *scaled) string { return percent(s.rest) })
	ofLarge := func(what, cell string) { t = append(t, []string{what, "–", cell}) }
	ofLarge(fmt.Sprintf("with the hourly signs of life of all agents, %d a second: share of a core", beats), percent(large.beating))
	ofLarge("one report in which a certificate is another: CPU", milliseconds(large.change))
	ofLarge("one scrape of /metrics", fmt.Sprintf("%s, %d MiB", seconds(large.scrape), large.scrapeSize>>20))
	row("machine: load when it began", func(s *scaled) string { return s.load })
	t.print(w)
}

// rank is the smallest of the values that so great a share of them does not exceed.
func rank(d []time.Duration, share float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[int(math.Ceil(share*float64(len(sorted))))-1]
}
