package plugin

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// otherUse is a static pod, unit or Docker container that reads replaced files and is no component.
type otherUse struct {
	user  inventory.OtherUser
	again bool // the rotation restarts it
	nodes []string
	files []string
}

// mayUse is the kind of a static pod or container that mounts a directory and names none of its files.
const mayUse inventory.OtherUserKind = "MayUse"

// otherUses collects the other users of the files that a plan replaces.
func otherUses(p plan.Plan, nodes []inventory.Node) []*otherUse {
	var out []*otherUse
	for _, s := range p.AllSteps() {
		for _, n := range nodes {
			if n.Name != s.Node {
				continue
			}
			for _, c := range n.Certificates {
				if !slices.ContainsFunc(s.Targets, func(t plan.Target) bool { return t.ID == c.ID() }) {
					continue
				}
				for _, name := range c.MayUse {
					out = noteUse(out, inventory.OtherUser{Kind: mayUse, Name: name}, false, s.Node, path.Dir(c.Store.Cert))
				}
				for _, u := range c.OtherUsers {
					out = noteUse(out, u, s.RestartsOther(u), s.Node, c.Store.Cert)
				}
			}
		}
	}
	return out
}

func noteUse(all []*otherUse, u inventory.OtherUser, again bool, node, file string) []*otherUse {
	i := slices.IndexFunc(all, func(o *otherUse) bool { return o.user.Kind == u.Kind && o.user.Name == u.Name && o.again == again })
	if i < 0 {
		i = len(all)
		all = append(all, &otherUse{user: u, again: again})
	}
	for to, value := range map[*[]string]string{&all[i].nodes: node, &all[i].files: file} {
		if !slices.Contains(*to, value) {
			*to = append(*to, value)
		}
	}
	return all
}

// restartedOthers lists static pods, units and Docker containers that restart besides the components.
func restartedOthers(uses []*otherUse) (out []string) {
	for _, o := range uses {
		if o.again {
			out = append(out, fmt.Sprintf("Also restarts %s on %s, which uses %s.", o.user.Name, printers.SomeNames(o.nodes), strings.Join(o.files, ", ")))
		}
	}
	return out
}

// keptOthers lists the users of an old certificate, and the next step for each.
func keptOthers(uses []*otherUse) (out []string) {
	for _, o := range uses {
		files := strings.Join(o.files, ", ")
		switch {
		case o.again:
		case o.user.Kind == mayUse:
			out = append(out, fmt.Sprintf("%s on %s mounts %s and may use the replaced files: restart it by hand if it does.", o.user.Name, printers.SomeNames(o.nodes), files))
		case o.user.Kind == inventory.OtherHardLink:
			out = append(out, fmt.Sprintf("%s on %s is a hard link to %s and keeps the old certificate: replace it by hand.", o.user.Name, printers.SomeNames(o.nodes), files))
		default:
			out = append(out, fmt.Sprintf("%s on %s uses %s and is not restarted: restart it by hand, it keeps the old certificate until then.", o.user.Name, printers.SomeNames(o.nodes), files))
		}
	}
	return out
}
