package layout

import (
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
)

// maxConfig limits the size of a configuration file that is searched for paths.
const maxConfig = 256 << 10

// noteFiles records the files that the texts of one program name, and the files that named
// configuration files name. A file is inspected once, however often it is named.
func (d *discovery) noteFiles(into map[string]bool, files resolver, texts []string) {
	seen := map[string]bool{}
	for _, text := range texts {
		names := pathsIn(text)
		if files.workDir != "" || !files.inContainer { // an image's own directory is not known
			names = append(names, relativePathsIn(text)...)
		}
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				d.noteNamed(into, files, name)
			}
		}
	}
}

// noteNamed records a file, and the files that it names if it is a configuration file.
func (d *discovery) noteNamed(into map[string]bool, files resolver, name string) {
	host, err := files.hostPath(name)
	if err != nil || !d.noteFile(into, host) || certificateFile(name) {
		return
	}
	data, err := d.root.ReadFile(host)
	if err != nil {
		return
	}
	inside := pathsIn(string(data))
	for _, inner := range relativePathsIn(string(data)) {
		inside = append(inside, pathWithin(name, inner))
	}
	for _, inner := range inside {
		if host, err := files.hostPath(inner); err == nil {
			d.noteFile(into, host)
		}
	}
}

// noteFile records the real path of a file; false if there is none, or none to search.
func (d *discovery) noteFile(into map[string]bool, host string) bool {
	local, err := d.root.LocalPath(host)
	if err != nil {
		return false
	}
	info, err := os.Lstat(local)
	if err != nil || !info.Mode().IsRegular() || isProgram(local, info) {
		return false
	}
	into[local] = true
	return info.Size() <= maxConfig
}

// isProgram reports whether a file is an executable in the format of Linux (ELF), in which
// neither certificates nor paths are searched.
func isProgram(local string, info fs.FileInfo) bool {
	return info.Mode()&0o111 != 0 && string(readInto(local, make([]byte, len(elfMagic)))) == elfMagic
}

// elfMagic is the beginning of an executable.
const elfMagic = "\x7fELF"

// certificateFile reports whether a file's name is that of a certificate or a key.
func certificateFile(name string) bool {
	return slices.Contains([]string{".crt", ".pem", ".key", ".cert", ".cer"}, path.Ext(name))
}

// pathsIn finds the absolute paths in a text: a flag's value, a list, a configuration.
func pathsIn(text string) []string {
	var out []string
	for word := range wordsOf(text) {
		if path.IsAbs(word) && word != "/" {
			out = append(out, path.Clean(word))
		}
	}
	return out
}

// relativePathsIn finds possible relative paths of certificates, keys, kubeconfigs and
// configuration files, by their names.
func relativePathsIn(text string) []string {
	var out []string
	for word := range wordsOf(text) {
		if !path.IsAbs(word) && !strings.HasPrefix(word, "-") && (certificateFile(word) || slices.Contains(configurationNames, path.Ext(word))) {
			out = append(out, path.Clean(word))
		}
	}
	return out
}

// configurationNames are how the names of configuration files end.
var configurationNames = []string{".conf", ".kubeconfig", ".config", ".yaml", ".yml", ".json", ".toml", ".cfg"}

func wordsOf(text string) iter.Seq[string] {
	return strings.FieldsFuncSeq(text, func(r rune) bool {
		switch r {
		case ' ', '\t', '\r', '\n', '=', ',', ':', ';', '"', '\'', '(', ')', '<', '>', '|', '&', '[', ']', '{', '}':
			return true
		}
		return false
	})
}
