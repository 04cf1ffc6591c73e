package plan

import (
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// HotReload says why a component need not be restarted to let go of a certificate, as
// [settings.All] has it, so that --restart=if-needed can leave it running; empty: it must
// be. Open connections keep the old certificate until they are closed.
func HotReload(c inventory.Certificate) string {
	if len(c.UsedBy) > 1 {
		return "" // shared: not every user is known to re-read it
	}
	if c.FileMount {
		return "" // there is nothing new to be read in its container
	}
	if why := settings.Reloads(c.Service, c.Name); why != "" {
		return why
	}
	if c.Service == certs.Admin {
		return "kubectl reads it at every call"
	}
	return ""
}

// loaded says whether a component loads the certificate. Health checks of etcd read theirs
// from disk each time, and a kubelet leaves a pinned one alone while it has another.
func loaded(c inventory.Certificate) bool {
	return !c.Pinned && c.Name != "etcd-healthcheck-client" || len(c.UsedBy) > 1
}
