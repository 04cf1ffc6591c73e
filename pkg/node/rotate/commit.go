package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// commit puts the staged certificates into use and answers with Committed, RolledBack or
// Unknown; or with Refused or Failed, before anything has changed. Its error is a
// *journalError: the node was rolled back as far as possible, and the next process rolls it
// back again and reports it.
func (s *session) commit(ctx context.Context, o statedir.Order, l *log) error {
	t, materials, err := s.checkReady(ctx, o)
	if err != nil {
		return l.write(failedAnswer(err))
	}
	backup := backupDir(s.rotation, o.Number)
	if err := s.backUp(t, backup); err != nil {
		return l.write(failedAnswer(err))
	}
	if err := s.copyEtcd(ctx, o, t, l); err != nil {
		return err
	}
	unguarded, err := s.installRecovery(t)
	if err != nil {
		return l.write(failedAnswer(err))
	}
	if err := l.write(nodeapi.Record{Kind: nodeapi.Committing, Message: unguarded}); err != nil {
		return err
	}
	c := &committing{session: s, t: t, log: l}
	if s.kept = t.whereEarlier(); t.Unit != "" {
		err = c.restartUnit(ctx)
	} else {
		err = c.applyNew(ctx, materials)
	}
	if err == nil {
		err = l.write(nodeapi.Record{Kind: nodeapi.Committed, Renewals: t.renewals()})
	}
	if err != nil {
		undone := c.rollBack(ctx, asFailure(err))
		var broken *journalError
		if errors.As(err, &broken) {
			return fmt.Errorf("%w: %w", ErrManualInterventionRequired, err)
		}
		if undone != nil || l.last.Kind != nodeapi.Committed || l.last.Unverified {
			return undone
		}
		// Every old certificate had expired, and the new ones stayed and are verified.
	}
	if t.DestroyOldKeys {
		if err := s.destroyOldKeys(t, backup); err != nil {
			return err
		}
	}
	return s.cleanUp()
}

// cleanUp removes the recovery unit and the staged files of a commit that has its answer.
func (s *session) cleanUp() error {
	if err := s.removeRecovery(); err != nil {
		return err
	}
	return s.discardStaged()
}

