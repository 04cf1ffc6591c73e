package watcher

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policyfile"
)

// policyFile is the policy in force, read again when its file changes. A file that became
// wrong changes nothing: the last good one holds, and the log and /readyz say so.
type policyFile struct {
	path       string // empty: the default policy
	notifyOnly bool
	lifetime   time.Duration
	log        *slog.Logger
	changed    func(*renewal.Policy)

	content []byte
	policy  atomic.Pointer[renewal.Policy]
	wrong   atomic.Pointer[error]
}

// reread is how often the file is looked at where its directory tells of no change, as on
// some network file systems.
const reread = 30 * time.Second

// newPolicyFile reads the file. One that cannot be read is an error. One that is wrong is
// not, since who watches has to be there: until it is right, the watcher tells and rotates
// nothing, and is not ready.
func newPolicyFile(path string, notifyOnly bool, log *slog.Logger) (*policyFile, error) {
	p := &policyFile{path: path, notifyOnly: notifyOnly, log: log}
	err := p.read()
	if err == nil || p.content == nil {
		return p, err
	}
	p.log.Error("the policy is wrong: until it is right, this watcher tells and rotates nothing", "error", err)
	policy := renewal.Default().NotifyOnly()
	p.policy.Store(&policy)
	p.wrong.Store(&err)
	return p, nil
}

// read puts the file's content in force.
func (p *policyFile) read() error {
	policy := renewal.Default()
	if p.path != "" {
		content, err := os.ReadFile(p.path)
		if err != nil {
			p.content = nil // when it is back, it is read, also where it is as it was
			return fmt.Errorf("read policy: %w", err)
		}
		if p.policy.Load() != nil && bytes.Equal(content, p.content) {
			return p.problem()
		}
		p.content = content
		file, err := policyfile.Parse(content)
		if err != nil {
			return fmt.Errorf("read policy %q: %w\ncheck it: kubectl rotate-certs policy check FILE", p.path, err)
		}
		if policy, err = file.Policy(); err != nil {
			return fmt.Errorf("read policy %q: %w", p.path, err)
		}
	}
	policy.Lifetime = p.lifetime
	if p.notifyOnly {
		policy = policy.NotifyOnly()
	}
	p.policy.Store(&policy)
	if p.changed != nil {
		p.changed(&policy)
	}
	return nil
}

func (p *policyFile) current() *renewal.Policy { return p.policy.Load() }

// lives says for how long the cluster's certificates are valid by default.
func (p *policyFile) lives(d time.Duration) {
	p.lifetime = d
	policy := *p.policy.Load()
	policy.Lifetime = d
	p.policy.Store(&policy)
}

// problem is what is wrong with the file as it is now; nil: nothing.
func (p *policyFile) problem() error {
	if err := p.wrong.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *policyFile) describe() string {
	if p.path == "" {
		return "default"
	}
	return p.path
}

// NeedLeaderElection says that every watcher has its policy at hand.
func (p *policyFile) NeedLeaderElection() bool { return false }

// Start follows the file until ctx ends. Its directory is watched, not the file: a
// ConfigMap's files are symlinks that are turned.
func (p *policyFile) Start(ctx context.Context) error {
	if p.path == "" {
		<-ctx.Done()
		return nil
	}
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch policy %q: %w", p.path, err)
	}
	defer func() { _ = watch.Close() }()
	if err := watch.Add(filepath.Dir(p.path)); err != nil {
		p.log.Warn("the policy's directory cannot be watched, so it is read every now and then", "error", err)
	}
	tick := time.NewTicker(reread)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.Events:
		case err := <-watch.Errors: // what was missed is read at the next tick
			p.log.Debug("watch policy", "error", err)
		case <-tick.C:
		}
		p.again()
	}
}

func (p *policyFile) again() {
	before, known := p.current(), p.problem()
	err := p.read()
	switch {
	case err == nil:
		p.wrong.Store(nil)
		if p.current() != before {
			p.log.Info("policy read again", "policy", p.path)
		}
	case known == nil || known.Error() != err.Error():
		p.wrong.Store(&err)
		p.log.Error("the policy is wrong, the last good one stays in force", "error", err)
	}
}
