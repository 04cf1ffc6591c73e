package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Unsettled returns the nodes on which, by the scan of Connect, a rotation was interrupted or is in
// progress.
func (h *Hosts) Unsettled() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for name, n := range h.found {
		if isUnsettled(n) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// isUnsettled reports whether a commit has no answer on a node, or was not verified.
func isUnsettled(n inventory.Node) bool {
	return slices.ContainsFunc(n.Rotations, func(r inventory.NodeRotation) bool { return r.State == inventory.Committing || r.Unverified })
}

// SettleInterrupted has every host complete or undo what an interrupted rotation left there, all at
// the same time: etcd members become healthy only together. It reports whether there was any. Where
// the outcome cannot be verified, the error is an [*UnverifiedError].
func (h *Hosts) SettleInterrupted(ctx context.Context) (bool, error) {
	ended, err := h.Close(ctx, "")
	if err != nil {
		return false, err
	}
	if ended > 0 {
		h.forgetScans()
	}
	nodes, missing, err := h.Scan(ctx, h.names())
	if err != nil {
		return false, err
	}
	if len(missing) > 0 {
		return false, fmt.Errorf("scan the hosts again: %s", missing[0])
	}
	var open []*host
	for _, n := range nodes {
		if isUnsettled(n) {
			open = append(open, h.hostOf(n.Name))
			continue
		}
		h.keepScan(n)
	}
	unverified := make([]string, len(open))
	err = eachOf(open, func(i int, host *host) error {
		text, err := host.settle(ctx)
		unverified[i] = text
		return err
	})
	if texts := slices.DeleteFunc(unverified, func(s string) bool { return s == "" }); err == nil && len(texts) > 0 {
		err = &UnverifiedError{texts}
	}
	return ended > 0 || len(open) > 0, err
}

// settle runs the node program's own recovery. unverified is the reason why its outcome could not
// be verified.
func (h *host) settle(ctx context.Context) (unverified string, err error) {
	var out, said bytes.Buffer
	err = h.Run(ctx, session.Command{Args: []string{"recover", "--output=json"}, Stdout: &limited{&out}, Stderr: &limited{&said}})
	var exit *session.ExitError
	if !errors.As(err, &exit) {
		return "", err
	}
	failed := &session.CommandError{Node: h.address, Verb: "recover", Code: exit.Code, Said: hint.LastError(said.String())}
	if exit.Code == exitcode.ManualInterventionRequired {
		return hint.TextOf(failed), nil
	}
	return "", failed
}

// UnverifiedError means that what was completed or undone on hosts could not be verified.
type UnverifiedError struct{ Texts []string }

func (e *UnverifiedError) Error() string { return strings.Join(e.Texts, "\n") }

// Unwrap returns [fleet.ErrManualInterventionRequired].
func (e *UnverifiedError) Unwrap() error { return fleet.ErrManualInterventionRequired }
