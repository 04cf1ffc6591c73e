package parts

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Testbox is the name of an image for the pods of tests, present on every
// node. Its program is tools/testbox.
const Testbox = "rotate-certs.test/testbox:1"

// sandbox is the image that the nodes' containerd is configured with. The list
// of another version of kubeadm has another one.
const sandbox = "registry.k8s.io/pause:3.10.2"

// images makes one archive with the images of kubeadm's control plane, of
// CoreDNS and kube-proxy, and of the testbox.
func (c Cache) images(p Parts) (string, error) {
	coredns, err := c.coredns()
	if err != nil {
		return "", err
	}
	tools, err := c.tools()
	if err != nil {
		return "", err
	}
	key := keyOf("2", filepath.Base(p.Tree), filepath.Base(p.Kubernetes),
		filepath.Base(p.Etcd), filepath.Base(coredns), filepath.Base(tools))
	return c.part("images", key, func(dir string) error {
		version, err := c.KubernetesVersion()
		if err != nil {
			return err
		}
		names, err := imageNames(p, version)
		if err != nil {
			return err
		}
		layers := layerWriter{dir: dir}
		kubernetes := layers.write("kubernetes", kubernetesFiles(p.Kubernetes))
		iptables := layers.write("iptables", iptablesFiles(p.Tree))
		single := func(program, source string) []layer {
			return []layer{layers.write(program, []treeFile{{path: "usr/local/bin/" + program, source: filepath.Join(source, "usr/bin", program)}})}
		}
		contents := map[string]image{
			"kube-apiserver":          {layers: []layer{kubernetes}, entrypoint: []string{"/usr/local/bin/kube-apiserver"}},
			"kube-controller-manager": {layers: []layer{kubernetes}, entrypoint: []string{"/usr/local/bin/kube-controller-manager"}},
			"kube-scheduler":          {layers: []layer{kubernetes}, entrypoint: []string{"/usr/local/bin/kube-scheduler"}},
			"kube-proxy":              {layers: []layer{iptables, kubernetes}, entrypoint: []string{"/usr/local/bin/kube-proxy"}},
			"etcd":                    {layers: single("etcd", p.Etcd), entrypoint: []string{"/usr/local/bin/etcd"}},
			"coredns":                 {layers: single("coredns", coredns), entrypoint: []string{"/usr/local/bin/coredns"}},
			"pause":                   {layers: single("pause", tools), entrypoint: []string{"/usr/local/bin/pause"}},
			"testbox":                 {layers: single("testbox", tools), entrypoint: []string{"/usr/local/bin/testbox"}},
		}
		if layers.err != nil {
			return layers.err
		}
		var images []image
		names = append(names, Testbox)
		if !slices.Contains(names, sandbox) {
			names = append(names, sandbox)
		}
		for _, name := range names {
			repository, _, _ := strings.Cut(path.Base(name), ":")
			img, known := contents[repository]
			if !known {
				return fmt.Errorf("kubeadm needs image %q, which this program does not know how to make", name)
			}
			img.name = name
			images = append(images, img)
		}
		if err := writeArchive(filepath.Join(dir, "images.tar"), images); err != nil {
			return err
		}
		return layers.remove()
	})
}

// imageNames asks kubeadm for the images it is going to use.
func imageNames(p Parts, version string) ([]string, error) {
	kubeadm := filepath.Join(p.Kubernetes, "usr/bin/kubeadm")
	out, err := exec.Command(kubeadm, "config", "images", "list", "--kubernetes-version", version).Output()
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm for its images: %w", err)
	}
	return strings.Fields(string(out)), nil
}

func kubernetesFiles(part string) []treeFile {
	first := "usr/local/bin/kube-apiserver"
	files := []treeFile{{path: first, source: filepath.Join(part, "usr/bin/kubernetes")}}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		files = append(files, treeFile{path: "usr/local/bin/" + name, hardLink: first})
	}
	return files
}

// layerWriter writes layers into dir and keeps the first error.
type layerWriter struct {
	dir   string
	files []string
	err   error
}

func (w *layerWriter) write(name string, files []treeFile) layer {
	if w.err != nil {
		return layer{}
	}
	file := filepath.Join(w.dir, name+".layer")
	w.files = append(w.files, file)
	l, err := writeLayer(file, files)
	w.err = err
	return l
}

func (w *layerWriter) remove() error {
	for _, file := range w.files {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}
