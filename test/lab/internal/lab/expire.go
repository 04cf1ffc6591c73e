package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/pki"
)

// expiredSince is how long ago all certificates expired, afterwards.
const expiredSince = time.Hour

// Expire makes all leaf certificates expire that are on nodes, or on those of
// these names, in files whose path on the node matches: as if the lab had been off for a year. The nodes shut down, the
// leaves in their files and kubeconfigs are signed again with dates in the past,
// and the nodes start. The administrator's kubeconfig outside is a copy and is
// treated as the first node's files.
func (l *Lab) Expire(names []string, paths *regexp.Regexp, log io.Writer) error {
	l.progress, l.startOfClock = log, time.Now()
	nodes, err := l.nodesNamed(names)
	if err != nil {
		return err
	}
	expirer := &pki.Expirer{NotAfter: time.Now().Add(-expiredSince).Truncate(time.Second)}
	files := map[string][]string{}
	for _, n := range l.Nodes {
		// Of all nodes: the keys of CAs can be on any.
		if files[n.Name], err = certificateFiles(n.Node); err != nil {
			return err
		}
		for _, file := range files[n.Name] {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			expirer.Learn(text)
		}
	}
	l.step("stopping %s", namesOf(nodes))
	if err := l.powerOff(nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if n == &l.Nodes[0] {
			files[n.Name] = append(files[n.Name], l.Kubeconfig())
		}
		if err := l.expireFiles(expirer, n, l.matching(n, paths, files[n.Name])); err != nil {
			return err
		}
	}
	l.step("starting %s", namesOf(nodes))
	if err := l.powerOn(nodes); err != nil {
		return err
	}
	l.reportAPI()
	return nil
}

// matching returns the files whose path on their node matches.
func (l *Lab) matching(n *Node, paths *regexp.Regexp, files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(file string) bool { return !paths.MatchString(l.pathOnNode(n, file)) })
}

// nodesNamed returns the nodes of these names, all for none, in the lab's order.
func (l *Lab) nodesNamed(names []string) ([]*Node, error) {
	for _, name := range names {
		if _, err := l.Node(name); err != nil {
			return nil, err
		}
	}
	var nodes []*Node
	for i := range l.Nodes {
		if n := &l.Nodes[i]; len(names) == 0 || slices.Contains(names, n.Name) {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

func namesOf(nodes []*Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return strings.Join(names, ", ")
}

// certificateFiles lists a node's files with certificates, kubeconfigs and keys:
// all that the node has beyond its fresh tree, but for what pods and images hold,
// and for the journals and backups of rotate-certs, which are history.
func certificateFiles(n node.Node) ([]string, error) {
	skipped := []string{
		filepath.Join(n.Upper(), "var/log"), filepath.Join(n.Upper(), "var/lib/rotate-certs"), filepath.Join(n.KubeletRoot(), "pods"),
	}
	var found []string
	for _, root := range []string{n.Upper(), n.KubeletRoot()} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a running node removes files meanwhile
			}
			if err != nil {
				return err
			}
			if slices.Contains(skipped, path) {
				return filepath.SkipDir
			}
			if entry.Type().IsRegular() && holdsPKI(path) {
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("find the certificates of node %q: %w", n.Name, err)
		}
	}
	return found, nil
}

// holdsPKI reports whether a file has a certificate or a private key in it.
func holdsPKI(path string) bool {
	const largest = 1 << 20
	if info, err := os.Stat(path); err != nil || info.Size() > largest {
		return false
	}
	text, err := os.ReadFile(path)
	return err == nil && (bytes.Contains(text, []byte("-----BEGIN ")) || bytes.Contains(text, []byte("client-certificate-data:")))
}

// expireFiles replaces the leaves in files of a node that is off.
func (l *Lab) expireFiles(expirer *pki.Expirer, n *Node, files []string) error {
	for _, file := range files {
		before, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		after, leaves := expirer.Expire(before)
		for _, leaf := range leaves {
			what := "expired at " + expirer.NotAfter.UTC().Format(time.RFC3339)
			if leaf.Problem != "" {
				what = "unchanged: " + leaf.Problem
			}
			l.step("  %s %s: %s, %s", n.Name, l.pathOnNode(n, file), leaf.Subject, what)
		}
		if bytes.Equal(before, after) {
			continue
		}
		// In place: mode and owner stay, and no process reads it now.
		if err := os.WriteFile(file, after, 0o600); err != nil {
			return fmt.Errorf("expire the certificates of node %q: %w", n.Name, err)
		}
	}
	return nil
}

// pathOnNode is the name of a file on its node, or of one outside as it is.
func (l *Lab) pathOnNode(n *Node, file string) string {
	if path, below := strings.CutPrefix(file, n.Upper()); below {
		return path
	}
	if path, below := strings.CutPrefix(file, n.KubeletRoot()); below {
		return "/var/lib/kubelet" + path
	}
	return file
}

// reportAPI says whether the API answers to the administrator of before.
func (l *Lab) reportAPI() {
	if _, err := l.kubectl("--request-timeout", "5s", "get", "--raw", "/readyz"); err != nil {
		l.step("the API does not answer: %v", err)
		return
	}
	l.step("the API answers")
}
