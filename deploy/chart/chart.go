// Package chart is the Helm chart, whose parts the plugin installs, too.
package chart

import "embed"

// FS holds the CustomResourceDefinitions of package v1alpha1, as "make generate" writes
// them: one YAML file for each kind.
//
//go:embed crds/*.yaml
var FS embed.FS
