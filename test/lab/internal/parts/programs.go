package parts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

const kubernetesModule = "k8s.io/kubernetes"

const kubernetesBuild = "build/kubernetes"

// KubernetesVersion is the version of Kubernetes that the source pins: that of
// build/kubernetes/go.mod, or the one of the minor version that is asked for.
func (c Cache) KubernetesVersion() (string, error) {
	file, err := c.kubernetesModFile()
	if err != nil {
		return "", err
	}
	if file == "" {
		file = filepath.Join(c.Source, kubernetesBuild, "go.mod")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("find the version of Kubernetes: %w", err)
	}
	return requiredKubernetes(string(data))
}

// kubernetesModFile is the file that stands for go.mod when another minor
// version than that of go.mod is asked for, else "".
func (c Cache) kubernetesModFile() (string, error) {
	if c.Kubernetes == "" {
		return "", nil
	}
	data, err := os.ReadFile(filepath.Join(c.Source, kubernetesBuild, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("find the version of Kubernetes: %w", err)
	}
	usual, err := requiredKubernetes(string(data))
	if err != nil || strings.HasPrefix(usual, "v"+c.Kubernetes+".") {
		return "", err
	}
	others, err := filepath.Glob(filepath.Join(c.Source, "build/versions/*.mod"))
	if err != nil {
		return "", err
	}
	names := []string{usual}
	for _, file := range others {
		name := strings.TrimSuffix(filepath.Base(file), ".mod")
		if name == c.Kubernetes {
			return file, nil
		}
		names = append(names, name)
	}
	return "", hint.AddTo(fmt.Errorf("no module builds Kubernetes %q", c.Kubernetes), "there are %s", strings.Join(names, ", "))
}

// requiredKubernetes returns the version of Kubernetes that a go.mod requires.
func requiredKubernetes(mod string) (string, error) {
	pattern := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(kubernetesModule) + ` (v\S+)`)
	match := pattern.FindStringSubmatch(mod)
	if match == nil {
		return "", fmt.Errorf("no version of %q in go.mod", kubernetesModule)
	}
	return match[1], nil
}

// kubernetes builds the binary with all of Kubernetes, under all its names.
// They are hard links and not symbolic ones, so that /proc/PID/exe of a kubelet
// says kubelet, as anywhere else.
func (c Cache) kubernetes() (string, error) {
	version, err := c.KubernetesVersion()
	if err != nil {
		return "", err
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	// kubeadm refuses to work when it does not know its own version.
	var flags strings.Builder
	for _, setting := range []string{
		"gitVersion=" + version, "gitMajor=" + major, "gitMinor=" + minor,
		"gitCommit=" + strings.Repeat("0", 40), "gitTreeState=clean",
	} {
		flags.WriteString(" -X k8s.io/component-base/version." + setting)
	}
	modFile, err := c.kubernetesModFile()
	if err != nil {
		return "", err
	}
	build := goBuild{module: kubernetesBuild, modFile: modFile, ldflags: flags.String(), packages: []string{"."}}
	return c.program("kubernetes", build, func(bin string) error {
		for _, name := range []string{"kubelet", "kubeadm", "kubectl"} {
			if err := os.Link(filepath.Join(bin, "kubernetes"), filepath.Join(bin, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// daemons gives that binary the names that it has in images, for nodes where
// these run as units.
func (c Cache) daemons(p Parts) (string, error) {
	return c.part("daemons", keyOf("1", filepath.Base(p.Kubernetes)), func(dir string) error {
		bin := filepath.Join(dir, "usr/bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return err
		}
		for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
			if err := os.Link(filepath.Join(p.Kubernetes, "usr/bin/kubernetes"), filepath.Join(bin, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c Cache) containerd() (string, error) {
	const commands = "github.com/containerd/containerd/v2/cmd/"
	return c.program("containerd", goBuild{
		module: "build/containerd",
		tags:   "no_btrfs no_devmapper no_zfs",
		packages: []string{
			commands + "containerd", commands + "containerd-shim-runc-v2", commands + "ctr",
		},
	}, nil)
}

func (c Cache) etcd() (string, error) {
	return c.program("etcd", goBuild{module: "build/etcd", packages: []string{"."}}, nil)
}

func (c Cache) coredns() (string, error) {
	return c.program("coredns", goBuild{module: "build/coredns", packages: []string{"."}}, nil)
}

// tools builds the lab's own programs that run in containers.
func (c Cache) tools() (string, error) {
	return c.program("tools", goBuild{module: "tools", packages: []string{"./pause", "./testbox"}}, nil)
}

// goBuild says how a program is built.
type goBuild struct {
	module   string // directory below the source
	packages []string
	tags     string
	ldflags  string
	modFile  string // instead of the module's go.mod; "" for that
}

// inputs are the contents of all that is built from.
func (b goBuild) inputs(source string) (string, error) {
	text, err := sources(source)
	if err != nil || b.modFile == "" {
		return text, err
	}
	for _, file := range []string{b.modFile, strings.TrimSuffix(b.modFile, ".mod") + ".sum"} {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text += string(data)
	}
	return text, nil
}

// program makes a part with the built programs in usr/bin; finish, which may
// be nil, gets that directory.
func (c Cache) program(name string, build goBuild, finish func(bin string) error) (string, error) {
	source := filepath.Join(c.Source, build.module)
	inputs, err := build.inputs(source)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("build %s: ask for the version of Go: %w", name, err)
	}
	// "1" counts the changes of what this function itself does.
	key := keyOf("1", string(version), build.tags, inputs)
	return c.part(name, key, func(dir string) error {
		bin := filepath.Join(dir, "usr/bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return err
		}
		args := []string{"build", "-trimpath", "-tags=" + build.tags, "-ldflags=-s -w" + build.ldflags, "-o", bin + "/"}
		if build.modFile != "" {
			args = append(args, "-modfile="+build.modFile)
		}
		cmd := exec.Command("go", append(args, build.packages...)...)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS=linux", "GOARCH="+runtime.GOARCH)
		cmd.Stdout, cmd.Stderr = c.Log, c.Log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go build: %w", err)
		}
		if finish != nil {
			return finish(bin)
		}
		return nil
	})
}
