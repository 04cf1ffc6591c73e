package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// noticesFile is the name of the third-party notices, in archives and images.
const noticesFile = "THIRD-PARTY-NOTICES"

// productModule is the module of the programs themselves, whose licence is in LICENSE.
const productModule = "github.com/rotate-certs/rotate-certs"

// linkedModule is a module of which packages are linked into a program.
type linkedModule struct {
	name  string // with its version
	root  string // its directory in the module cache
	files []string
}

// noticesOf is the text of the licences and notices of all that is linked into programs on
// one platform: the Go standard library and every module. A module without a licence file is
// an error, since nothing then permits to distribute it.
func (s source) noticesOf(ctx context.Context, target platform, programs ...string) (string, error) {
	modules, err := s.linkedModules(ctx, target, programs)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Software of others that is linked into %s, with its licences.\n", strings.Join(programs, " and "))
	for _, m := range modules {
		if !slices.ContainsFunc(m.files, isLicence) {
			return "", fmt.Errorf("find the licence of %s: no such file in %q", m.name, m.root)
		}
		for _, file := range m.files {
			text, err := os.ReadFile(filepath.Join(m.root, file))
			if err != nil {
				return "", fmt.Errorf("read the licence of %s: %w", m.name, err)
			}
			fmt.Fprintf(&out, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 80), m.name, filepath.ToSlash(file), strings.TrimSpace(string(text)))
		}
	}
	return out.String(), nil
}

// writeNotices writes the notices of programs, as they are linked for the nodes.
func writeNotices(ctx context.Context, source source, output string, programs []string) error {
	if output == "" || len(programs) == 0 {
		return errors.New("notices needs -o and the programs that it is about")
	}
	text, err := source.noticesOf(ctx, nodePlatforms[0], programs...)
	if err != nil {
		return err
	}
	return writeText(output, text)
}

// linkedModules are the modules whose packages are linked into programs, the standard library
// first, the others by their names.
func (s source) linkedModules(ctx context.Context, target platform, programs []string) ([]*linkedModule, error) {
	const format = `{{$dir := .Dir}}{{with .Module}}{{.Path}}	{{.Version}}	{{with .Replace}}{{.Dir}}{{else}}{{.Dir}}{{end}}	{{$dir}}{{end}}`
	args := []string{"list", "-deps", "-f", format}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	packages, err := s.goCommand(ctx, target.environment(), args...)
	if err != nil {
		return nil, fmt.Errorf("list what is linked for %s: %w", target, err)
	}
	toolchain, err := s.goCommand(ctx, nil, "env", "GOVERSION", "GOROOT")
	if err != nil {
		return nil, fmt.Errorf("find the standard library: %w", err)
	}
	version, root, _ := strings.Cut(strings.TrimSpace(toolchain), "\n")
	standard := &linkedModule{name: "Go standard library " + version, root: root}
	if err := standard.addFiles(root); err != nil {
		return nil, err
	}
	modules := []*linkedModule{standard}
	for _, line := range slices.Sorted(strings.Lines(packages)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 4 || fields[0] == productModule {
			continue
		}
		last := modules[len(modules)-1]
		if name := fields[0] + " " + fields[1]; last.name != name {
			last = &linkedModule{name: name, root: fields[2]}
			modules = append(modules, last)
		}
		if err := last.addFiles(fields[3]); err != nil {
			return nil, err
		}
	}
	return modules, nil
}

// noticeName is how projects call the files of their licences and notices.
var noticeName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents|authors)([-._].*)?$`)

// isLicence says that a file is a licence, and not only a notice beside one.
func isLicence(file string) bool {
	name := strings.ToUpper(filepath.Base(file))
	return strings.HasPrefix(name, "LICEN") || strings.HasPrefix(name, "COPYING")
}

// addFiles adds the licences and notices that hold for a directory of a module: those beside
// its files, and those of the directories above it.
func (m *linkedModule) addFiles(directory string) error {
	for {
		entries, err := os.ReadDir(directory)
		if err != nil {
			return fmt.Errorf("find the licence of %s: %w", m.name, err)
		}
		below, err := filepath.Rel(m.root, directory)
		if err != nil {
			return fmt.Errorf("find the licence of %s: %w", m.name, err)
		}
		for _, e := range entries {
			file := filepath.Join(below, e.Name())
			if e.Type().IsRegular() && noticeName.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" && !slices.Contains(m.files, file) {
				m.files = append(m.files, file)
			}
		}
		if below == "." {
			slices.Sort(m.files)
			return nil
		}
		directory = filepath.Dir(directory)
	}
}
