package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// shutdownLimit is how long a node may take to shut down in an orderly way: somewhat more than the
// 90 s that systemd gives a unit to stop. An API server that is a unit waits 60 s for watches
// to end, and those of pods on its node last as long as the node.
const shutdownLimit = 2 * time.Minute

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
	return n.switchOff(kill)
}

func (n *Node) switchOff(kill bool) error {
	if !kill {
		running, err := n.ShutDown(n.Supervisor, n.Leader, shutdownLimit)
		if err != nil {
			return fmt.Errorf("stop node %q: %w", n.Name, err)
		}
		if len(running) > 0 {
			fmt.Fprintf(os.Stderr, "node %q has not shut down within %s, so its power is cut; it still runs %s; its console: %s\n",
				n.Name, shutdownLimit, strings.Join(running, ", "), n.ConsoleLog())
		}
	}
	return n.CutPower()
}

// powerOff shuts several nodes down at once.
func (l *Lab) powerOff(nodes []*Node) error {
	for _, n := range nodes {
		n.Stopped = true
	}
	if err := l.save(); err != nil {
		return err
	}
	return each(nodes, func(n *Node) error { return n.switchOff(false) })
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
	// Of those that booted, the first process is recorded, whatever became of the others.
	return errors.Join(each(nodes, l.awaitBoot), l.save())
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
