package plugin

import (
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// managers are tools that apply an installation, by the label or annotation that each puts
// on its objects. Flux uses Helm, so it comes first; Argo CD's annotation is the default since
// its version 3, a label before, which others set as well.
var managers = []struct{ key, words, hint string }{
	{"helm.toolkit.fluxcd.io/name", "the HelmRelease %q of Flux", ""},
	{"kustomize.toolkit.fluxcd.io/name", "the Kustomization %q of Flux", ""},
	{"argocd.argoproj.io/tracking-id", "the Application %q of Argo CD", ""},
	{"argocd.argoproj.io/instance", "the Application %q of Argo CD", ""},
	{"meta.helm.sh/release-name", "the Helm release %q", "helm upgrade or helm uninstall %s --namespace %s"},
	{"app.kubernetes.io/instance", "the Application %q of Argo CD, or what else has set the label app.kubernetes.io/instance,", ""},
}

// managedBy names the tool that applies an installation, and how it is changed or removed
// there; empty where this plugin or kubectl applies it.
func (i *installation) managedBy() (words, next string) {
	if i == nil || i.agents == nil {
		return "", ""
	}
	for _, m := range managers {
		name := i.agents.Labels[m.key]
		change := "label"
		if name == "" {
			change = "annotate"
			name, _, _ = strings.Cut(i.agents.Annotations[m.key], ":") // Argo CD: APPLICATION:GROUP/KIND:…
		}
		if name == "" {
			continue
		}
		next = fmt.Sprintf("change or remove it in that tool's source; if the tool is no longer used: kubectl -n %s %s daemonset %s %s-", i.namespace, change, manifests.Agent, m.key)
		if m.hint != "" {
			next = fmt.Sprintf(m.hint, name, i.agents.Annotations["meta.helm.sh/release-namespace"])
		}
		return fmt.Sprintf(m.words, name), next
	}
	return "", ""
}

// refuseManaged refuses to change or remove objects that a tool would restore.
func (i *installation) refuseManaged() error {
	words, next := i.managedBy()
	if words == "" {
		return nil
	}
	return hint.AddTo(fmt.Errorf("%s manages the installation in namespace %q", words, i.namespace), "%s", next)
}
