package lab

import (
	"fmt"
	"os"
)

// Load imports a docker or OCI archive into the container runtime of every
// node that is on, and returns how many these are.
func (l *Lab) Load(archive string) (nodes int, err error) {
	for _, n := range l.Nodes {
		if n.Leader.Alive() {
			nodes++
		}
	}
	return nodes, l.eachNode(func(n *Node) error {
		if !n.Leader.Alive() {
			return nil
		}
		file, err := os.Open(archive)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := l.onNode(n, file, "ctr", "--namespace", "k8s.io", "images", "import", "-"); err != nil {
			return fmt.Errorf("load %q: %w", archive, err)
		}
		return nil
	})
}
