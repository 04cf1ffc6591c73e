package lab

import (
	"fmt"
	"os"
	"strings"
)

// Load imports a docker or OCI archive into the container runtime of every
// node that is on, and returns the names that the images have there.
func (l *Lab) Load(archive string) ([]string, error) {
	var names []string
	err := l.eachNode(func(n *Node) error {
		if n.Stopped {
			return nil
		}
		file, err := os.Open(archive)
		if err != nil {
			return err
		}
		defer file.Close()
		out, err := l.onNode(n, file, "ctr", "--namespace", "k8s.io", "images", "import", "-")
		if err != nil {
			return fmt.Errorf("load %q: %w", archive, err)
		}
		if n.Name == l.Nodes[0].Name {
			names = strings.Split(strings.TrimSpace(out), "\n")
		}
		return nil
	})
	return names, err
}
