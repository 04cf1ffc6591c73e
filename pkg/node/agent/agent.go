// Package agent watches one node: it looks at the node's certificates when files
// change, and from time to time, and hands a [v1alpha1.NodeCertificateReport] on when
// there is something new. It changes nothing on its node.
//
// What it looks with is package scan, so it sees what "rotate-certs-node scan" sees.
package agent

import (
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
	// DefaultInterval is the time between two looks when nothing seems to change.
	DefaultInterval = 5 * time.Minute
)

// Reports is where reports go. An error means that the report may not have arrived.
type Reports interface {
	Write(ctx context.Context, report *v1alpha1.NodeCertificateReport) error
}

// Options of an agent.
type Options struct {
	// Root is where the host's root directory, or the parts of it that the agent may
	// see, are mounted.
	Root hostfs.Root
	// NodeName is the node's name in the API; empty: found out on the node.
	NodeName string
	// PodsHidden says that the volumes of pods, and sockets, are kept from the agent on purpose.
	PodsHidden bool
	// Interval between two looks without a change; 0: [DefaultInterval].
	Interval time.Duration
	Reports  Reports
	// Log may be nil.
	Log *slog.Logger
	// Look takes an inventory; nil: package scan.
	Look func(ctx context.Context) inventory.Node
	// Health is for the probes of a pod; may be nil.
	Health *Health
}

func (o *Options) complete() {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Look == nil {
		o.Look = func(ctx context.Context) inventory.Node {
			return scan.Scan(ctx, o.Root, scan.Options{NodeName: o.NodeName, PodsHidden: o.PodsHidden})
		}
	}
}

// Run watches the node until ctx ends. What cannot be looked at is part of the report,
// and a report that cannot be written is tried again, so it returns an error only where
// it could not work at all.
func Run(ctx context.Context, o Options) error {
	if o.Reports == nil {
		return errors.New("watch node: nowhere to write reports to")
	}
	o.complete()
	a := &agent{Options: o, mail: newMailbox()}
	files, err := newFiles(o.Root)
	if err != nil {
		// E.g. the limit of inotify instances of the user is reached: slower, not blind.
		o.Log.Warn("cannot watch files, so the node is only looked at from time to time", "error", err, "interval", o.Interval)
	} else {
		a.files = files
		defer files.close()
	}
	ctx, cancel := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.mail.deliver(ctx, o.Reports, o.Health, o.Log)
	}()
	defer func() { cancel(); <-sent }()
	a.run(ctx)
	return nil
}

// agent is the state of a Run.
type agent struct {
	Options
	files *files // nil: files cannot be watched
	mail  *mailbox
	last  content // of the report that was handed on last
	seen  time.Time
}

func (a *agent) run(ctx context.Context) {
	when := schedule{interval: a.Interval, random: rand.Float64}
	a.look(ctx, &when)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(time.Until(when.next()))
		select {
		case <-ctx.Done():
		case <-a.files.changes():
			when.event(time.Now())
		case <-timer.C:
			a.look(ctx, &when)
		}
	}
}

// look takes an inventory, hands it on where it tells something new, and watches the
// directories that it names.
func (a *agent) look(ctx context.Context, when *schedule) {
	node := a.Look(ctx)
	if ctx.Err() != nil {
		return // what was cut short is no truth
	}
	now := time.Now()
	report := Report(node, func(file string) string { return hidden(a.Root, file) })
	found := contentOf(report)
	changed := found != a.last
	if changed || now.Sub(a.seen) >= v1alpha1.ReportHeartbeat {
		a.mail.put(report)
		a.last, a.seen = found, now
	}
	when.looked(now, changed)
	// What changed between the look and the watch on a new directory was not noticed.
	if a.files.watch(places(a.Root, node), a.Log) {
		when.event(now)
	}
	if err := a.Health.scanned(now, a.Interval); err != nil {
		a.Log.Warn("the probes of this pod do not see that it is alive", "error", err)
	}
}
