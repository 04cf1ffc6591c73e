// Package crds holds the CustomResourceDefinitions of package v1alpha1, as "make
// generate" writes them.
package crds

import "embed"

// FS holds one YAML file for each kind.
//
//go:embed *.yaml
var FS embed.FS
