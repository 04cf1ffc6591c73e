package lab

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/process"
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
	return n.stop(kill)
}

func (n *Node) stop(kill bool) error {
	off := node.PullPlug
	if !kill {
		off = func(supervisor, leader process.ID) error { return node.PowerOff(supervisor, leader, shutdownLimit) }
	}
	if err := off(n.Supervisor, n.Leader); err != nil {
		return fmt.Errorf("stop node %q: %w", n.Name, err)
	}
	n.RemoveTraces()
	// A machine that boots has no control groups of before. A kubelet spends seconds on each
	// one without a container before it starts its pods.
	return n.Group.Remove()
}

// powerOff shuts several nodes down at once.
func (l *Lab) powerOff(nodes []*Node) error {
	for _, n := range nodes {
		n.Stopped = true
	}
	if err := l.save(); err != nil {
		return err
	}
	return each(nodes, func(n *Node) error { return n.stop(false) })
}

// powerOn starts several nodes that are off, at once.
func (l *Lab) powerOn(nodes []*Node) error {
	for _, n := range nodes {
		if err := n.Group.Create(); err != nil {
			return err
		}
		if err := l.launch(n); err != nil {
			return err
		}
	}
	if err := each(nodes, l.awaitBoot); err != nil {
		return err
	}
	return l.save()
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
	return l.powerOn([]*Node{n})
}

// Reboot switches a node off and on.
func (l *Lab) Reboot(name string, kill bool) error {
	if err := l.Stop(name, kill); err != nil {
		return err
	}
	return l.Start(name)
}
