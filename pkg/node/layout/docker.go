package layout

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

const (
	// dockerContainers is the directory in which Docker keeps a directory for each container,
	// unless dockerd's data-root is another one.
	dockerContainers = "/var/lib/docker/containers"
	// dockerUnit is the unit of dockerd in Docker's own packages and in those of distributions.
	dockerUnit = "docker.service"
	// dockerStopTimeout is how long Docker lets a container exit in which no other time is set.
	dockerStopTimeout = 10
	// maxDockerContainers limits the containers that are read of a node.
	maxDockerContainers = 4096
	// podLabels begins the labels that the kubelet gives to the containers of pods, through
	// cri-dockerd or its earlier part dockershim.
	podLabels = "io.kubernetes."
)

// dockerSockets are where dockerd listens. The first is the usual place; /var/run is usually a
// link to /run.
var dockerSockets = []string{"/run/docker.sock", "/var/run/docker.sock"}

// dockerContainer is a part of Docker's file config.v2.json. Docker keeps the file while it knows
// the container.
type dockerContainer struct {
	ID     string
	Name   string // with a slash before it
	Path   string
	Args   []string
	State  struct{ Running bool }
	Config struct {
		Env         []string
		Labels      map[string]string
		WorkingDir  string
		StopTimeout int64
	}
	MountPoints map[string]struct {
		Source, Destination string
		RW                  bool
	}
}

// isPods reports whether a kubelet made the container for a pod.
func (c *dockerContainer) isPods() bool {
	for label := range c.Config.Labels {
		if strings.HasPrefix(label, podLabels) {
			return true
		}
	}
	return false
}

func (c *dockerContainer) plainName() string { return strings.TrimPrefix(c.Name, "/") }

// fileResolver translates the paths of the container by the mounts that Docker gives to it.
func (c *dockerContainer) fileResolver() resolver {
	files := resolver{inContainer: true, workDir: c.Config.WorkingDir}
	for _, m := range c.MountPoints {
		files.mounts = append(files.mounts, mount{container: path.Clean(m.Destination), host: m.Source, readOnly: !m.RW})
	}
	return files
}

// readDocker reads the description of a container that Docker keeps in its data directory.
func (d *discovery) readDocker(directory, id string) (dockerContainer, bool) {
	var c dockerContainer
	if id == "" {
		return c, false
	}
	data, err := d.root.ReadFile(path.Join(directory, id, "config.v2.json"))
	if err != nil || json.Unmarshal(data, &c) != nil || c.ID != id {
		return c, false
	}
	return c, true
}

// dockerDirectory returns the directory in which Docker keeps a container's directory. Docker
// mounts three files of it into the container, by which it is found whatever data-root is.
func dockerDirectory(id string, files resolver) string {
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		host, err := files.hostPath("/etc/" + name)
		if directory, ok := strings.CutSuffix(host, "/"+id+"/"+name); err == nil && ok && id != "" {
			return directory
		}
	}
	return dockerContainers
}

// hostConfig is a part of Docker's file hostconfig.json.
type hostConfig struct {
	// AutoRemove: Docker removes the container when it has stopped. Something else starts it,
	// usually a systemd unit with "docker run --rm", and would start another one.
	AutoRemove    bool
	NetworkMode   string
	RestartPolicy struct{ Name string }
	PortBindings  map[string][]portBinding // by port of the container: "2379/tcp"
}

// readHostConfig reads the settings with which Docker runs a container; the zero value if they
// cannot be read.
func (d *discovery) readHostConfig(directory, id string) hostConfig {
	var host hostConfig
	if data, err := d.root.ReadFile(path.Join(directory, id, "hostconfig.json")); err == nil {
		_ = json.Unmarshal(data, &host)
	}
	return host
}

// describeContainer describes the supervisor of a component in a container that belongs to no
// pod: Docker, if it knows the container.
func (d *discovery) describeContainer(p *program) {
	directory := dockerDirectory(p.containerID, p.files)
	c, ok := d.readDocker(directory, p.containerID)
	switch {
	case ok && c.isPods():
		p.component.Note = "runs in the container of a pod that the kubelet's control groups do not name; restart it by its own means"
		return
	case !ok:
		p.component.Note = "runs in a container that neither the kubelet nor systemd started, and that Docker does not know; restart it by its own means"
		return
	case d.readHostConfig(directory, c.ID).AutoRemove:
		p.component.Note = fmt.Sprintf("runs in the Docker container %q, which is removed when it stops (--rm); restart it by what starts it", c.plainName())
		return
	}
	if !slices.Contains(d.dockerDirectories, directory) {
		d.dockerDirectories = append(d.dockerDirectories, directory)
	}
	p.docker = d.readHostConfig(directory, c.ID)
	d.restartByDocker(p, &c)
}

// restartByDocker notes the container of a component, which Docker restarts.
func (d *discovery) restartByDocker(p *program, c *dockerContainer) {
	p.component.Runtime = inventory.Docker
	p.component.ContainerID = c.ID
	p.component.ContainerName = c.plainName()
	if _, ok := d.loadedUnit(dockerUnit); ok {
		p.component.Unit = dockerUnit
	}
}

// readDockerContainers collects the Docker containers that are no components and belong to no
// pod, with the files that they mount or name.
func (d *discovery) readDockerContainers(programs []*program) {
	components := map[string]bool{}
	for _, p := range programs {
		components[p.containerID] = true
	}
	for _, directory := range d.dataDirectories() {
		entries, err := d.root.ReadDir(directory)
		if err != nil {
			continue
		}
		for _, e := range entries[:min(len(entries), maxDockerContainers)] {
			c, ok := d.readDocker(directory, e.Name())
			// One that does not run, such as those that only hold volumes or have done their work,
			// reads the files at its next start.
			if ok && c.State.Running && !components[c.ID] && !c.isPods() {
				d.noteContainer(&c, !d.readHostConfig(directory, c.ID).AutoRemove)
			}
		}
	}
}

// noteContainer records a running Docker container as another user of files.
func (d *discovery) noteContainer(c *dockerContainer, restartable bool) {
	r := reader{files: map[string]bool{}, user: inventory.OtherUser{
		Kind: inventory.OtherContainer, Name: "container " + c.plainName(), ContainerID: c.ID, ContainerName: c.plainName(),
		Restartable: restartable, GraceSeconds: cmp.Or(c.Config.StopTimeout, dockerStopTimeout),
	}}
	for _, m := range c.MountPoints {
		d.noteMount(&r, m.Source)
	}
	words := slices.Concat([]string{c.Path}, c.Args)
	for _, assignment := range c.Config.Env {
		_, value, _ := strings.Cut(assignment, "=")
		words = append(words, value)
	}
	d.noteFiles(r.files, c.fileResolver(), words)
	d.out.readers = append(d.out.readers, r)
}
