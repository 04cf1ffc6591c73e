package architecture

import (
	"strings"
	"testing"
)

// The plugin runs on people's own machines, Windows among them, and reads no node's
// files itself: what reads and changes a node is not linked into it.
func TestPluginHasNothingOfTheNode(t *testing.T) {
	const module = "github.com/rotate-certs/rotate-certs/"
	noteSources(t)
	imports := map[string][]string{}
	for _, p := range listPackages(t) {
		imports[p.ImportPath] = p.Imports
	}
	by := map[string]string{module + "cmd/kubectl-rotate_certs": ""}
	for queue := []string{module + "cmd/kubectl-rotate_certs"}; len(queue) > 0; queue = queue[1:] {
		for _, imported := range imports[queue[0]] {
			if _, seen := by[imported]; !seen {
				by[imported] = queue[0]
				queue = append(queue, imported)
			}
		}
	}
	for name, from := range by {
		if strings.HasPrefix(name, module+"pkg/node/") {
			t.Errorf("%s is linked into the plugin, through %s", strings.TrimPrefix(name, module), strings.TrimPrefix(from, module))
		}
	}
	if len(by) < 100 {
		t.Fatalf("the plugin has %d packages: something is wrong with this test", len(by))
	}
}
