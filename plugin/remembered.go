package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// rememberedDirectory holds a file for each cluster, below kubectl's cache directory. It is a file
// for --host-file with the names of the cluster's nodes, for when its API server cannot be asked.
const rememberedDirectory = "rotate-certs"

// rememberedFile is the file of a cluster. Two clusters at one address, such as that of a tunnel,
// have different CAs.
func rememberedFile(cacheDir string, config *rest.Config) string {
	withCA := rest.CopyConfig(config)
	_ = rest.LoadTLSFiles(withCA) // a file that cannot be read fails the first request
	sum := sha256.Sum256(withCA.CAData)
	_, host, found := strings.Cut(config.Host, "://")
	if !found {
		host = config.Host
	}
	host = regexp.MustCompile(`[^\w.]`).ReplaceAllString(host, "_")
	return filepath.Join(cacheDir, rememberedDirectory, host+"_"+hex.EncodeToString(sum[:4])+".hosts")
}

// rememberingAPI writes the nodes of the cluster to a file whenever they are listed.
type rememberingAPI struct {
	api
	server, file string
	now          func() time.Time
}

// Nodes lists all nodes.
func (r rememberingAPI) Nodes(ctx context.Context) ([]kubenode.Node, error) {
	nodes, err := r.api.Nodes(ctx)
	if err == nil && len(nodes) > 0 && filepath.IsAbs(r.file) { // without a home directory it is not
		_ = writeRemembered(r.file, r.server, nodes, r.now()) // a cache: without it a hint is less exact
	}
	return nodes, err
}

// writeRemembered replaces the file of a cluster. Control-plane nodes are first.
func writeRemembered(path, server string, nodes []kubenode.Node, now time.Time) error {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n kubenode.Node) bool { return n.Foreign() || !validName(n.Name) })
	slices.SortStableFunc(nodes, func(a, b kubenode.Node) int {
		switch {
		case a.ControlPlane == b.ControlPlane:
			return 0
		case a.ControlPlane:
			return -1
		}
		return 1
	})
	var text bytes.Buffer
	fmt.Fprintf(&text, "# The nodes that the API server at %s listed on %s. A file for --host-file; it is replaced whenever they are listed.\n", server, now.UTC().Format(time.DateOnly))
	for _, n := range nodes {
		role := "worker"
		if n.ControlPlane {
			role = "control plane"
		}
		fmt.Fprintf(&text, "# %s\n%s\n", strings.Join(append([]string{role}, n.InternalIPs()...), ", "), n.Name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil { // as kubectl's own
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	_, err = file.Write(text.Bytes())
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// mostNamed is how many hosts a command in a hint names; for more it names the file.
const mostNamed = 12

// recoverHint is the hint where the API server cannot be reached: its certificates may have
// expired.
func (f *connectionFlags) recoverHint() string {
	hosts, date := f.rememberedHosts()
	if hosts == "" {
		return "if its certificates have expired, this brings the cluster back over ssh: " + displayName + " " + recoverName + " --host [USER@]NODE[,…]"
	}
	return fmt.Sprintf("if its certificates have expired, this plans how to bring the cluster back over ssh, with its nodes of %s: %s %s %s --plan", date, f.commandLine(), recoverName, hosts)
}

// rememberedHosts returns the flag that names the remembered nodes of the cluster, and the day on
// which they were listed; empty: none is remembered.
func (f *connectionFlags) rememberedHosts() (hosts, date string) {
	config, err := f.ToRESTConfig()
	if err != nil {
		return "", ""
	}
	path := rememberedFile(*f.CacheDir, config)
	info, err := os.Stat(path)
	if err != nil {
		return "", ""
	}
	names, err := readHosts(path)
	switch {
	case err != nil, len(names) == 0:
		return "", ""
	case len(names) > mostNamed:
		hosts = "--host-file " + path
	default:
		hosts = "--host " + strings.Join(names, ",")
	}
	return hosts, info.ModTime().UTC().Format(time.DateOnly)
}

// withRememberedHosts adds the remembered nodes to the hint of the error that no host is named.
func (f *connectionFlags) withRememberedHosts(err error) error {
	hosts, date := f.rememberedHosts()
	if !errors.Is(err, errNoHost) || hosts == "" {
		return err
	}
	return hint.AddTo(errNoHost, nameHosts+"; the nodes of %s: %s", date, hosts)
}
