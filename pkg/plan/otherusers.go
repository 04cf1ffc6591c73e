package plan

import (
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// addOthers adds the static pods, units and Docker containers to restart that read a replaced file and are no
// components. It is not known whether they re-read their files, so if-needed restarts them as
// well.
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

// canRestart reports whether the node has the socket that a restart needs, and adds it to the
// step.
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
	case u.Kind == inventory.OtherContainer && n.DockerSocket != "":
		s.DockerSocket = n.DockerSocket
		return true
	}
	return false
}

// RestartsOther reports whether the step restarts another user of a file.
func (s *Step) RestartsOther(u inventory.OtherUser) bool { return slices.Contains(s.OtherRestarts, u) }
