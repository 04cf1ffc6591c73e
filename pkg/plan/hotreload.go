package plan

import (
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// HotReload returns the reason why a component need not be restarted to stop using a
// certificate, from [settings.AllSettings]: --restart=if-needed leaves it running. Empty: it
// must be restarted. Open connections keep the old certificate until they are closed.
func HotReload(c inventory.Certificate) string {
	if len(c.UsedBy) > 1 {
		return "" // shared: not every user is known to re-read it
	}
	if c.FileMount {
		return "" // its container does not see the new file
	}
	if why := settings.ReloadReason(c.Service, c.Name); why != "" {
		return why
	}
	if c.Service == certs.Admin {
		return "kubectl reads it at every call"
	}
	return ""
}

// isLoaded reports whether a component loads the certificate. Health checks of etcd read theirs
// from disk each time, and a kubelet does not use a pinned one while it has another.
func isLoaded(c inventory.Certificate) bool {
	return !c.Pinned && c.Name != "etcd-healthcheck-client" || len(c.UsedBy) > 1
}
