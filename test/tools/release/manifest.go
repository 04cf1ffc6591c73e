package main

import (
	_ "embed"
	"io"
	"runtime"
	"text/template"
)

//go:embed krew-manifest.yaml.tmpl
var manifestText string

var manifestTemplate = template.Must(template.New("krew-manifest").Parse(manifestText))

// manifestPlatform is a platform as the manifest's template sees it.
type manifestPlatform struct{ OS, Arch, URI, SHA256, Bin string }

// writeManifest writes the Krew manifest of a version. Its first lines say
// what its sums belong to: archives never depend on the manifest, so the commit
// that adds the manifest builds the archives that it names.
func writeManifest(path, version, commit string, archives []publishedArchive) error {
	var platforms []manifestPlatform
	for _, archive := range archives {
		platforms = append(platforms, manifestPlatform{
			OS:     archive.platform.os,
			Arch:   archive.platform.arch,
			URI:    projectURL + "/releases/download/" + version + "/" + archive.file,
			SHA256: archive.sha256,
			Bin:    archive.platform.executable(pluginProgram),
		})
	}
	return writeFile(path, func(w io.Writer) error {
		return manifestTemplate.Execute(w, map[string]any{
			"Version":   version,
			"Commit":    commit,
			"Go":        runtime.Version(),
			"Homepage":  projectURL,
			"Platforms": platforms,
		})
	})
}
