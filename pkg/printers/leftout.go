package printers

import (
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// PrintLeftOut lists the certificates in scope that are not renewed, those of one name and
// reason in one line for all nodes, with the expiry of the first of them. rollbackOf is set where
// they are not put back.
func PrintLeftOut(w io.Writer, items []v1alpha1.LeftOut, rollbackOf string) {
	if len(items) == 0 {
		return
	}
	type kind struct{ name, path, reason string }
	var order []kind
	nodes := map[kind][]string{}
	expires := map[kind]time.Time{}
	for _, l := range items {
		k := kind{l.Name, l.Path, l.Reason}
		if nodes[k] == nil {
			order = append(order, k)
		}
		nodes[k] = append(nodes[k], l.Node)
		if end := l.NotAfter.Time; !end.IsZero() && (expires[k].IsZero() || end.Before(expires[k])) {
			expires[k] = end
		}
	}
	heading := "\nLeft out, since it cannot be renewed"
	if rollbackOf != "" {
		heading = "\nLeft out, since it cannot be put back"
	}
	fmt.Fprintln(w, heading)
	for _, k := range order {
		end := ""
		if at := expires[k]; !at.IsZero() {
			end = ", expires " + UTCMinute(at)
		}
		fmt.Fprintf(w, "  %s  %s %s%s: %s\n", SomeNames(nodes[k]), CleanText(k.name), CleanText(k.path), end, CleanText(k.reason))
	}
}

// NotDone summarizes the items that a rotation left out or did not inspect; empty where that
// is nothing.
func NotDone(r *v1alpha1.RotationReport) string {
	text := ""
	if n := len(r.LeftOut); n > 0 {
		text = fmt.Sprintf("%s left out", wasWere(n, "certificate"))
	}
	if n := countGaps(r.NotInspected); n > 0 {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s not inspected", wasWere(n, "item"))
	}
	return text
}

// LeftOutItems lists what a plan leaves out as documents show it; never nil.
func LeftOutItems(items []plan.LeftOut) []v1alpha1.LeftOut {
	out := make([]v1alpha1.LeftOut, 0, len(items))
	for _, l := range items {
		out = append(out, v1alpha1.LeftOut{
			Node: l.Node, Service: l.Service, Name: l.Name, Path: l.Path, User: l.User, NotAfter: metav1.NewTime(l.NotAfter), Reason: l.Reason})
	}
	return out
}
