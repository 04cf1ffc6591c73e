// Package chart is the Helm chart, which the plugin installs, too.
package chart

import "embed"

// FS holds the templates, and in crds the CustomResourceDefinitions, as "make generate"
// writes them.
//
//go:embed crds/*.yaml templates/*.tpl templates/*.yaml
var FS embed.FS

// Values are the defaults of all settings.
//
//go:embed values.yaml
var Values []byte