// checkReady checks everything that can be checked before anything changes.
func (s *session) checkReady(ctx context.Context, o statedir.Order) (t *transaction, m []store.Material, err error) {
	defer recoverAs(&err)
	t, err = loadTransaction(s.rotation.StagedDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, &refusal{"nothing is staged on this node", "order Stage before Commit"}
	}
	if err != nil {
		return nil, nil, err
	}
	for n, i := range t.Items {
		now, err := store.ReadStore(s.Root, i.Certificate.Store)
		if err != nil {
			return nil, nil, err
		}
		if certs.Fingerprint(now.LeafCert()) != i.Certificate.FingerprintSHA256 {
			return nil, nil, &refusal{fmt.Sprintf("%s %q was changed since it was staged", i.Certificate.Name, i.Certificate.Store.Cert),
				"another program changes certificates on this node; run the same command again to make a new plan"}
		}
		if t.Unit != "" {
			continue // its unit makes the new one
		}
		staged, err := loadMaterial(itemDir(s.rotation.StagedDir(), n))
		if err != nil {
			return nil, nil, fmt.Errorf("load what was staged for %s: %w", i.Certificate.Name, err)
		}
		m = append(m, staged)
	}
	// A runtime that does not answer now would not restart anything later.
	if err := s.noteUnit(ctx, t); err != nil {
		return nil, nil, err
	}
	for _, service := range t.Restarts {
		for _, c := range t.components(service) {
			if t.runsInUnit(c) {
				continue
			}
			if _, err := s.Restarter.CurrentInstance(ctx, c); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := s.sortOthers(ctx, t); err != nil {
		return nil, nil, err
	}
	for _, c := range t.Node.Components {
		if c.Health == "" {
			continue
		}
		switch p := s.Prober.CheckHealth(ctx, t.Node, c); {
		case p.Healthy:
		case p.Unasked:
			t.Unasked = append(t.Unasked, c.Health)
		default:
			t.Unhealthy = append(t.Unhealthy, c.Health)
		}
	}
	t.Token = o.Token
	t.Order = o.Number
	t.Began = s.now()
	return t, m, nil
}

// backUp makes it possible to roll back the commit, for this process and for a later one.
func (s *session) backUp(t *transaction, dir string) (err error) {
	defer recoverAs(&err)
	if err := statedir.MkdirAll(dir); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	for n, i := range t.Items {
		if t.Unit != "" {
			continue // the unit would overwrite restored files at its next start
		}
		if err := store.BackUp(s.Root, i.Certificate.Store, itemDir(dir, n)); err != nil {
			return err
		}
	}
	return t.saveTo(dir)
}

// committing is a commit, or the rollback of one.
type committing struct {
	*session
	t       *transaction
	log     *log
	undoing bool
	boot    bool // no component runs yet: only files are restored
	late    bool // a later process rolls back the commit of an earlier one
	fates   []fate
	cold    time.Duration // additional time for the start of static pods
	early   *restarting   // the kubelet, where it was restarted before all other components
	outages []*outage
	// atReplaced holds the instances that ran when every file was new, by service; nil: unless a
	// kubelet is started that was down, nothing else starts components.
	atReplaced map[certs.Service][]string
	// restarted are the services that were, or were begun to be, restarted.
	restarted []certs.Service
}

// applyNew replaces the certificates, restarts the components and verifies them. A panic is an
// error, and leads to a rollback.
func (c *committing) applyNew(ctx context.Context, materials []store.Material) (err error) {
	defer recoverAs(&err)
	defer c.closeOutages()
	for n, i := range c.t.Items {
		if err := store.ReplaceStore(c.Root, i.Certificate.Store, materials[n]); err != nil {
			return &failure{service: i.Certificate.Service, what: i.Certificate.Name + " could not be replaced", cause: err}
		}
	}
	if err := c.log.write(nodeapi.Record{Kind: nodeapi.Replaced}); err != nil {
		return err
	}
	for n := range c.t.Items {
		if err := c.readBack(n); err != nil {
			return err // before anything is restarted
		}
	}
	first, last := splitKubelet(c.t.Restarts)
	if len(c.t.Restarts) > 0 {
		c.prepareKubelet(ctx)
	}
	if err := c.restartServices(ctx, first); err != nil {
		return err
	}
	if c.t.Restart == plan.RestartIfNeeded {
		if err := c.restartStale(ctx); err != nil {
			return err
		}
	}
	early, late := c.byTurn(last)
	if err := c.verifyItems(ctx, early); err != nil {
		return err
	}
	if err := c.restartServices(ctx, last); err != nil {
		return err
	}
	if c.early != nil { // the commit restarts no kubelet
		if err := c.awaitAll(ctx, []*restarting{c.early}); err != nil {
			return err
		}
	}
	if err := c.restartOthers(ctx, c.t.Others); err != nil {
		return err
	}
	return c.verifyItems(ctx, late)
}

// splitKubelet separates the kubelet and kube-proxy from the other services: they come last,
// when everything that the kubelet must start again is verified.
func splitKubelet(services []certs.Service) (first, last []certs.Service) {
	for _, s := range services {
		if s == certs.Kubelet || s == certs.KubeProxy {
			last = append(last, s)
		} else {
			first = append(first, s)
		}
	}
	return first, last
}

// byTurn returns the items that can be verified before the given services are
// restarted, and those that cannot.
func (c *committing) byTurn(last []certs.Service) (early, late []int) {
	for n, i := range c.t.Items {
		users := append([]certs.Service{i.Certificate.Service}, i.Certificate.UsedBy...)
		othersToo := slices.ContainsFunc(i.Certificate.OtherUsers, func(u inventory.OtherUser) bool { return slices.Contains(c.t.Others, u) })
		if othersToo || slices.ContainsFunc(users, func(s certs.Service) bool { return slices.Contains(last, s) }) {
			late = append(late, n)
		} else {
			early = append(early, n)
		}
	}
	return early, late
}

// restartsFor reports whether the commit restarts the service that loads a certificate.
func (t *transaction) restartsFor(i item) bool {
	return t.Restart != plan.RestartNever && slices.Contains(t.Restarts, i.Certificate.Service)
}

func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{what: "the commit failed", cause: err}
}

// hintBackup names the directory of the old files.
func (c *committing) hintBackup() string {
	dir := filepath.Join(statedir.HostPath, "rotations", c.rotation.ID, "backup", fmt.Sprint(c.t.Order))
	return "see the component's log on this node; the replaced files are in " + dir
}
