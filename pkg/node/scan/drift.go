package scan

import (
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// The widest modes that the CIS Kubernetes Benchmark allows: 1.1.20 for certificates, 1.1.21
// for keys, 1.1.13 to 1.1.18 for kubeconfigs, which hold keys as well.
const (
	secretMode      fs.FileMode = 0o600
	certificateMode fs.FileMode = 0o644
)

// findDrift reports files whose mode or owner differs from the CIS benchmark. A rotation keeps
// both as they are.
func findDrift(root hostfs.Root, node *inventory.Node, entries []entry) []inventory.Finding {
	d := &drifting{root: root, seen: map[string]bool{}}
	for i := range entries {
		e := &entries[i]
		d.service = e.Service
		switch e.Store.Kind {
		case inventory.Pair:
			d.inspectFile(e.Store.Cert, certificateMode, "1.1.20")
			d.inspectFile(e.Store.Key, secretMode, "1.1.21")
		case inventory.Combined:
			d.inspectFile(e.Store.Cert, secretMode, "1.1.21")
		case inventory.Kubeconfig:
			d.inspectFile(e.Store.Cert, secretMode, "1.1.13-18")
		}
	}
	d.service = ""
	for _, a := range node.Authorities {
		for _, p := range a.Paths {
			if p != a.KeyOn && path.Ext(p) != ".conf" { // kubeconfigs embed their CA, and are inspected above
				d.inspectFile(p, certificateMode, "1.1.20")
			}
		}
		d.inspectFile(a.KeyOn, secretMode, "1.1.21")
	}
	return d.found
}

// drifting collects findings, each file once.
type drifting struct {
	root    hostfs.Root
	service certs.Service
	seen    map[string]bool
	found   []inventory.Finding
}

func (d *drifting) inspectFile(file string, most fs.FileMode, rule string) {
	if file == "" || d.seen[file] {
		return
	}
	d.seen[file] = true
	info, err := d.root.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return // that is a certificate's status
	}
	if mode := info.Mode().Perm(); mode&^most != 0 {
		d.addFinding(inventory.FileMode, file, fmt.Sprintf("mode %04o, CIS %s wants at most %04o", mode, rule, most))
	}
	// Users own their kubeconfigs.
	if owner, known := info.Sys().(*syscall.Stat_t); known && d.service != certs.Admin && (owner.Uid != 0 || owner.Gid != 0) {
		d.addFinding(inventory.FileOwner, file, fmt.Sprintf("owned by %d:%d, CIS 1.1.19 wants root:root", owner.Uid, owner.Gid))
	}
}

func (d *drifting) addFinding(kind inventory.FindingKind, file, text string) {
	d.found = append(d.found, inventory.Finding{Kind: kind, Service: d.service, Path: file, Text: text})
}
