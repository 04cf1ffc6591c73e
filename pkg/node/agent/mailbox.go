package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// mailbox holds the newest report that has not been written. A node whose API server is not
// reachable continues to scan, and only the newest report matters.
type mailbox struct {
	wake chan struct{}

	mu     sync.Mutex
	newest *v1alpha1.NodeCertificateReport
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) putReport(report *v1alpha1.NodeCertificateReport) {
	m.mu.Lock()
	m.newest = report
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) peekReport() *v1alpha1.NodeCertificateReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest
}

// markDone drops a written report, unless there is a newer one.
func (m *mailbox) markDone(report *v1alpha1.NodeCertificateReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == report {
		m.newest = nil
	}
}

// deliver writes the reports, until ctx ends.
func (m *mailbox) deliver(ctx context.Context, to Reports, health *Health, log *slog.Logger) {
	const firstPause = 500 * time.Millisecond // doubles with each attempt that fails
	pause := firstPause
	for {
		report := m.peekReport()
		if report == nil {
			select {
			case <-ctx.Done():
				return
			case <-m.wake:
			}
			continue
		}
		try, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
		err := to.WriteReport(try, report)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if noted := health.noteReport(err); noted != nil {
			log.Warn("the probes of this pod do not see whether reports are written", "error", noted)
		}
		if err == nil {
			log.Info("report written", "node", report.Name, "certificates", report.Summary.Certificates, "problems", report.Summary.Problems)
			m.markDone(report)
			pause = firstPause
			continue
		}
		again := pause/2 + rand.N(pause) //nolint:gosec // spreads nodes, hides nothing
		log.Warn("report not written, trying again", "node", report.Name, "error", err, "in", again.Round(time.Millisecond).String())
		// The change on this node may be the API server's restart.
		if wait.SleepOrWake(ctx, again, m.wake) != nil {
			return
		}
		pause = min(2*pause, 30*time.Second)
	}
}
