package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	scans  = 20 // of a control plane
	starts = 20 // of each program, in turns
)

// measurePrograms measures what single runs of our programs take.
func (l *lab) measurePrograms(ctx context.Context, w io.Writer) ([]aim, error) {
	scan, err := l.measureScan(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure the scan of a node: %w", err)
	}
	own, plugin, both, err := l.measureStarts(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure the start of the plugin: %w", err)
	}
	fmt.Fprintf(w, "\nMedians; machine load %s:\n\n", loadAverage())
	table{
		{"", fmt.Sprintf("median of %d", starts)},
		{"rotate-certs-node scan, on a control plane: user and system time", milliseconds(scan)},
		{"kubectl version --client: wall time", milliseconds(own)},
		{"kubectl-rotate_certs version --client: wall time", milliseconds(plugin)},
		{"kubectl rotate-certs version --client: wall time (kubectl, which becomes the plugin)", milliseconds(both)},
	}.print(w)
	return []aim{
		atMost("scan of a control plane: CPU", float64(scan.Microseconds())/1000, 20, " ms"),
		atMost("start of the plugin, kubectl's own = 1", plugin.Seconds()/own.Seconds(), 1, ""),
	}, nil
}

// measureScan runs the node program on a control-plane node as its pod would.
func (l *lab) measureScan(ctx context.Context) (time.Duration, error) {
	program, err := os.Open(filepath.Join(l.bin, "rotate-certs-node"))
	if err != nil {
		return 0, err
	}
	defer program.Close()
	node := l.controlPlanes()[0].Name
	const path = "/root/bench-rotate-certs-node"
	if _, err := l.on(ctx, node, "cat >"+path+" && chmod 700 "+path, program); err != nil {
		return 0, err
	}
	out, err := l.on(ctx, node, fmt.Sprintf(`
		TIMEFORMAT='%%3U %%3S'
		for n in $(seq %d); do { time %s scan --node-name=%s >/dev/null; } 2>&1; done
		rm %s`, scans, path, node, path), nil)
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for line := range strings.Lines(out) {
		var sum float64
		for _, f := range strings.Fields(line) {
			s, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return 0, fmt.Errorf("unexpected output %q", out)
			}
			sum += s
		}
		took = append(took, time.Duration(sum*float64(time.Second)))
	}
	return median(took), nil
}

// measureStarts times programs that do nothing but start, in turns, so that whatever
// else the machine does meets all of them.
func (l *lab) measureStarts(ctx context.Context) (own, plugin, both time.Duration, err error) {
	commands := [][]string{
		{"kubectl", "version", "--client"},
		{filepath.Join(l.bin, "kubectl-rotate_certs"), "version", "--client"},
		{"kubectl", "rotate-certs", "version", "--client"},
	}
	took := make([][]time.Duration, len(commands))
	for range starts {
		for i, c := range commands {
			cmd := l.command(ctx, c[0], c[1:]...)
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return 0, 0, 0, fmt.Errorf("run %q: %w: %s", c, err, out)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	return median(took[0]), median(took[1]), median(took[2]), nil
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
