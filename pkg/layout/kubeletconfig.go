package layout

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// kubeletConfig is what matters of a KubeletConfiguration (kubelet.config.k8s.io).
// Pointers tell "not set" from zero.
type kubeletConfig struct {
	StaticPodPath            string `json:"staticPodPath"`
	StaticPodURL             string `json:"staticPodURL"`
	RotateCertificates       *bool  `json:"rotateCertificates"`
	ServerTLSBootstrap       *bool  `json:"serverTLSBootstrap"`
	TLSCertFile              string `json:"tlsCertFile"`
	TLSPrivateKeyFile        string `json:"tlsPrivateKeyFile"`
	ContainerRuntimeEndpoint string `json:"containerRuntimeEndpoint"`
	Address                  string `json:"address"`
	Port                     int    `json:"port"`
	HealthzPort              *int   `json:"healthzPort"`
	HealthzBindAddress       string `json:"healthzBindAddress"`
	Authentication           struct {
		X509 struct {
			ClientCAFile string `json:"clientCAFile"`
		} `json:"x509"`
	} `json:"authentication"`
}

// merge reads a configuration file over what is there already, as the kubelet does
// with its drop-ins: what a file does not mention stays.
func (c *kubeletConfig) merge(data []byte) error {
	if err := yaml.Unmarshal(data, c); err != nil {
		return fmt.Errorf("parse kubelet configuration: %w", err)
	}
	return nil
}

// resolve makes a file's paths absolute: the kubelet takes them relative to it.
func (c *kubeletConfig) resolve(file string) {
	for _, p := range []*string{&c.StaticPodPath, &c.TLSCertFile, &c.TLSPrivateKeyFile, &c.Authentication.X509.ClientCAFile} {
		*p = within(file, *p)
	}
}

// kubeletSettings are the kubelet's flags and configuration, evaluated, with the
// host's paths.
type kubeletSettings struct {
	program *program

	manifests      string // directory or file of static pods; empty: none
	certDir        string
	rotateClient   bool
	bootstrapServe bool   // the serving certificate comes through the CSR API
	cert, key      string // explicit serving pair
	criSocket      string
	port           string // "10250"
	address        string
	health         string // URL, or empty
	clientCA       string
}

const (
	defaultKubeletCertDir = "/var/lib/kubelet/pki"
	defaultKubeletPort    = "10250"
	defaultKubeletHealth  = 10248
)

// readKubelet evaluates a kubelet's flags and configuration files: defaults, the
// file, its drop-ins in the order of their names, then flags.
func (d *discovery) readKubelet(p *program) *kubeletSettings {
	var c kubeletConfig
	for _, file := range d.kubeletConfigFiles(p) {
		host, ok := d.host(p, file)
		if !ok {
			continue
		}
		data, err := d.root.ReadFile(host)
		if err == nil {
			err = c.merge(data)
		}
		if err != nil {
			d.notInspected(certs.Kubelet, host, err.Error())
			continue
		}
		c.resolve(file)
	}
	if c.StaticPodURL != "" {
		d.notInspected(certs.Kubelet, "", "static pods come from a URL: "+withoutPasswords(c.StaticPodURL))
	}
	return d.kubeletSettings(p, c)
}

// kubeletConfigFiles lists the configuration files in the order in which they apply.
func (d *discovery) kubeletConfigFiles(p *program) []string {
	var out []string
	if file := p.args.value("config"); file != "" {
		out = append(out, file)
	}
	dir := p.args.value("config-dir")
	host, ok := d.host(p, dir)
	if !ok {
		return out
	}
	entries, err := d.root.ReadDir(host)
	if err != nil {
		d.notInspected(certs.Kubelet, host, err.Error())
		return out
	}
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".conf") {
			out = append(out, path.Join(dir, e.Name()))
		}
	}
	return out
}

// kubeletSettings lets flags win over the configuration and fills in defaults.
func (d *discovery) kubeletSettings(p *program, c kubeletConfig) *kubeletSettings {
	flag := func(name, otherwise string) string {
		if v := p.args.value(name); v != "" {
			return v
		}
		return otherwise
	}
	host := func(name string) string {
		h, _ := d.host(p, name)
		return h
	}
	toggle := func(name string, configured *bool) bool {
		if v, set := p.args.boolean(name); set {
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
		cert:           host(flag("tls-cert-file", c.TLSCertFile)),
		key:            host(flag("tls-private-key-file", c.TLSPrivateKeyFile)),
		criSocket:      socketPath(flag("container-runtime-endpoint", c.ContainerRuntimeEndpoint)),
		address:        local(flag("address", c.Address)),
		port:           flag("port", defaultKubeletPort),
		clientCA:       host(flag("client-ca-file", c.Authentication.X509.ClientCAFile)),
	}
	if c.Port != 0 && p.args.value("port") == "" {
		s.port = strconv.Itoa(c.Port)
	}
	healthPort := defaultKubeletHealth
	if c.HealthzPort != nil {
		healthPort = *c.HealthzPort
	}
	if v, err := strconv.Atoi(p.args.value("healthz-port")); err == nil {
		healthPort = v
	}
	if healthPort > 0 {
		s.health = "http://" + join(local(flag("healthz-bind-address", c.HealthzBindAddress)), strconv.Itoa(healthPort)) + "/healthz"
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
