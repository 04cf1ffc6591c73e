package layout

import (
	"cmp"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// unitPaths are the settings of a service unit that change the meaning of its paths and variables.
type unitPaths struct {
	user      string
	root      string   // RootDirectory: the directory that the service sees as "/"
	fromImage bool     // RootImage: the service sees the files of an image
	unset     []string // UnsetEnvironment: names, or assignments NAME=value
	// given are the directories of StateDirectory= and the like, by the variables in which the
	// service gets them.
	given map[string][]string
}

// givenDirectories are the settings of directories that systemd makes for a service: the variable in
// which the service gets them, and the directory in which they are.
var givenDirectories = map[string]struct{ variable, parent string }{
	"RuntimeDirectory":       {"RUNTIME_DIRECTORY", "/run"},
	"StateDirectory":         {"STATE_DIRECTORY", "/var/lib"},
	"CacheDirectory":         {"CACHE_DIRECTORY", "/var/cache"},
	"LogsDirectory":          {"LOGS_DIRECTORY", "/var/log"},
	"ConfigurationDirectory": {"CONFIGURATION_DIRECTORY", "/etc"},
}

// applyPath evaluates one assignment of a unit.
func (u *unitPaths) applyPath(name, value string) {
	switch name {
	case "User":
		u.user = value
	case "RootDirectory":
		u.root = strings.TrimPrefix(value, "-")
	case "RootImage":
		u.fromImage = value != ""
	case "UnsetEnvironment":
		if value == "" {
			u.unset = nil
		}
		u.unset = append(u.unset, splitWords(value)...)
	}
	directory, ok := givenDirectories[name]
	if !ok {
		return
	}
	if u.given == nil {
		u.given = map[string][]string{}
	}
	if value == "" {
		delete(u.given, directory.variable)
	}
	for _, word := range splitWords(value) {
		relative, _, _ := strings.Cut(word, ":") // names of links to it follow
		u.given[directory.variable] = append(u.given[directory.variable], path.Join(directory.parent, relative))
	}
}

// credentialsDir is the directory in which the service finds its credentials.
func (u *unit) credentialsDir() string { return path.Join("/run/credentials", u.name) }

// completePaths evaluates settings that depend on several assignments: variables that systemd sets, unless
// the unit does, and those that it removes last; and the home directory of the service's user.
func (u *unit) completePaths(root hostfs.Root) {
	u.credentials = u.credentialMounts(root)
	home := homeOf(root, u.user)
	own := map[string]string{}
	if len(u.loaded) > 0 {
		own["CREDENTIALS_DIRECTORY"] = u.credentialsDir()
	}
	if u.user != "" {
		own["HOME"] = home
		own["USER"] = u.user
	}
	for variable, directories := range u.given {
		own[variable] = strings.Join(directories, ":")
	}
	for name, value := range own {
		if _, set := u.env[name]; !set {
			u.env[name] = value
		}
	}
	for _, w := range u.unset {
		if name, value, one := strings.Cut(w, "="); !one || u.env[name] == value {
			delete(u.env, name)
		}
	}
	if u.workDir == "~" {
		u.workDir = home
	}
}

// fileResolver translates the paths that the service sees into those of the host.
func (u *unit) fileResolver() resolver {
	r := resolver{workDir: u.workDir, copied: u.credentialsDir()}
	switch {
	case u.fromImage:
		r.mounts = append(r.mounts, mount{container: "/"})
	case path.IsAbs(u.root) && path.Clean(u.root) != "/":
		r.mounts = append(r.mounts, mount{container: "/", host: path.Clean(u.root)})
	}
	r.mounts = append(r.mounts, u.mounts...)
	// Other credentials than these are made by systemd, and have no file.
	r.mounts = append(r.mounts, mount{container: u.credentialsDir()})
	r.mounts = append(r.mounts, u.credentials...)
	return r
}

// homeOf returns the home directory of a user, by name or number; that of root for none. A user that
// /etc/passwd does not have has "/".
func homeOf(root hostfs.Root, user string) string {
	if user == "" || user == "root" || user == "0" {
		return "/root"
	}
	data, err := root.ReadFile("/etc/passwd")
	if err != nil {
		return "/"
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		fields := strings.Split(line, ":")
		if len(fields) >= 6 && (fields[0] == user || fields[2] == user) {
			return cmp.Or(fields[5], "/")
		}
	}
	return "/"
}
