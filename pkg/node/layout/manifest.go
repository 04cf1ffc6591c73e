package layout

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// pod holds the relevant fields of a static pod's manifest. Other fields are not declared, so
// that a change in a newer Kubernetes cannot make a manifest unreadable.
type pod struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		HostNetwork    bool        `json:"hostNetwork"`
		InitContainers []container `json:"initContainers"`
		Containers     []container `json:"containers"`
		Volumes        []volume    `json:"volumes"`
		// GracePeriod is 30 seconds where it is not set.
		GracePeriod *int64 `json:"terminationGracePeriodSeconds"`
	} `json:"spec"`
}

type container struct {
	Name       string   `json:"name"`
	Image      string   `json:"image"`
	Command    []string `json:"command"`
	Args       []string `json:"args"`
	WorkingDir string   `json:"workingDir"`
	// RestartPolicy is "Always" where an init container runs as long as its pod.
	RestartPolicy string `json:"restartPolicy"`
	Env           []struct {
		Name  string  `json:"name"`
		Value *string `json:"value"`
	} `json:"env"`
	VolumeMounts []struct {
		Name        string `json:"name"`
		MountPath   string `json:"mountPath"`
		SubPath     string `json:"subPath"`
		SubPathExpr string `json:"subPathExpr"`
		ReadOnly    bool   `json:"readOnly"`
	} `json:"volumeMounts"`
}

type volume struct {
	Name     string `json:"name"`
	HostPath *struct {
		Path string `json:"path"`
	} `json:"hostPath"`
}

// parseManifest reads a static pod from YAML or JSON.
func parseManifest(data []byte) (*pod, error) {
	var p pod
	if err := yaml.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("parse manifest: %w", err)
	}
	if p.Kind != "Pod" {
		return nil, errors.New("parse manifest: not a pod")
	}
	p.Metadata.Namespace = cmp.Or(p.Metadata.Namespace, "default")
	return &p, nil
}

// gracePeriod is how long the pod's containers may take to exit, in seconds.
func (p *pod) gracePeriod() int64 {
	if p.Spec.GracePeriod == nil || *p.Spec.GracePeriod < 1 {
		return defaultGracePeriod
	}
	return *p.Spec.GracePeriod
}

// defaultGracePeriod is v1.DefaultTerminationGracePeriodSeconds of the API.
const defaultGracePeriod = 30

// literalVariables are the container's variables that the manifest spells out.
func (c *container) literalVariables() map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		if e.Value != nil {
			env[e.Name] = expandPod(*e.Value, env)
		}
	}
	return env
}

// recognizeComponent finds the component that a container runs: if the manifest has no command,
// by the container's or the image's name.
func (c *container) recognizeComponent(env map[string]string) (recognized, bool) {
	var argv []string
	for _, w := range append(append([]string{}, c.Command...), c.Args...) {
		argv = append(argv, expandPod(w, env))
	}
	if r, ok := recognizeArgs(argv); ok {
		return r, true
	}
	if len(c.Command) > 0 || !hasFlag(argv) {
		return recognized{}, false
	}
	for _, name := range []string{c.Name, imageName(c.Image)} {
		if s, ok := serviceNamed(name); ok {
			return recognized{service: s, args: argv, direct: true}, true
		}
	}
	return recognized{}, false
}

// imageName is the last part of an image reference, without tag and digest.
func imageName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	ref = path.Base(ref)
	ref, _, _ = strings.Cut(ref, ":")
	return ref
}

// pathResolver translates the container's paths through its hostPath volumes.
func (p *pod) pathResolver(c *container, env map[string]string) resolver {
	r := resolver{inContainer: true, workDir: c.WorkingDir}
	for _, m := range c.VolumeMounts {
		found := mount{container: path.Clean(m.MountPath), readOnly: m.ReadOnly}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expandPod(m.SubPathExpr, env)
		}
		for _, v := range p.Spec.Volumes {
			if v.Name == m.Name && v.HostPath != nil && v.HostPath.Path != "" {
				found.host = path.Join("/", v.HostPath.Path, path.Join("/", sub))
			}
		}
		r.mounts = append(r.mounts, found)
	}
	return r
}
