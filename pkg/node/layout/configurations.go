package layout

import (
	"encoding/json"
	"path"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// addConfigurations records the client certificates and CAs that an API server is given in
// configuration files. Their servers may not be part of the cluster, so the only evidence for
// these certificates is the API server's health after its restart.
func (d *discovery) addConfigurations(p *program) {
	p.orHost = true
	defer func() { p.orHost = false }()
	d.addAuthorizationConfig(p, p.args.lastValue("authorization-config"))
	d.addAdmissionConfig(p, p.args.lastValue("admission-control-config-file"))
	d.addEgressConfig(p, p.args.lastValue("egress-selector-config-file"))
}

// readConfiguration reads a configuration file, YAML or JSON, into out. An unreadable file is
// recorded.
func (d *discovery) readConfiguration(p *program, file string, out any) bool {
	host, ok := d.hostPath(p, file)
	if !ok {
		return false
	}
	data, err := d.root.ReadFile(host)
	if err == nil {
		err = yaml.Unmarshal(data, out)
	}
	if err != nil {
		d.notInspected(p.service, host, "read configuration: "+err.Error())
		return false
	}
	return true
}

// addAuthorizationConfig reads an AuthorizationConfiguration (apiserver.config.k8s.io).
func (d *discovery) addAuthorizationConfig(p *program, file string) {
	var c struct {
		Authorizers []struct {
			Webhook struct {
				ConnectionInfo struct {
					KubeConfigFile string `json:"kubeConfigFile"`
				} `json:"connectionInfo"`
			} `json:"webhook"`
		} `json:"authorizers"`
	}
	if !d.readConfiguration(p, file, &c) {
		return
	}
	for _, a := range c.Authorizers {
		d.addWebhookConfig(p, file, a.Webhook.ConnectionInfo.KubeConfigFile, false)
	}
}

// admissionPlugin holds the relevant fields of an admission plugin's configuration: of
// ImagePolicyWebhook, or a WebhookAdmissionConfiguration.
type admissionPlugin struct {
	ImagePolicy struct {
		KubeConfigFile string `json:"kubeConfigFile"`
	} `json:"imagePolicy"`
	KubeConfigFile string `json:"kubeConfigFile"`
}

// addAdmissionConfig reads an AdmissionConfiguration, or, as k8s.io/apiserver/pkg/admission
// does, only the configuration of ImagePolicyWebhook.
func (d *discovery) addAdmissionConfig(p *program, file string) {
	var c struct {
		admissionPlugin
		Plugins []struct {
			Path          string          `json:"path"`
			Configuration json.RawMessage `json:"configuration"`
		} `json:"plugins"`
	}
	if !d.readConfiguration(p, file, &c) {
		return
	}
	d.addAdmissionPlugin(p, file, c.admissionPlugin)
	for _, plugin := range c.Plugins {
		var config admissionPlugin
		switch {
		case len(plugin.Configuration) > 0 && string(plugin.Configuration) != "null":
			if err := json.Unmarshal(plugin.Configuration, &config); err == nil {
				d.addAdmissionPlugin(p, file, config)
			}
		case plugin.Path != "":
			at := pathWithin(file, plugin.Path)
			if d.readConfiguration(p, at, &config) {
				d.addAdmissionPlugin(p, at, config)
			}
		}
	}
}

func (d *discovery) addAdmissionPlugin(p *program, file string, c admissionPlugin) {
	d.addWebhookConfig(p, file, c.ImagePolicy.KubeConfigFile, false)
	d.addWebhookConfig(p, file, c.KubeConfigFile, true)
}

// addWebhookConfig records the certificates in a kubeconfig of webhooks: the current user's
// client certificate, or those of all users, since the admission webhooks choose theirs by the
// webhook's host (k8s.io/apiserver/pkg/util/webhook/authentication.go).
func (d *discovery) addWebhookConfig(p *program, file, conf string, everyUser bool) {
	if conf = d.resolveBeside(p, file, conf); conf == "" {
		return
	}
	if !everyUser {
		d.addKubeconfig(p, conf, path.Base(conf), false)
		return
	}
	k, host, ok := d.readKubeconfig(p, conf)
	if !ok {
		return
	}
	for i := range k.Users {
		u := &k.Users[i]
		d.apiClient(p, conf, host, u) // its CA file
		d.addUser(p, conf, u, role{name: path.Base(conf)})
	}
}

// resolveBeside resolves a path in a configuration file. The API server takes relative paths
// from its working directory, or refuses them; if such a file does not exist, but one beside
// the configuration file does, that one is used.
func (d *discovery) resolveBeside(p *program, file, name string) string {
	if name == "" || path.IsAbs(name) || d.seesFile(p, name) || !d.seesFile(p, pathWithin(file, name)) {
		return name
	}
	return pathWithin(file, name)
}

func (d *discovery) seesFile(p *program, name string) bool {
	host, err := d.locatePath(p, name)
	if err != nil {
		return false
	}
	_, err = d.root.Stat(host)
	return err == nil
}

// addEgressConfig reads an EgressSelectorConfiguration. One client certificate may serve
// several selections.
func (d *discovery) addEgressConfig(p *program, file string) {
	var c struct {
		EgressSelections []struct {
			Name       string `json:"name"`
			Connection struct {
				Transport struct {
					TCP struct {
						TLSConfig struct {
							CABundle   string `json:"caBundle"`
							ClientKey  string `json:"clientKey"`
							ClientCert string `json:"clientCert"`
						} `json:"tlsConfig"`
					} `json:"tcp"`
				} `json:"transport"`
			} `json:"connection"`
		} `json:"egressSelections"`
	}
	if !d.readConfiguration(p, file, &c) {
		return
	}
	var bundles []string
	for _, s := range c.EgressSelections {
		tls := s.Connection.Transport.TCP.TLSConfig
		d.addNamedPair(p, d.resolveBeside(p, file, tls.ClientCert), d.resolveBeside(p, file, tls.ClientKey), role{name: "egress-client"})
		if ca := d.resolveBeside(p, file, tls.CABundle); ca != "" && !slices.Contains(bundles, ca) {
			bundles = append(bundles, ca)
			d.addAuthority(p, ca, "")
		}
	}
}

// readKubeconfig reads a kubeconfig that a component names and returns its host path. An
// unreadable file is recorded.
func (d *discovery) readKubeconfig(p *program, conf string) (*KubeconfigFile, string, bool) {
	host, ok := d.hostPath(p, conf)
	if !ok {
		return nil, "", false
	}
	d.configs[d.storeKey(inventory.Store{Cert: host})] = host
	k, err := d.kubeconfigAt(host)
	if err != nil {
		d.notInspected(p.service, host, err.Error())
		return nil, host, false
	}
	return k, host, true
}
