package layout

import (
	"maps"
	"slices"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// reader is a static pod's container, a unit or a Docker container that is no component, with the files of the host
// that it names or mounts one by one. Mounted directories are separate: the files that it reads
// of them are not known.
type reader struct {
	user inventory.OtherUser
	// files holds the real paths of the files that it names.
	files map[string]bool
	// dirs are the real places of the directories that it mounts.
	dirs []string
	// runs reports whether it runs, and enabled whether it is started at boot; nil: only its
	// supervisor knows.
	runs, enabled func() bool
	// packaged: it is a unit of a package that need not have to do with the cluster, so that its own
	// certificates are not listed.
	packaged bool
}

// OtherUsers returns the static pods, Docker containers and units that read a file of a certificate and are
// no components, each once.
func (l *Layout) OtherUsers(root hostfs.Root, s inventory.Store) []inventory.OtherUser {
	var out []inventory.OtherUser
	places := placesOf(root, s)
	for _, r := range l.readers {
		if !slices.ContainsFunc(places, func(place string) bool { return r.files[place] }) {
			continue
		}
		user := r.user
		if r.runs != nil && !r.runs() {
			if !r.enabled() {
				continue // started by a timer or by hand, it reads the file then
			}
			user.Restartable = false
		}
		if !slices.Contains(out, user) {
			out = append(out, user)
		}
	}
	return out
}

// MayUse returns the static pods and containers that mount a directory of a certificate's file and name no
// file below it.
func (l *Layout) MayUse(root hostfs.Root, s inventory.Store) []string {
	var out []string
	places := placesOf(root, s)
	for _, r := range l.readers {
		if slices.ContainsFunc(places, r.mountsOnly) && !slices.Contains(out, r.user.Name) {
			out = append(out, r.user.Name)
		}
	}
	return out
}

// placesOf returns the real paths of a store's files.
func placesOf(root hostfs.Root, s inventory.Store) []string {
	var out []string
	for _, file := range []string{s.Cert, s.Key} {
		if file == "" {
			continue
		}
		if local, err := root.LocalPath(file); err == nil {
			out = append(out, local)
		}
	}
	return out
}

// mountsOnly reports whether a directory above a file is mounted, and no file below it is
// named.
func (r *reader) mountsOnly(local string) bool {
	return slices.ContainsFunc(r.dirs, func(dir string) bool {
		names := func(file string) bool { return isUnder(file, dir) }
		return names(local) && !slices.ContainsFunc(slices.Collect(maps.Keys(r.files)), names)
	})
}

// OtherProgram is a static pod's container, a unit or a Docker container that is no component.
type OtherProgram struct {
	Name  string   // "static pod kube-vip", "unit haproxy.service", "container nginx"
	Files []string // host paths of the files that it names, at most [maxNamed]
}

// maxNamed limits the files of another program that are inspected.
const maxNamed = 64

// OtherPrograms returns the static pods, units and containers that are no components, and that run or
// are started at boot, with the files that they name.
func (l *Layout) OtherPrograms(root hostfs.Root) []OtherProgram {
	var out []OtherProgram
	for _, r := range l.readers {
		if len(r.files) == 0 || r.packaged || r.runs != nil && !r.runs() && !r.enabled() {
			continue
		}
		p := OtherProgram{Name: r.user.Name}
		switch r.user.Kind {
		case inventory.OtherStaticPod:
			p.Name = "static pod " + p.Name
		case inventory.OtherUnit:
			p.Name = "unit " + p.Name
		case inventory.OtherContainer, inventory.OtherHardLink: // its name has the kind
		}
		for _, local := range slices.Sorted(maps.Keys(r.files)) {
			if len(p.Files) < maxNamed {
				p.Files = append(p.Files, root.HostPath(local))
			}
		}
		out = append(out, p)
	}
	return out
}

// NamesFile reports whether the command line or the environment of a component names a file.
func (l *Layout) NamesFile(root hostfs.Root, file string) bool {
	local, err := root.LocalPath(file)
	return err == nil && l.named[local]
}

// nameFiles collects the files that the command lines and variables of components name.
func (d *discovery) nameFiles(programs []*program) {
	d.out.named = map[string]bool{}
	for _, p := range programs {
		d.noteFiles(d.out.named, p.files, append(slices.Clone(p.args), slices.Collect(maps.Values(p.env))...))
	}
}

// findReaders goes through the static pods, units and Docker containers that are no components.
func (d *discovery) findReaders(programs []*program) {
	for _, f := range d.pods {
		for i := range f.pod.Spec.InitContainers {
			d.readContainer(f, &f.pod.Spec.InitContainers[i], true)
		}
		for i := range f.pod.Spec.Containers {
			c := &f.pod.Spec.Containers[i]
			if !slices.ContainsFunc(programs, func(p *program) bool { return p.component.Manifest == f.path && p.component.ContainerName == c.Name }) {
				d.readContainer(f, c, false)
			}
		}
	}
	d.readDockerContainers(programs)
	own := map[string]bool{}
	for _, p := range programs {
		own[p.component.Unit] = true
	}
	running := sync.OnceValue(func() map[string]bool { return runningUnits(d.root) })
	for _, listed := range d.unitList().units {
		name := listed.name
		packaged := listed.preset && !isSuggestive(name)
		if own[name] || packaged && !running()[name] { // packages install hundreds of units
			continue
		}
		d.readUnit(name, packaged, func() bool { return running()[name] }, func() bool { return d.enabled()[name] })
	}
}

func (d *discovery) readContainer(f manifestFile, c *container, init bool) {
	env := c.literalVariables()
	if _, ok := c.recognizeComponent(env); ok && !init {
		return
	}
	files := f.pod.pathResolver(c, env)
	r := reader{files: map[string]bool{}, user: inventory.OtherUser{
		Kind: inventory.OtherStaticPod, Name: f.pod.Metadata.Name, Manifest: f.path,
		ContainerName: c.Name, PodName: f.pod.Metadata.Name, PodNamespace: f.pod.Metadata.Namespace,
		// A container that has run to its end reads the file again when its pod starts.
		Restartable: !init || c.RestartPolicy == "Always", GraceSeconds: f.pod.gracePeriod(),
	}}
	words := slices.AppendSeq(slices.Concat(c.Command, c.Args), maps.Values(env))
	for i := range words {
		words[i] = expandPod(words[i], env)
	}
	d.noteFiles(r.files, files, words)
	for _, m := range files.mounts {
		d.noteMount(&r, m.host)
	}
	d.out.readers = append(d.out.readers, r)
}

// noteMount records a directory or a file that another program mounts.
func (d *discovery) noteMount(r *reader, host string) {
	info, err := d.root.Stat(host)
	switch local, notLocal := d.root.LocalPath(host); {
	case host == "" || err != nil || notLocal != nil:
	case info.IsDir():
		r.dirs = append(r.dirs, local)
	default:
		d.noteFile(r.files, host)
	}
}

func (d *discovery) readUnit(name string, packaged bool, runs, enabled func() bool) {
	u, ok := d.loadedUnit(name)
	if !ok {
		return
	}
	r := reader{files: map[string]bool{}, runs: runs, enabled: enabled, packaged: packaged, user: inventory.OtherUser{
		Kind: inventory.OtherUnit, Name: name, Unit: name, Restartable: true, GraceSeconds: u.grace,
	}}
	files := u.fileResolver()
	for _, m := range u.credentials {
		d.noteFile(r.files, m.host)
	}
	for _, m := range u.mounts {
		d.noteFile(r.files, m.host)
	}
	words := slices.Collect(maps.Values(u.env))
	for _, argv := range u.expandedCommands() {
		if _, ok := recognizeArgs(argv); ok {
			return
		}
		// The restart of a container runtime may end the containers of components.
		r.user.Restartable = r.user.Restartable && !slices.Contains(containerRuntimes, programName(argv[0]))
		words = append(words, argv...)
	}
	for _, argv := range u.expand(u.commandsBeside()) {
		words = append(words, argv...)
	}
	d.noteFiles(r.files, files, words)
	d.out.readers = append(d.out.readers, r)
}

// containerRuntimes are the programs whose units are not restarted because of a file.
var containerRuntimes = []string{"dockerd", "containerd", "crio", "cri-dockerd"}

// controlPlane reports whether the node has a control plane, whose kubeconfigs are expected
// here.
func controlPlane(programs []*program) bool {
	return slices.ContainsFunc(programs, func(p *program) bool {
		return slices.Contains([]certs.Service{certs.KubeAPIServer, certs.KubeControllerManager, certs.KubeScheduler}, p.service)
	})
}
