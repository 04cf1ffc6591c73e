// Package version says which release a program is, and which images and archives belong to it.
package version

import "fmt"

// Where released images and archives are published.
const (
	releases          = "https://github.com/rotate-certs/rotate-certs/releases/download/"
	nodeRepository    = "ghcr.io/rotate-certs/rotate-certs-node"
	watcherRepository = "ghcr.io/rotate-certs/rotate-certs-watcher"
)

var (
	// Version is the release, with a leading v. The value here is the release
	// that the source tree works towards, and the one place where it is
	// written down: the Makefile reads this line. The linker replaces it when
	// a git tag or VERSION says otherwise, so it must stay a plain string
	// literal.
	Version = "v0.1.0"

	// GitCommit is the commit a development build was made from, with
	// "-dirty" where the tree held more. It is empty in released archives and
	// images: these depend on nothing but the sources and the version, so
	// that anyone can rebuild them bit by bit, and their version is a git tag.
	GitCommit = ""
)

// NodeImage is the image that node pods and agents run unless --image says otherwise. An
// image archive built for this version carries exactly this name, so a node
// that has it loaded pulls nothing.
func NodeImage() string {
	return nodeRepository + ":" + Version
}

// WatcherImage is the image that the watcher runs unless --watcher-image says otherwise.
func WatcherImage() string {
	return watcherRepository + ":" + Version
}

// NodeCommand returns a command of rotate-certs-node, for a person on a node, and where to get
// that program. Every hint that sends people to it is made here.
func NodeCommand(args string) string {
	return fmt.Sprintf("rotate-certs-node %s (get it: %s%[3]s/rotate-certs-node_%[3]s_linux_amd64.tar.gz, or …_arm64.tar.gz)", args, releases, Version)
}

// String is the version as people read it: the release, then the commit where
// one is known.
func String() string {
	if GitCommit == "" {
		return Version
	}
	return Version + " (" + GitCommit + ")"
}
