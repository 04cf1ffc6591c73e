package rotate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// stage prepares a commit and answers with Staged, Failed or Refused. Its error is a
// *journalError, or ctx's: the order has no answer then, and the next process carries it out
// again.
func (s *session) stage(ctx context.Context, o statedir.Order, l *log) error {
	again, err := s.stagedBefore(o.Number)
	if err != nil {
		return err
	}
	if !again {
		// The keys of an earlier order are void. Those of this order may wait for a signature
		// that is about to be given.
		if err := s.discardStaged(); err != nil {
			return err
		}
		rec := nodeapi.Record{Kind: nodeapi.Staging, Scope: o.Scope, Start: &o.StartTime, Services: servicesOf(o.Step)}
		if o.Step != nil && o.Step.RestartUnit != "" {
			rec.Message = o.Step.Renewer() + " renews their certificates"
		}
		if o.Step != nil && o.Step.RollbackOf != "" {
			rec.Message = fmt.Sprintf("the certificates from before rotation %s are put back", o.Step.RollbackOf)
		}
		err := l.write(rec)
		if err != nil {
			return err
		}
	}
	t, err := s.prepareCommit(ctx, o, l)
	var broken *journalError
	switch {
	case err == nil && t.Unit != "":
		return l.write(nodeapi.Record{Kind: nodeapi.Staged,
			Message: fmt.Sprintf("%s will renew %d certificates; nothing is changed yet", t.renewer(), len(t.Items))})
	case err == nil:
		return l.write(nodeapi.Record{Kind: nodeapi.Staged, Message: stagedBackup(o.Step), Renewals: t.renewals()})
	case errors.As(err, &broken), ctx.Err() != nil:
		return err
	}
	if err := s.discardStaged(); err != nil {
		return err
	}
	return l.write(failedAnswer(err))
}

// stagedBefore reports whether an earlier process began the staging of this order.
func (s *session) stagedBefore(order int64) (bool, error) {
	records, err := s.rotation.ReadRecords()
	if err != nil {
		return false, err
	}
	for _, rec := range records {
		if rec.Kind == nodeapi.Staging && rec.Order == order {
			return true, nil
		}
	}
	return false, nil
}

