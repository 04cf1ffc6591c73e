package lab

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
)

// shutdownLimit is how long a node may take to shut down in an orderly way.
const shutdownLimit = 60 * time.Second

// Stop switches a node off: in an orderly way, or as by a power cut. What the
// node has written stays. A node that is off is no error.
func (l *Lab) Stop(name string, kill bool) error {
	n, err := l.Node(name)
	if err != nil {
		return err
	}
	n.Stopped = true
	if err := l.save(); err != nil {
		return err
	}
	if kill {
		err = node.PullPlug(n.Supervisor, n.Leader)
	} else {
		err = node.PowerOff(n.Supervisor, n.Leader, shutdownLimit)
	}
	if err != nil {
		return fmt.Errorf("stop node %q: %w", name, err)
	}
	n.RemoveTraces()
	return nil
}

// Start switches a node on and waits until it runs containers. It does not
// wait for the cluster. A node that is on is no error.
func (l *Lab) Start(name string) error {
	n, err := l.Node(name)
	if err != nil {
		return err
	}
	if n.Leader.Alive() {
		return nil
	}
	if err := n.Group.Create(); err != nil {
		return err
	}
	if err := l.launch(n); err != nil {
		return err
	}
	if err := l.awaitBoot(n); err != nil {
		return err
	}
	return l.save()
}

// Reboot switches a node off and on.
func (l *Lab) Reboot(name string, kill bool) error {
	if err := l.Stop(name, kill); err != nil {
		return err
	}
	return l.Start(name)
}
