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

// otherComponent describes another user of a file as a component, for the Restarter. Its name
// takes the place of a service, in the journal as well.
func otherComponent(u inventory.OtherUser) inventory.Component {
	c := inventory.Component{Service: certs.Service(u.Name), GraceSeconds: u.GraceSeconds}
	switch u.Kind {
	case inventory.OtherStaticPod:
		c.Runtime = inventory.StaticPod
		c.Manifest = u.Manifest
		c.ContainerName = u.ContainerName
		c.PodName = u.PodName
		c.PodNamespace = u.PodNamespace
	case inventory.OtherUnit:
		c.Runtime = inventory.Systemd
		c.Unit = u.Unit
	case inventory.OtherContainer:
		c.Runtime = inventory.Docker
		c.ContainerID = u.ContainerID
		c.ContainerName = u.ContainerName
	case inventory.OtherHardLink:
		c.Runtime = inventory.None
	}
	return c
}

// sortOthers moves the users that do not run to t.Stopped: their next start is not awaited.
// Those that run, but that their supervisor had to restart repeatedly, are noted in t.Failing.
func (s *session) sortOthers(ctx context.Context, t *transaction) error {
	all := t.Others
	t.Others = nil
	t.Stopped = nil
	t.Failing = nil
	for _, u := range all {
		now, err := s.Restarter.CurrentInstance(ctx, otherComponent(u))
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

// restartOthers restarts the static pods, units and Docker containers that read replaced files
// and are no components, after all components. One that failed or did not run before the commit
// is only stopped: it need not be better than it was, so nothing is undone because of it.
func (c *committing) restartOthers(ctx context.Context, others []inventory.OtherUser) error {
	why := ""
	if c.undoing {
		why = "back to the old certificates"
	}
	var begun []*restarting
	for _, u := range others {
		r, err := c.stopComponent(ctx, otherComponent(u), why)
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

// ranWell reports whether another user of a file has to run again after its restart.
func (c *committing) ranWell(u inventory.OtherUser) bool {
	return !slices.Contains(c.t.Failing, u) && !slices.Contains(c.t.Stopped, u)
}

// affectedOthers returns the other users that may have read new files: their restart was begun,
// or they have started since the commit began.
func (c *committing) affectedOthers(ctx context.Context) []inventory.OtherUser {
	var out []inventory.OtherUser
	for _, u := range slices.Concat(c.t.Others, c.t.Stopped) {
		target := otherComponent(u)
		now, err := c.Restarter.CurrentInstance(ctx, target)
		if slices.Contains(c.restarted, target.Service) || err == nil && now.StartedAt.After(c.t.Began) {
			out = append(out, u)
		}
	}
	return out
}

// recordOtherUsers records which other users of a certificate were restarted, and which of them
// keep the old one.
func (c *committing) recordOtherUsers(i item) error {
	var again, old, failing []string
	for _, u := range i.Certificate.OtherUsers {
		switch {
		case slices.Contains(c.t.Failing, u):
			failing = append(failing, u.Name)
		case slices.Contains(c.t.Others, u):
			again = append(again, u.Name)
		case slices.Contains(c.t.Stopped, u): // not running: it uses neither certificate
		case u.Kind == inventory.OtherHardLink:
			old = append(old, "the hard link "+u.Name)
		default:
			old = append(old, u.Name)
		}
	}
	if len(again) > 0 {
		detail := strings.Join(again, ", ") + ": running, on what was read at a start after the files were replaced"
		if err := c.recordVerified(i, nodeapi.Evidence{Method: nodeapi.Health, Detail: detail}); err != nil {
			return err
		}
	}
	if len(failing) > 0 {
		detail := strings.Join(failing, ", ") + ": failed before the commit as well; stopped, so that it reads the new files at its next start"
		if err := c.recordVerified(i, nodeapi.Evidence{Method: nodeapi.FileOnly, Detail: detail}); err != nil {
			return err
		}
	}
	if len(old) == 0 {
		return nil
	}
	return c.recordVerified(i, nodeapi.Evidence{Method: nodeapi.FileOnly,
		Detail: strings.Join(old, ", ") + ": keeps the old certificate until it is restarted or replaced"})
}
