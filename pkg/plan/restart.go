package plan

import (
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// RestartPolicy decides whether a component whose certificate was replaced is restarted.
type RestartPolicy string

// The restart policies, as flags name them.
const (
	RestartAlways   RestartPolicy = "always"    // every service in scope, also those that re-read their files
	RestartIfNeeded RestartPolicy = "if-needed" // only components that do not re-read their files
	RestartNever    RestartPolicy = "never"     // no restarts; components that still serve the old one are reported
)

// RestartPolicies are all of them, as flags name them.
func RestartPolicies() []string {
	return []string{string(RestartAlways), string(RestartIfNeeded), string(RestartNever)}
}

// APIName is the policy as objects and events of the API name it, in CamelCase as the
// conventions of the Kubernetes API have it: Always, IfNeeded or Never. Empty: there is none.
func (p RestartPolicy) APIName() string {
	switch p {
	case RestartAlways:
		return "Always"
	case RestartIfNeeded:
		return "IfNeeded"
	case RestartNever:
		return "Never"
	}
	return ""
}

// ParseRestartPolicy reads a policy as a flag ("if-needed") or the API ("IfNeeded") names it.
func ParseRestartPolicy(name string) (RestartPolicy, error) {
	for _, known := range RestartPolicies() {
		if p := RestartPolicy(known); name == known || name == p.APIName() {
			return p, nil
		}
	}
	return "", hint.AddTo(fmt.Errorf("unknown restart policy %q", name), "want one of: %s", strings.Join(RestartPolicies(), ", "))
}
