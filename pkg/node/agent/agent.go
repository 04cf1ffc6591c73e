// Package agent watches one node: it scans the node when files change, and at intervals, and
// writes a [v1alpha1.NodeCertificateReport] when the result has changed. It changes nothing on
// its node.
//
// It uses package scan, so its result is that of "rotate-certs-node scan".
package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/scan"
)

const (
	// DefaultInterval is the time between two scans when no file changes.
	DefaultInterval = 5 * time.Minute
)

// Reports is where reports go. An error means that the report may not have arrived.
type Reports interface {
	WriteReport(ctx context.Context, report *v1alpha1.NodeCertificateReport) error
}

// Options of an agent.
type Options struct {
	// Root is where the host's root directory, or the parts of it that the agent may
	// see, are mounted.
	Root hostfs.Root
	// NodeName is the node's name in the API; empty: it is discovered on the node.
	NodeName string
	// PodsHidden means that the volumes of pods, and sockets, are deliberately not visible to
	// the agent.
	PodsHidden bool
	// Interval between two scans without a change; 0: [DefaultInterval].
	Interval time.Duration
	Reports  Reports
	// Log may be nil.
	Log *slog.Logger
	// ScanNode takes an inventory; nil: package scan.
	ScanNode func(ctx context.Context) inventory.Node
	// Health is for the probes of a pod; may be nil.
	Health *Health
}

func (o *Options) fillDefaults() {
	o.Root = cmp.Or(o.Root, "/")
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ScanNode == nil {
		o.ScanNode = func(ctx context.Context) inventory.Node {
			return scan.TakeInventory(ctx, o.Root, scan.Options{NodeName: o.NodeName, PodsHidden: o.PodsHidden})
		}
	}
}

// RunAgent watches the node until ctx ends. Files that cannot be inspected are part of the
// report, and a report that cannot be written is retried, so it returns an error only if it
// cannot work at all.
func RunAgent(ctx context.Context, o Options) error {
	if o.Reports == nil {
		return errors.New("watch node: no destination for reports")
	}
	o.fillDefaults()
	a := &agent{Options: o, mail: newMailbox()}
	files, err := newFiles(o.Root)
	if err != nil {
		// E.g. the user's limit of inotify instances is reached: changes are found later then,
		// by the interval.
		o.Log.Warn("cannot watch files, so the node is scanned at the interval only", "error", err, "interval", o.Interval)
	} else {
		a.files = files
		defer files.closeAll()
	}
	ctx, cancel := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.mail.deliver(ctx, o.Reports, o.Health, o.Log)
	}()
	defer func() { cancel(); <-sent }()
	a.runLoop(ctx)
	return nil
}

// agent is the state of RunAgent.
type agent struct {
	Options
	files *files // nil: files cannot be watched
	mail  *mailbox
	last  content // of the last report
	seen  time.Time
}

func (a *agent) runLoop(ctx context.Context) {
	when := schedule{interval: a.Interval, random: rand.Float64}
	a.takeInventory(ctx, &when)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(time.Until(when.nextScan()))
		select {
		case <-ctx.Done():
		case <-a.files.changeEvents():
			when.noteEvent(time.Now())
		case <-timer.C:
			a.takeInventory(ctx, &when)
		}
	}
}

// takeInventory takes an inventory, reports it if it has changed, and watches the directories
// that it names.
func (a *agent) takeInventory(ctx context.Context, when *schedule) {
	node := a.ScanNode(ctx)
	if ctx.Err() != nil {
		return // an interrupted scan is incomplete
	}
	now := time.Now()
	report := NewReport(node, func(file string) string { return hiddenDirectory(a.Root, file) })
	found := contentOf(report)
	changed := found != a.last
	if changed || now.Sub(a.seen) >= v1alpha1.ReportHeartbeat {
		a.mail.putReport(report)
		a.last = found
		a.seen = now
	}
	when.noteScan(now, changed)
	// A change between the scan and the watch of a new directory was not noticed.
	if a.files.watchOnly(watchedPlaces(a.Root, node), a.Log) {
		when.noteEvent(now)
	}
	if err := a.Health.noteScan(now, a.Interval); err != nil {
		a.Log.Warn("the probes of this pod do not see that it is alive", "error", err)
	}
}
