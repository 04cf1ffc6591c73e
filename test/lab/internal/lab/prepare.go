package lab

import (
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/parts"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/units"
)

// prepareNodes makes the directories and files of all nodes.
func (l *Lab) prepareNodes(config kubeadm.Cluster, cluster *units.Cluster, built parts.Parts) error {
	return l.eachNode(func(n *Node) error {
		if err := n.Prepare(); err != nil {
			return err
		}
		if err := parts.CopyStore(built.Store, n.ContainerdRoot()); err != nil {
			return err
		}
		files := map[string]string{
			"/etc/hostname":    n.Name + "\n",
			"/etc/hosts":       l.hosts(),
			"/etc/resolv.conf": "# Nothing answers there: a lab has no names but its own.\nnameserver " + gateway + "\noptions timeout:1 attempts:1\n",
			networkPath:        l.networkFile(n),
		}
		if cluster != nil {
			return prepareUnits(cluster, n, files)
		}
		text, err := l.configOf(config, n)
		if err != nil {
			return err
		}
		files[kubeadmPath] = text
		if n.Role == EtcdHost {
			return l.prepareEtcdHost(config, n, files)
		}
		if err := n.WriteFiles(files, kubeletUnit); err != nil {
			return err
		}
		return l.redirectManifests(config, n)
	})
}

// redirectManifests makes kubeadm's fixed directory for manifests lead to
// the kubelet's staticPodPath, when a test configures another one.
func (l *Lab) redirectManifests(config kubeadm.Cluster, n *Node) error {
	target := config.StaticPodPath()
	if target == kubeadm.ManifestDir {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(n.Upper(), target), 0o755); err != nil {
		return err
	}
	link := filepath.Join(n.Upper(), kubeadm.ManifestDir)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, link)
}

// forgetRedirection removes the link that redirectManifests made, so that the
// usual directory cannot be mistaken for the one in use.
func (l *Lab) forgetRedirection(config kubeadm.Cluster) error {
	if config.StaticPodPath() == kubeadm.ManifestDir {
		return nil
	}
	return l.eachNode(func(n *Node) error {
		if n.Role == EtcdHost {
			return nil
		}
		_, err := l.onNode(n, nil, "rm", "-f", kubeadm.ManifestDir)
		return err
	})
}
