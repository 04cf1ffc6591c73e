package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// table is printed as Markdown with aligned columns, to be pasted into a document.
type table [][]string

func (t table) print(w io.Writer) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, row := range t {
		for i, cell := range row {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, width := range widths {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", width+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// printMeasurements prints the procedures side by side.
func printMeasurements(w io.Writer, rate int, ms []*measurement) {
	if len(ms) == 0 {
		return
	}
	t := table{{""}}
	row := func(label string, cell func(*measurement) string) {
		line := []string{label}
		for _, m := range ms {
			line = append(line, cell(m))
		}
		t = append(t, line)
	}
	for _, m := range ms {
		t[0] = append(t[0], m.name)
	}
	row("wall time", func(m *measurement) string { return seconds(m.wall) })
	for i, e := range ms[0].experiences {
		row(fmt.Sprintf("%s, %s connections: longest gap / unavailable", e.where, kept(e)), func(m *measurement) string {
			x := m.experiences[i]
			return seconds(x.gap) + " / " + seconds(x.down)
		})
		row(fmt.Sprintf("%s, %s connections: failed of all", e.where, kept(e)), func(m *measurement) string {
			x := m.experiences[i]
			return fmt.Sprintf("%d of %d", x.failed, x.asked)
		})
	}
	row("the API server was unavailable, says our report", func(m *measurement) string { return or(strings.Join(m.reported, ", "), "–") })
	row("plugin: CPU / memory", func(m *measurement) string { return m.plugin.String() })
	row("node program: CPU on all nodes / memory on one", func(m *measurement) string { return m.nodes.String() })
	row("machine: load when it began / busy meanwhile", func(m *measurement) string {
		return fmt.Sprintf("%s / %.0f %%", m.load, 100*m.busy)
	})
	t.print(w)
	fmt.Fprintf(w, explanation, rate, seconds(time.Second/time.Duration(rate)))
	for _, m := range ms {
		printFailures(w, m)
	}
}

const explanation = `
Each client reads an object %d times a second, without retries; with no failure the gap is %s.
"Unavailable" adds up the times in which who asked got no good answer.
The kubelets were restarted before each measurement, outside of the measured time, so that none
holds back a container that had restarted in the ten minutes before; their back-off has no cap.
Plugin: user and system time and peak resident memory of its process. Node program: CPU time of
the control groups of its containers, and the largest peak among them, which counts cached files.
`

// printFailures lists failed requests through the load balancer: there should be none.
func printFailures(w io.Writer, m *measurement) {
	const most = 10
	for _, e := range m.experiences {
		if e.where != balancer || e.failed == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s, %s, %s connections, %d failed:\n", m.name, e.where, kept(e), e.failed)
		for _, f := range e.failures[:min(most, len(e.failures))] {
			fmt.Fprintln(w, "   ", f)
		}
	}
}

func (r resources) String() string {
	if r.cpu == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s / %d MiB", r.cpu.Seconds(), r.memory>>20)
}

func kept(e experience) string {
	if e.keep {
		return "kept"
	}
	return "new"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