// prepareCommit makes the transaction and all its keys and certificates. A panic is an error
// like any other: nothing visible has changed.
func (s *session) prepareCommit(ctx context.Context, o statedir.Order, l *log) (t *transaction, err error) {
	defer recoverAs(&err)
	if o.Step == nil {
		return nil, &refusal{what: "order to stage without a step"}
	}
	node, err := s.Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("scan the node: %w", err)
	}
	if err := s.checkCopy(o, node); err != nil {
		return nil, err
	}
	found, err := matchTargets(node, o.Step)
	if err != nil {
		return nil, err
	}
	if o.Step.RollbackOf != "" {
		return s.prepareRollback(ctx, node, found, o)
	}
	if unit, err := renewingUnit(o.Step, found); unit != "" || err != nil {
		if err != nil {
			return nil, err
		}
		return s.prepareUnit(ctx, unit, node, found, o)
	}
	keys, err := s.chooseKeys(&node, found, o.Compromised)
	if err != nil {
		return nil, err
	}
	t = newTransaction(node, o, len(found))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		defer recoverAs(&err)
		s.keepProgramEarly()
		return nil
	})
	working := make(chan struct{}, runtime.GOMAXPROCS(0)) // limits the making of keys, not the wait for signatures
	for n, c := range found {
		g.Go(func() (err error) {
			defer recoverAs(&err)
			t.Items[n], err = s.stageItem(ctx, n, c, keys[c.ID()], o, l, working)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// Renamed into place last: without it, nothing is staged.
	return t, t.saveTo(s.rotation.StagedDir())
}

func newTransaction(node inventory.Node, o statedir.Order, items int) *transaction {
	t := &transaction{
		Token: o.Token, Restart: o.Restart, DestroyOldKeys: o.Compromised, Node: node, Restarts: o.Step.Restarts, Others: o.Step.OtherRestarts,
		Timeout: time.Duration(o.TimeoutSeconds) * time.Second, Items: make([]item, items),
	}
	if t.Timeout <= 0 {
		t.Timeout = nodeapi.ComponentTimeout
	}
	return t
}

// matchTargets finds the targets among the certificates that are on the node now.
func matchTargets(node inventory.Node, step *plan.Step) ([]inventory.Certificate, error) {
	byID := map[string]inventory.Certificate{}
	for _, c := range node.Certificates {
		byID[c.ID()] = c
	}
	const replan = "another program changes certificates on this node; run the same command again to make a new plan"
	found := make([]inventory.Certificate, 0, len(step.Targets))
	for _, target := range step.Targets {
		c, there := byID[target.ID]
		c.Issuer = issuerAsPlanned(c, target)
		switch {
		case !there:
			return nil, &refusal{fmt.Sprintf("%s %q is not there any more", target.Name, target.Path), replan}
		case c.FingerprintSHA256 != target.OldFingerprint:
			return nil, &refusal{fmt.Sprintf("%s %q was changed since the plan was made: it is now certificate %s, valid until %s",
				target.Name, target.Path, c.SerialNumber, c.NotAfter.Format(time.RFC3339)), replan}
		case step.RollbackOf == "" && (c.Issuer.Kind == inventory.NoIssuer || c.Issuer.Kind == ""):
			return nil, fmt.Errorf("%s %q cannot be renewed: %s", c.Name, c.Store.Cert, c.Reason)
		case c.Status == certs.Invalid && !c.Refused:
			return nil, fmt.Errorf("%s %q cannot be renewed: %s", c.Name, c.Store.Cert, c.Reason)
		}
		found = append(found, c)
	}
	return found, nil
}

// stageItem makes the successor of one certificate.
func (s *session) stageItem(ctx context.Context, n int, c inventory.Certificate, k chosenKey, o statedir.Order, l *log, working chan struct{}) (item, error) {
	old, err := store.ReadStore(s.Root, c.Store)
	if err != nil {
		return item{}, err
	}
	if old.KeyErr != nil {
		return item{}, fmt.Errorf("%s %q cannot be renewed: %w", c.Name, c.Store.Cert, old.KeyErr)
	}
	if got := certs.Fingerprint(old.LeafCert()); got != c.FingerprintSHA256 {
		return item{}, &refusal{fmt.Sprintf("%s %q is just being changed", c.Name, c.Store.Cert), "run the same command again"}
	}
	m, err := s.issueSuccessor(ctx, c, old, k, o, l, working)
	if err != nil {
		return item{}, &unsignedError{c, servicesOf(o.Step), err}
	}
	i := item{Certificate: c, New: certs.DescribeCertificate(m.Chain[0]), KeptKey: k.kept, SignedBy: m.SignedBy}
	if err := s.tryClient(ctx, &i, old, m.Material, "new", "old"); err != nil {
		return item{}, err
	}
	if err := saveMaterial(itemDir(s.rotation.StagedDir(), n), m.Material); err != nil {
		return item{}, fmt.Errorf("save what was staged: %w", err)
	}
	return i, nil
}

// issueSuccessor gets a successor issued, for a new key unless another is chosen, and checks
// it.
func (s *session) issueSuccessor(ctx context.Context, c inventory.Certificate, old store.Content, k chosenKey, o statedir.Order, l *log, working chan struct{}) (successor, error) {
	issuer := s.localIssuer(c.Issuer)
	if issuer == nil {
		return s.requestCertificate(ctx, c, old, k, o, l)
	}
	working <- struct{}{}
	defer func() { <-working }()
	key, err := k.keyFor(old)
	if err != nil {
		return successor{}, err
	}
	r := s.issueRequest(c, old, key, k, o)
	chain, err := issuer.IssueSuccessor(ctx, r)
	if err != nil {
		return successor{}, err
	}
	// Issuers check their own result. This check covers every kind of issuer, also later ones:
	// none may silently drop a name.
	if err := issue.CheckSuccessor(r, chain, nil); err != nil {
		return successor{}, err
	}
	return successor{Material: store.Material{Chain: chain, Key: key}}, nil
}

func (s *session) issueRequest(c inventory.Certificate, old store.Content, key certs.Key, k chosenKey, o statedir.Order) issue.Request {
	return issue.Request{Old: old.Chain, Key: key, KeepKey: k.kept != "", Now: s.now(),
		Validity: time.Duration(o.ValiditySeconds) * time.Second, Life: time.Duration(c.LifeSeconds) * time.Second}
}

// tryClient presents a new client certificate to its server before anything changes. The
// staging fails if the server rejects it and accepts the old one. If the server does not
// answer, that is noted in the item. next and now are the words for the two.
func (s *session) tryClient(ctx context.Context, i *item, old store.Content, m store.Material, next, now string) error {
	if i.Certificate.Client == nil {
		return nil
	}
	_, err := s.Prober.VerifyClient(ctx, i.Certificate, m)
	if err == nil {
		i.Accepted = true
		return nil
	}
	i.Note = err.Error()
	if !errors.Is(err, component.ErrRejected) {
		return nil
	}
	_, oldErr := s.Prober.VerifyClient(ctx, i.Certificate, store.Material{Chain: old.Chain, Key: old.Key})
	if oldErr != nil {
		return nil // the server rejects the old one as well
	}
	return fmt.Errorf("%s: %s rejects the %s certificate and accepts the %s one: %w", i.Certificate.Name, i.Certificate.Client.Address, next, now, err)
}

func servicesOf(step *plan.Step) []certs.Service {
	if step == nil {
		return nil
	}
	var out []certs.Service
	for _, s := range step.Services {
		out = append(out, s.Service)
	}
	return out
}
