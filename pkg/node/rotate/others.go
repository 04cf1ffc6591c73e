package rotate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// otherComponent is another user of a file as the Restarter knows components. Its name
// stands where a component has its service, also in the journal.
func otherComponent(u inventory.OtherUser) inventory.Component {
	c := inventory.Component{Service: certs.Service(u.Name), GraceSeconds: u.GraceSeconds}
	switch u.Kind {
	case inventory.OtherStaticPod:
		c.Runtime, c.Manifest = inventory.StaticPod, u.Manifest
		c.ContainerName, c.PodName, c.PodNamespace = u.ContainerName, u.PodName, u.PodNamespace
	case inventory.OtherUnit:
		c.Runtime, c.Unit = inventory.Systemd, u.Unit
	case inventory.OtherHardLink:
		c.Runtime = inventory.None
	}
	return c
}

// sortOthers sets those apart that do not run: nobody waits for their next start. Those that
// run, and that their supervisor has had to start again and again, are noted.
func (s *session) sortOthers(ctx context.Context, t *transaction) error {
	all := t.Others
	t.Others, t.Stopped, t.Failing = nil, nil, nil
	for _, u := range all {
		now, err := s.Restarter.Current(ctx, otherComponent(u))
		switch {
		case err != nil:
			return err
		case now.Running:
			t.Others = append(t.Others, u)
			if now.Failing {
				t.Failing = append(t.Failing, u)
			}
		default:
			t.Stopped = append(t.Stopped, u)
		}
	}
	return nil
}

// restartOthers restarts the static pods and units that read replaced files and are no
// components, after all components. One that failed or did not run before the commit is only
// stopped: it need not be better than it was, so nothing is undone because of it.
func (c *committing) restartOthers(ctx context.Context, others []inventory.OtherUser) error {
	why := ""
	if c.undoing {
		why = "back to the old certificates"
	}
	var begun []*restarting
	for _, u := range others {
		r, err := c.stop(ctx, otherComponent(u), why)
		var unrecorded *journalError
		if !c.ranWell(u) && !errors.As(err, &unrecorded) {
			continue
		}
		if r != nil {
			begun = append(begun, r)
		}
		if err != nil {
			return err
		}
	}
	return c.awaitAll(ctx, begun)
}

// ranWell says whether another user of a file has to run again after its restart.
func (c *committing) ranWell(u inventory.OtherUser) bool {
	return !slices.Contains(c.t.Failing, u) && !slices.Contains(c.t.Stopped, u)
}

// affectedOthers are those that may have read new files: we began to restart them, or they
// have started since the commit began.
func (c *committing) affectedOthers(ctx context.Context) []inventory.OtherUser {
	var out []inventory.OtherUser
	for _, u := range slices.Concat(c.t.Others, c.t.Stopped) {
		target := otherComponent(u)
		now, err := c.Restarter.Current(ctx, target)
		if slices.Contains(c.restarted, target.Service) || err == nil && now.StartedAt.After(c.t.Began) {
			out = append(out, u)
		}
	}
	return out
}

// recordOtherUsers records for a certificate what was restarted of its other users, and which
// of them keep the old one.
func (c *committing) recordOtherUsers(i item) error {
	var again, old, failing []string
	for _, u := range i.Certificate.OtherUsers {
		switch {
		case slices.Contains(c.t.Failing, u):
			failing = append(failing, u.Name)
		case slices.Contains(c.t.Others, u):
			again = append(again, u.Name)
		case slices.Contains(c.t.Stopped, u): // nothing to say: it uses neither
		case u.Kind == inventory.OtherHardLink:
			old = append(old, "the hard link "+u.Name)
		default:
			old = append(old, u.Name)
		}
	}
	if len(again) > 0 {
		detail := strings.Join(again, ", ") + ": running, on what was read at a start after the files were replaced"
		if err := c.verified(i, nodeapi.Evidence{Method: nodeapi.Health, Detail: detail}); err != nil {
			return err
		}
	}
	if len(failing) > 0 {
		detail := strings.Join(failing, ", ") + ": failed before the commit as well; stopped, so that it reads the new files at its next start"
		if err := c.verified(i, nodeapi.Evidence{Method: nodeapi.FileOnly, Detail: detail}); err != nil {
			return err
		}
	}
	if len(old) == 0 {
		return nil
	}
	return c.verified(i, nodeapi.Evidence{Method: nodeapi.FileOnly,
		Detail: strings.Join(old, ", ") + ": keeps the old certificate until it is restarted or replaced"})
}
