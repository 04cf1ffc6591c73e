package scan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// maxUnused limits the unused certificates of a node that are listed.
const maxUnused = 512

// readUnclaimed reads the kubeconfigs that no component uses. One with the name and the user of
// a component that was not found on this control-plane node is listed as not inspected:
// discovery has probably missed the component.
func readUnclaimed(root hostfs.Root, found *layout.Layout) {
	node := &found.Node
	for _, x := range found.Unclaimed {
		u := inventory.UnusedCertificate{Kind: x.Kind, Path: x.Path, User: x.User, Reason: x.Reason}
		var user string
		if x.Store.Cert != "" {
			content, err := store.ReadStore(root, x.Store)
			if err == nil {
				u.Facts = certs.DescribeCertificate(content.LeafCert())
				user = content.LeafCert().Subject.CommonName
			} else {
				u.Reason = joinReasons(u.Reason, err.Error())
			}
		}
		service, ok := componentOf(path.Base(x.Path), user)
		if ok && isMoved(node, service) {
			node.NotInspected = append(node.NotInspected, inventory.NotInspected{Service: service, Path: x.Path, Reason: fmt.Sprintf(
				"holds a certificate of %q, which only control-plane nodes have, and no part of a control plane was found on this node: "+
					"if it is one, move its manifests back to where the kubelet starts static pods; otherwise remove this file", user)})
			continue
		}
		if ok && isLost(node, service) {
			node.NotInspected = append(node.NotInspected, inventory.NotInspected{
				Informational: true, Path: x.Path, Reason: fmt.Sprintf("holds a certificate of %q, but no component found on this node uses it", user)})
			continue
		}
		node.Unused = append(node.Unused, u)
	}
}

// isMoved reports whether a component of the control plane was probably stopped by a person, who
// moved all manifests of static pods to a place that is not searched: nothing but its kubeconfig
// shows that it was here.
func isMoved(node *inventory.Node, s certs.Service) bool {
	noted := slices.ContainsFunc(node.NotInspected, func(x inventory.NotInspected) bool { return x.Service == s && !x.Informational })
	return s != certs.Kubelet && node.ComponentOf(certs.Kubelet) != nil && !node.ControlPlane() && !noted
}

// isLost reports whether a component should be on a node and was not found, or only its
// process.
func isLost(node *inventory.Node, s certs.Service) bool {
	c := node.ComponentOf(s)
	return node.ControlPlane() && (c == nil || c.Runtime == inventory.None)
}

// componentOf returns the component of a kubeconfig, by kubeadm's file name and by user.
func componentOf(name, user string) (certs.Service, bool) {
	switch {
	case name == "scheduler.conf" && user == "system:kube-scheduler":
		return certs.KubeScheduler, true
	case name == "controller-manager.conf" && user == "system:kube-controller-manager":
		return certs.KubeControllerManager, true
	case name == "kubelet.conf" && strings.HasPrefix(user, "system:node:"):
		return certs.Kubelet, true
	}
	return "", false
}

// unusedPair lists a pair that no component names.
func unusedPair(l leafFile, known map[string]bool) inventory.UnusedCertificate {
	file := l.store.Cert
	u := inventory.UnusedCertificate{Facts: certs.DescribeCertificate(l.content.LeafCert()), Path: file, Kind: inventory.UnusedFile, Reason: "no component names it"}
	original, backup := layout.BackupOf(path.Base(file))
	switch {
	case backup:
		u.Kind = inventory.UnusedBackup
		u.Reason = "its name is that of a backup of " + original
	case l.below && known[path.Base(file)]:
		u.Kind = inventory.UnusedBackup
		u.Reason = "a copy in a subdirectory"
	}
	return u
}

// usedNames returns the base names of the files that components use.
func usedNames(found *layout.Layout) map[string]bool {
	out := map[string]bool{}
	for _, c := range found.Node.Certificates {
		out[path.Base(c.Store.Cert)] = true
	}
	return out
}

// sortUnused sorts the unused certificates by path, and limits their number.
func sortUnused(node *inventory.Node) {
	slices.SortStableFunc(node.Unused, func(a, b inventory.UnusedCertificate) int { return strings.Compare(a.Path, b.Path) })
	if more := len(node.Unused) - maxUnused; more > 0 {
		node.Unused = node.Unused[:maxUnused]
		node.NotInspected = append(node.NotInspected, inventory.NotInspected{Reason: fmt.Sprintf("%d more unused certificates are not listed", more)})
	}
}
