package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// signers are the sessions with nodes that only sign.
type signers struct {
	opening sync.Mutex         // held while one is opened
	byNode  map[string]*worker // guarded by the run's lock
}

// issueCertificate has a request signed and hands the certificate, or why there is none, to the
// node.
func (r *run) issueCertificate(ctx context.Context, w *worker, csr nodeapi.CSR) error {
	order := r.newOrder(nodeapi.OrderIssued, w)
	order.Issued = &nodeapi.Issued{TargetID: csr.TargetID}
	pem, by, err := r.haveSigned(ctx, w, csr)
	if err != nil {
		order.Issued.Error = hint.TextOf(err)
	}
	order.Issued.PEM = string(pem)
	order.Issued.SignedBy = by
	return w.session.Order(ctx, order)
}

// haveSigned has a request signed by a node that has the CA's key or, where it names a signer of
// the certificates API and no such node does it, in the name of the administrator.
func (r *run) haveSigned(ctx context.Context, w *worker, csr nodeapi.CSR) (pem []byte, by string, err error) {
	var elsewhere error
	if csr.Authority != "" {
		pem, by, elsewhere = r.signOnNodes(ctx, w, csr)
		if elsewhere == nil || csr.Signer == "" {
			return pem, by, elsewhere
		}
	}
	pem, err = r.cluster.Signers.Issue(ctx, w.step.Node, csr)
	if err != nil && elsewhere != nil {
		err = fmt.Errorf("%w; nor did a node with the CA's key: %w", err, elsewhere)
	}
	return pem, "", err
}

// signOnNodes has a request signed by the first node with the CA's key that does it. The
// request must be for a target of the node that asks: one asking node, one identity.
func (r *run) signOnNodes(ctx context.Context, w *worker, csr nodeapi.CSR) (pem []byte, by string, err error) {
	target, err := requestedTarget(w.step, csr)
	if err != nil {
		return nil, "", fmt.Errorf("refuse the request of node %q: %w", w.step.Node, err)
	}
	request := nodeapi.SignRequest{Node: w.step.Node, CSR: csr, KeepKey: target.KeptKey != "", ValiditySeconds: int64(r.Request.Validity / time.Second)}
	if asking := r.inventoryOf(w.step.Node); asking != nil {
		request.ControlPlane = asking.Known.ControlPlane
	}
	mayOpen := target.Issuer == string(inventory.OtherNode) || r.Request.Recover
	var failures []string
	for _, node := range r.nodesToSign(csr.Authority) {
		if pem, err = r.signOn(ctx, node, request, mayOpen); err == nil {
			return pem, node, nil
		}
		failures = append(failures, fmt.Sprintf("%s: %s", node, hint.TextOf(err)))
	}
	if len(failures) == 0 {
		return nil, "", errors.New("no scanned node has the key of its CA")
	}
	return nil, "", errors.New(strings.Join(failures, "; "))
}

// requestedTarget is the target of a step that a request is for. A node must not have another
// node's certificate renewed, nor one that the plan does not list.
func requestedTarget(s plan.Step, csr nodeapi.CSR) (plan.Target, error) {
	target := targetOf(s, csr.TargetID)
	if target.ID == "" {
		return target, fmt.Errorf("%q is no target of its step", csr.TargetID)
	}
	if target.Issuer != string(inventory.OtherNode) && target.Issuer != string(inventory.KubernetesCSR) {
		return target, fmt.Errorf("%q is not planned to be signed elsewhere", csr.TargetID)
	}
	chain, err := certs.ParsePEM([]byte(csr.Chain))
	if err != nil {
		return target, fmt.Errorf("read its old certificate: %w", err)
	}
	if certs.Fingerprint(chain[0]) != target.OldFingerprint {
		return target, fmt.Errorf("its certificate %q is not the one that was scanned as %q", chain[0].Subject, csr.TargetID)
	}
	return target, nil
}

// nodesToSign returns the nodes that say that they have the key of a CA: those with the label of a
// control-plane node first, and of these the ones with an open session.
func (r *run) nodesToSign(authority string) []string {
	r.Lock()
	defer r.Unlock()
	nodes := plan.NodesWithKey(r.Scanned, authority)
	rank := func(node string) (n int) {
		if found := r.inventoryOf(node); found == nil || !found.Known.ControlPlane {
			n += 2
		}
		if r.open[node] == nil {
			n++
		}
		return n
	}
	slices.SortStableFunc(nodes, func(a, b string) int { return rank(a) - rank(b) })
	return nodes
}

