package parts

import (
	"debug/elf"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const xtables = "usr/sbin/xtables-nft-multi"

// iptablesFiles lists what kube-proxy needs of a Debian tree to run iptables:
// the program under its names, its extensions, and the libraries of both.
func iptablesFiles(tree string) []treeFile {
	files := []treeFile{
		{path: "lib", symlink: "usr/lib"}, {path: "lib64", symlink: "usr/lib64"},
		{path: "sbin", symlink: "usr/sbin"}, {path: "bin", symlink: "usr/bin"},
		{path: xtables, source: filepath.Join(tree, xtables)},
	}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			files = append(files, treeFile{path: "usr/sbin/" + family + suffix, symlink: "xtables-nft-multi"})
		}
	}
	programs := []string{xtables}
	plugins, _ := filepath.Glob(filepath.Join(tree, "usr/lib/*/xtables/*.so"))
	for _, plugin := range plugins {
		name, _ := filepath.Rel(tree, plugin)
		files = append(files, treeFile{path: name, source: follow(tree, name)})
		programs = append(programs, name)
	}
	for _, name := range libraries(tree, programs) {
		files = append(files, treeFile{path: name, source: follow(tree, name)})
	}
	return files
}

// libraries returns the shared libraries that programs of the tree load, and
// the loader itself.
func libraries(tree string, programs []string) []string {
	var found []string
	seen := map[string]bool{}
	for queue := programs; len(queue) > 0; queue = queue[1:] {
		names, loader := imports(follow(tree, queue[0]))
		if loader != "" && !seen[loader] {
			seen[loader] = true
			// "/lib64/…" is "/usr/lib64/…" on a Debian with one /usr.
			found = append(found, "usr"+loader)
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			matches, _ := filepath.Glob(filepath.Join(tree, "usr/lib/*-linux-gnu*", name))
			if len(matches) == 0 {
				continue // the loader, imported under its own name
			}
			library, _ := filepath.Rel(tree, matches[0])
			found = append(found, library)
			queue = append(queue, library)
		}
	}
	return found
}

// imports returns the libraries that an ELF file names, and its loader.
func imports(file string) (names []string, loader string) {
	binary, err := elf.Open(file)
	if err != nil {
		return nil, ""
	}
	defer binary.Close()
	names, _ = binary.ImportedLibraries()
	if section := binary.Section(".interp"); section != nil {
		data, _ := section.Data()
		loader = strings.TrimRight(string(data), "\x00")
	}
	return names, loader
}

// follow returns the host's path of a file of the tree, with symbolic links
// followed inside the tree: an absolute one must not lead to the host's files.
func follow(tree, name string) string {
	resolved := ""
	rest := name
	for links := 0; rest != "" && links < 40; {
		first, others, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		target, err := os.Readlink(filepath.Join(tree, resolved, first))
		if err != nil {
			resolved, rest = path.Join(resolved, first), others
			continue
		}
		links++
		if !path.IsAbs(target) {
			target = path.Join("/", resolved, target)
		}
		resolved, rest = "", path.Join(target, others)
	}
	return filepath.Join(tree, resolved)
}
