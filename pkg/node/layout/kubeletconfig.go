package layout

import (
	"encoding/json"
	"errors"
	"path"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// kubeletConfig holds the relevant fields of a KubeletConfiguration (kubelet.config.k8s.io). A
// nil pointer means "not set".
type kubeletConfig struct {
	StaticPodPath            string `json:"staticPodPath,omitempty"`
	StaticPodURL             string `json:"staticPodURL,omitempty"`
	RotateCertificates       *bool  `json:"rotateCertificates,omitempty"`
	ServerTLSBootstrap       *bool  `json:"serverTLSBootstrap,omitempty"`
	ContainerRuntimeEndpoint string `json:"containerRuntimeEndpoint,omitempty"`
	Address                  string `json:"address,omitempty"`
	Port                     int    `json:"port,omitempty"`
	HealthzPort              *int   `json:"healthzPort,omitempty"`
	HealthzBindAddress       string `json:"healthzBindAddress,omitempty"`
}

// kubeletSettings are the kubelet's flags and configuration, evaluated, with the
// host's paths.
type kubeletSettings struct {
	program *program

	manifests      string // directory or file of static pods; empty: none
	certDir        string
	rotateClient   bool
	bootstrapServe bool   // the serving certificate comes through the CSR API
	files          values // its values of the settings in the table
	criSocket      string
	port           string // "10250"
	address        string
	health         string // URL, or empty
}

const (
	defaultKubeletCertDir = "/var/lib/kubelet/pki"
	defaultKubeletPort    = "10250"
	defaultKubeletHealth  = 10248
)

// readKubelet evaluates a kubelet's flags and configuration files: defaults, the
// file, its drop-ins in the order of their names, then flags.
func (d *discovery) readKubelet(p *program) *kubeletSettings {
	c, base := d.kubeletConfigFile(p)
	merged := base
	for _, host := range d.kubeletDropIns(p) {
		patch, err := d.readYAML(host)
		if err == nil {
			patch, err = jsonpatch.MergePatch(merged, patch)
		}
		if err != nil {
			d.notInspected(certs.Kubelet, host, "merge kubelet configuration: "+err.Error())
			continue
		}
		merged = patch
	}
	var out kubeletConfig
	if err := json.Unmarshal(merged, &out); err != nil {
		d.notInspected(certs.Kubelet, p.args.lastValue("config-dir"), "merge kubelet configuration: a field of a drop-in has the wrong type")
		out = c
		merged = base
	}
	if out.StaticPodURL != "" {
		d.notInspectedByDesign(certs.Kubelet, "", "static pods come from a URL: "+withoutPasswords(out.StaticPodURL))
	}
	return d.kubeletSettings(p, out, kubeletFiles(p, merged))
}

// kubeletConfigFile reads the file of --config. It also returns it as JSON, with absolute paths.
func (d *discovery) kubeletConfigFile(p *program) (c kubeletConfig, whole []byte) {
	file := p.args.lastValue("config")
	host, ok := d.hostPath(p, file)
	if !ok {
		return c, []byte("{}")
	}
	data, err := d.readYAML(host)
	if err == nil {
		data, err = absolutePaths(data, file)
	}
	if err == nil {
		if err = json.Unmarshal(data, &c); err != nil {
			err = errors.New("parse kubelet configuration: a field has the wrong type")
		}
	}
	if err != nil {
		d.notInspected(certs.Kubelet, host, err.Error())
		return kubeletConfig{}, []byte("{}")
	}
	return c, data
}

// readYAML reads a file of YAML or JSON as JSON.
func (d *discovery) readYAML(host string) ([]byte, error) {
	data, err := d.root.ReadFile(host)
	if err != nil {
		return nil, err
	}
	if data, err = yaml.YAMLToJSON(data); err != nil {
		return nil, errors.New("parse kubelet configuration: neither YAML nor JSON")
	}
	return data, nil
}

// maxDropIns limits the number of drop-ins, and maxDropInDepth their depth.
const (
	maxDropIns     = 256
	maxDropInDepth = 16
)

// kubeletDropIns lists the files of --config-dir in the order in which they apply: all
// "*.conf" below it, in lexical order, as the kubelet walks it (mergeKubeletConfigurations
// in cmd/kubelet/app/server.go; links to directories are not followed).
func (d *discovery) kubeletDropIns(p *program) []string {
	top, ok := d.hostPath(p, p.args.lastValue("config-dir"))
	if !ok {
		return nil
	}
	var out []string
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		entries, err := d.root.ReadDir(dir)
		if err != nil {
			d.notInspected(certs.Kubelet, dir, err.Error())
			return
		}
		for _, e := range entries {
			switch file := path.Join(dir, e.Name()); {
			case e.IsDir() && depth < maxDropInDepth:
				walk(file, depth+1)
			case !e.IsDir() && path.Ext(e.Name()) == ".conf" && len(out) < maxDropIns:
				out = append(out, file)
			}
		}
	}
	walk(top, 0)
	return out
}

// kubeletSettings applies flags over the configuration and fills in defaults.
func (d *discovery) kubeletSettings(p *program, c kubeletConfig, files values) *kubeletSettings {
	flag := func(name, otherwise string) string {
		if v, set := p.args.lookupFlag(name); set {
			return v // also an empty one: flags take precedence over files
		}
		return otherwise
	}
	host := func(name string) string {
		h, _ := d.hostPath(p, name)
		return h
	}
	toggle := func(name string, configured *bool) bool {
		if v, set := p.args.booleanFlag(name); set {
			return v
		}
		return configured != nil && *configured
	}
	s := &kubeletSettings{
		program:        p,
		manifests:      host(flag("pod-manifest-path", c.StaticPodPath)),
		certDir:        host(flag("cert-dir", defaultKubeletCertDir)),
		rotateClient:   toggle("rotate-certificates", c.RotateCertificates),
		bootstrapServe: toggle("rotate-server-certificates", c.ServerTLSBootstrap),
		files:          files,
		criSocket:      socketPath(flag("container-runtime-endpoint", c.ContainerRuntimeEndpoint)),
		address:        localAddress(flag("address", c.Address)),
		port:           flag("port", defaultKubeletPort),
	}
	if c.Port != 0 && p.args.lastValue("port") == "" {
		s.port = strconv.Itoa(c.Port)
	}
	healthPort := defaultKubeletHealth
	if c.HealthzPort != nil {
		healthPort = *c.HealthzPort
	}
	if v, err := strconv.Atoi(p.args.lastValue("healthz-port")); err == nil {
		healthPort = v
	}
	if healthPort > 0 {
		s.health = "http://" + joinHostPort(localAddress(flag("healthz-bind-address", c.HealthzBindAddress)), strconv.Itoa(healthPort)) + "/healthz"
	}
	return s
}

// socketPath is the path in a "unix://" endpoint; other kinds have none.
func socketPath(endpoint string) string {
	p := strings.TrimPrefix(endpoint, "unix://")
	if !path.IsAbs(p) {
		return ""
	}
	return path.Clean(p)
}