// signOn has one node sign. A session for signing only is opened again once: its process may have
// ended.
func (r *run) signOn(ctx context.Context, node string, request nodeapi.SignRequest, mayOpen bool) ([]byte, error) {
	r.Lock()
	authority := plan.AuthorityOn(r.inventoryOf(node), request.CSR.Authority)
	r.Unlock()
	if authority == nil {
		return nil, errors.New("it has no longer the key of the CA")
	}
	request.CACert = authority.Paths[0]
	request.CAKey = authority.KeyOn
	pem, again, err := r.signOnce(ctx, node, request, mayOpen)
	if err != nil && again && ctx.Err() == nil {
		pem, _, err = r.signOnce(ctx, node, request, mayOpen)
	}
	return pem, err
}

// signOnce has one node sign through its session. again means that the session was for signing
// only, and is closed.
func (r *run) signOnce(ctx context.Context, node string, request nodeapi.SignRequest, mayOpen bool) (pem []byte, again bool, err error) {
	session, err := r.signingSession(ctx, node, mayOpen)
	if err != nil {
		return nil, false, err
	}
	// The pod of the node has started.
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if pem, err = session.Sign(limited, request); err == nil {
		return pem, false, nil
	}
	r.Lock()
	defer r.Unlock()
	if w := r.signers.byNode[node]; w == nil || w.session != session {
		return nil, false, err
	}
	delete(r.signers.byNode, node)
	delete(r.open, node)
	return nil, true, err
}

// openSessionOf returns the session with a node, or nil.
func (r *run) openSessionOf(node string) Session {
	r.Lock()
	defer r.Unlock()
	if w := r.open[node]; w != nil {
		return w.session
	}
	return nil
}

// signingSession returns the session with a node, and opens one where there is none and mayOpen
// allows it: control-plane nodes that are not rotated have none.
func (r *run) signingSession(ctx context.Context, node string, mayOpen bool) (Session, error) {
	if open := r.openSessionOf(node); open != nil {
		return open, nil
	}
	r.signers.opening.Lock()
	defer r.signers.opening.Unlock()
	switch open := r.openSessionOf(node); {
	case open != nil:
		return open, nil
	case !mayOpen:
		return nil, errors.New("it takes no part in the rotation now")
	case r.wasInterrupted(node):
		// Its process would put files back and restart components.
		return nil, errors.New("an earlier rotation of it was interrupted")
	}
	step := signingStep(node)
	r.showProgress(Progress{Node: node, Phase: PhaseStarting, Text: "starting its process, which signs for other nodes"})
	session, err := r.cluster.Nodes.Open(ctx, r.ID, step)
	if err != nil {
		return nil, fmt.Errorf("its process did not start: %w", err)
	}
	r.Lock()
	defer r.Unlock()
	w := &worker{step: step, session: session, token: r.lock.Token(), timeout: r.Timeout, limit: r.stepTimeout(step)}
	if before := r.seen[node]; before != nil {
		w.last = before.last
	}
	r.open[node] = w
	r.signers.byNode[node] = w
	return session, nil
}

// signingStep is the step of a node that only signs.
func signingStep(node string) plan.Step {
	// The pod is needed until the last worker is staged. Its process ends earlier if no order
	// comes.
	return plan.Step{Node: node, LifetimeSeconds: int64(24 * time.Hour / time.Second)}
}

// signingSteps are those of nodes that the plan needs to sign and that are not rotated.
func signingSteps(busy []plan.Step) []plan.Step {
	var out []plan.Step
	for _, s := range busy {
		for _, t := range s.Targets {
			known := func(node string) bool {
				is := func(s plan.Step) bool { return s.Node == node }
				return slices.ContainsFunc(busy, is) || slices.ContainsFunc(out, is)
			}
			if len(t.SignedBy) > 0 && !slices.ContainsFunc(t.SignedBy, known) {
				out = append(out, signingStep(t.SignedBy[0]))
			}
		}
	}
	return out
}

// signsLater returns which nodes may still have to sign for others: a process that ends while it is
// asked to sign answers nothing.
func (r *run) signsLater() func(node string) bool {
	nodes := map[string]bool{}
	for _, s := range r.planSteps() {
		for _, t := range s.Targets {
			for _, node := range t.SignedBy {
				nodes[node] = true
			}
		}
		nodes[s.Node] = nodes[s.Node] || r.Request.Recover && s.ControlPlane
	}
	return func(node string) bool { return nodes[node] }
}

// holdSigners makes the nodes that only sign those at hand, so that their processes are released
// with all others.
func (r *run) holdSigners() {
	r.Lock()
	defer r.Unlock()
	for node, w := range r.signers.byNode {
		if r.workers[node] == nil {
			r.workers[node] = w
		}
	}
	clear(r.signers.byNode)
}
