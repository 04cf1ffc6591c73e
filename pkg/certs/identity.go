package certs

import (
	"fmt"
	"slices"
	"strings"
)

// nodeUserPrefix begins the user name of a kubelet at the API server.
const nodeUserPrefix = "system:node:"

// administrators are the groups with all rights in a cluster that kubeadm made.
var administrators = []string{"system:masters", "kubeadm:cluster-admins"}

// controlPlaneUsers are identities of the control plane that can make themselves administrators: by
// ServiceAccount tokens, by pods, or as another user.
var controlPlaneUsers = []string{"system:kube-controller-manager", "system:kube-scheduler", "front-proxy-client"}

// CheckIdentity refuses a subject (RFC 2253 form, as Go prints it) that no other node may sign
// for a node: the identity of another kubelet and, unless it is a
// control-plane node, that of an administrator or of the control plane. A node that is compromised could hold an
// expired certificate of such a subject.
func CheckIdentity(subject, node string, controlPlane bool) error {
	if of, is := strings.CutPrefix(CommonName(subject), nodeUserPrefix); is && of != node {
		return fmt.Errorf("its subject %q is that of the kubelet of node %q: only a CA on the node itself signs it", subject, of)
	}
	if controlPlane {
		return nil
	}
	if name := CommonName(subject); slices.Contains(controlPlaneUsers, name) {
		return fmt.Errorf("its subject %q is that of the control plane: only a CA on the node itself signs it, unless the node has the label of a control-plane node", name)
	}
	for _, part := range strings.FieldsFunc(subject, func(r rune) bool { return r == ',' || r == '+' }) {
		if group, is := strings.CutPrefix(part, "O="); is && slices.Contains(administrators, group) {
			return fmt.Errorf("its group %q is that of administrators: only a CA on the node itself signs it, unless the node has the label of a control-plane node", group)
		}
	}
	return nil
}
