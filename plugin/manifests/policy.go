package manifests

import _ "embed"

// DefaultPolicy is the policy of a cluster that nobody has configured, with comments.
//
//go:embed default-policy.txt
var DefaultPolicy string
