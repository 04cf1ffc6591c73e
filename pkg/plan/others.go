package plan

import (
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// addOthers adds the static pods and units to restart that read a file which the step
// replaces and are no components. What they load at their start is not known to be read
// again, so if-needed restarts them too.
func (s *Step) addOthers(n *inventory.Node, policy RestartPolicy) {
	if policy == RestartNever {
		return
	}
	for _, t := range s.Targets {
		for _, c := range n.Certificates {
			if c.ID() != t.ID {
				continue
			}
			for _, u := range c.OtherUsers {
				if s.canRestart(n, u) && !slices.Contains(s.OtherRestarts, u) {
					s.OtherRestarts = append(s.OtherRestarts, u)
				}
			}
		}
	}
}

// canRestart says whether the node has what a restart needs, and asks for its socket.
func (s *Step) canRestart(n *inventory.Node, u inventory.OtherUser) bool {
	switch {
	case !u.Restartable:
		return false
	case u.Kind == inventory.OtherStaticPod && n.CRISocket != "":
		s.CRISocket = n.CRISocket
		return true
	case u.Kind == inventory.OtherUnit && n.DBusSocket != "":
		s.DBusSocket = n.DBusSocket
		return true
	}
	return false
}

// RestartsOther says whether the step restarts another user of a file.
func (s *Step) RestartsOther(u inventory.OtherUser) bool { return slices.Contains(s.OtherRestarts, u) }
