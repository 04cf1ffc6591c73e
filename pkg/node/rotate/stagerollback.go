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
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// prepareRollback is prepareCommit for certificates that an earlier rotation has replaced:
// nothing is issued, and the keys and certificates are those of the earlier rotation's backup.
// From here on it is a rotation like any other: the present certificates are backed up, and put back
// if the earlier certificates cannot be verified.
func (s *session) prepareRollback(ctx context.Context, node inventory.Node, found []inventory.Certificate, o statedir.Order) (*transaction, error) {
	saved, err := s.readSaved(o.Step.RollbackOf)
	if err != nil {
		return nil, err
	}
	s.keepProgramEarly()
	t := newTransaction(node, o, len(found))
	for n, c := range found {
		target := o.Step.Targets[n]
		if t.Items[n], err = s.stageSaved(ctx, n, node, c, saved.dirOf(target), o); err != nil {
			return nil, fmt.Errorf("%s %q: %w", c.Name, c.Store.Cert, err)
		}
	}
	return t, t.saveTo(s.rotation.StagedDir())
}

// stagedBackup is the message of a staged rollback; empty for other rotations.
func stagedBackup(step *plan.Step) string {
	if step == nil || step.RollbackOf == "" {
		return ""
	}
	return fmt.Sprintf("%d certificates of the backup are complete; nothing is changed yet", len(step.Targets))
}

// savedItems are the directories of a rotation's replaced files, by the certificate's ID and
// fingerprint.
type savedItems map[[2]string]string

func (b savedItems) dirOf(t plan.Target) string { return b[[2]string{t.ID, t.NewFingerprint}] }

// readSaved finds the replaced files of an earlier rotation. It may have committed more than
// once.
func (s *session) readSaved(id string) (savedItems, error) {
	gone := &refusal{fmt.Sprintf("this node no longer keeps the files that rotation %s has replaced", id),
		fmt.Sprintf("a node keeps those of its last %d rotations; issue new certificates instead", statedir.Kept)}
	r, err := s.dir.KnownRotation(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(r.BackupDir(), "*"))
	if err != nil {
		return nil, err
	}
	out := savedItems{}
	for _, dir := range dirs {
		t, err := loadTransaction(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // interrupted before its commit began
		}
		if err != nil {
			return nil, err
		}
		for n, i := range t.Items {
			out[[2]string{i.Certificate.ID(), i.Certificate.FingerprintSHA256}] = itemDir(dir, n)
		}
	}
	if len(out) == 0 {
		return nil, gone
	}
	return out, nil
}

// stageSaved copies one certificate with its key from a backup, after all checks that are
// possible before anything is changed.
func (s *session) stageSaved(ctx context.Context, n int, node inventory.Node, c inventory.Certificate, dir string, o statedir.Order) (item, error) {
	if dir == "" {
		return item{}, &refusal{fmt.Sprintf("rotation %s has replaced no such certificate here", o.Step.RollbackOf), "run the same command again to make a new plan"}
	}
	m, err := store.ReadBackup(dir, c.Store)
	if err != nil {
		return item{}, err
	}
	if err := s.checkSaved(node, c, m, o.Step.Targets[n]); err != nil {
		return item{}, err
	}
	old, err := store.ReadStore(s.Root, c.Store)
	if err != nil {
		return item{}, err
	}
	i := item{Certificate: c, New: certs.DescribeCertificate(m.Chain[0])}
	if err := s.tryClient(ctx, &i, old, m, "earlier", "present"); err != nil {
		return item{}, err
	}
	if err := saveMaterial(itemDir(s.rotation.StagedDir(), n), m); err != nil {
		return item{}, fmt.Errorf("save what was staged: %w", err)
	}
	return i, nil
}

// checkSaved refuses a saved certificate that is not the planned one, that is not valid now, or
// that no CA on this node has signed.
func (s *session) checkSaved(node inventory.Node, c inventory.Certificate, m store.Material, target plan.Target) error {
	const hint = "roll back without it: name the other nodes, or issue new certificates instead"
	leaf := m.Chain[0]
	switch now := s.now(); {
	case certs.Fingerprint(leaf) != target.NewFingerprint:
		return fmt.Errorf("the backup holds certificate %.12s, and %.12s was planned", certs.Fingerprint(leaf), target.NewFingerprint)
	case !now.Before(leaf.NotAfter):
		return &refusal{"the earlier certificate expired " + leaf.NotAfter.UTC().Format(time.RFC3339), hint}
	case now.Before(leaf.NotBefore):
		return &refusal{fmt.Sprintf("the earlier certificate is valid only from %s; check this node's clock", leaf.NotBefore.UTC().Format(time.RFC3339)), hint}
	}
	paths := caPaths(node, c, leaf.Issuer.String())
	if len(paths) == 0 || c.Issuer.Kind == inventory.Throwaway {
		return nil // its CA is not on this node: the verification shows whether it is accepted
	}
	for _, path := range paths {
		data, err := s.Root.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read its CA: %w", err)
		}
		bundle, err := certs.ParsePEM(data)
		if err != nil {
			return fmt.Errorf("read its CA %q: %w", path, err)
		}
		for _, ca := range bundle {
			if certs.IsIssuedBy(leaf, ca) && s.now().Before(ca.NotAfter) {
				return nil
			}
		}
	}
	return &refusal{fmt.Sprintf("the CA in %s did not sign the earlier certificate, or has expired: it is no longer accepted", paths[0]), hint}
}

// caPaths returns the files with the CAs that may have signed a certificate: those of that name,
// and the one that signs its successors.
func caPaths(node inventory.Node, c inventory.Certificate, issuer string) []string {
	var out []string
	for _, a := range node.Authorities {
		if a.Subject == issuer {
			out = append(out, a.Paths...)
		}
	}
	if c.Issuer.CACert != "" {
		out = append(out, c.Issuer.CACert)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
