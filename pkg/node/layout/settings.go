package layout

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// values returns a component's values of a setting, by the name of its flag.
type values func(flag string) []string

// lastValue is the effective value of a setting that may not be repeated.
func (v values) lastValue(flag string) string {
	if all := v(flag); len(all) > 0 && flag != "" {
		return all[len(all)-1]
	}
	return ""
}

// withValue returns the same settings with another value for one of them.
func (v values) withValue(flag, value string) values {
	return func(f string) []string {
		if f == flag {
			return []string{value}
		}
		return v(f)
	}
}

// verificationPlace is a place to verify the use of a certificate: an endpoint that serves it,
// or a server that the component authenticates to.
type verificationPlace struct {
	served []inventory.Served
	client *inventory.Client
}

// addSettings records the files that a component's settings name, in the order of the table.
// Files that need more than the table are recorded by the component's own function: pairs that a
// component makes itself, and files that a configuration file names.
func (d *discovery) addSettings(p *program, get values, places map[settings.Verification]verificationPlace) {
	var kubeconfigs []string
	for _, row := range settings.RowsOf(p.service) {
		if row.Flag == "" {
			continue // no flag names it: the component's own function records it
		}
		switch row.Names {
		case settings.CABundle:
			d.addAuthority(p, get.lastValue(row.Flag), "")
		case settings.SigningCertificate:
			d.addAuthority(p, get.lastValue(row.Flag), get.lastValue(row.Key))
		case settings.SigningKey:
			d.addKeyUse(p, inventory.SigningKey, row.SettingName(), get.lastValue(row.Flag))
		case settings.TokenKey:
			for _, file := range get(row.Flag) {
				d.addKeyUse(p, inventory.ServiceAccountKey, row.SettingName(), file)
			}
		case settings.EtcdAuthKey:
			d.addEtcdAuthKeys(p, row.SettingName(), get.lastValue(row.Flag))
		case settings.Certificate:
			at := places[row.Verification]
			d.addNamedPair(p, get.lastValue(row.Flag), get.lastValue(row.Key), role{name: row.Role, served: at.served, client: at.client})
		case settings.SNIPairs:
			d.addSNI(p, row.Role, get(row.Flag), places[row.Verification].served)
		case settings.Kubeconfig:
			// Often one file for several purposes.
			if conf := get.lastValue(row.Flag); !slices.Contains(kubeconfigs, conf) {
				kubeconfigs = append(kubeconfigs, conf)
				d.addKubeconfigOf(p, row, conf)
			}
		}
	}
}

// addKubeconfigOf records the client certificate of a kubeconfig that a setting names.
func (d *discovery) addKubeconfigOf(p *program, row settings.Setting, conf string) {
	name := cmp.Or(row.Role, path.Base(conf))
	without := d.addKubeconfig(p, conf, name, row.Verification == settings.APIServer)
	if without != "" && row.Role != "" {
		p.component.Note = joinNotes(p.component.Note, "authenticates with "+without+", so it has no client certificate")
	}
}

// addEtcdAuthKeys records the keys of --auth-token=jwt,pub-key=…,priv-key=….
func (d *discovery) addEtcdAuthKeys(p *program, setting, value string) {
	for _, option := range splitList(value) {
		if name, file, _ := strings.Cut(option, "="); name == "pub-key" || name == "priv-key" {
			d.addKeyUse(p, inventory.EtcdAuthKey, setting, file)
		}
	}
}
