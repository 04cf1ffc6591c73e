package plugin

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

// parsedKubeconfig is one reading of the kubeconfig's files. It is not changed afterwards: with
// thousands of contexts, parsing them for every page takes seconds.
type parsedKubeconfig struct {
	files    string // their names, sizes and times
	raw      clientcmdapi.Config
	contexts []dashboard.Context
}

// parseKubeconfig reads the kubeconfig, unless its files are those of an earlier reading.
func (f *connectionFlags) parseKubeconfig(before *parsedKubeconfig) (*parsedKubeconfig, error) {
	own, err := f.copyFlags()
	if err != nil {
		return nil, err
	}
	loader := own.ToRawKubeConfigLoader()
	files := describeFiles(loader.ConfigAccess().GetLoadingPrecedence())
	if before != nil && before.files == files {
		return before, nil
	}
	out := &parsedKubeconfig{files: files}
	if out.raw, err = loader.RawConfig(); err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	out.contexts, err = own.listContexts(out.raw)
	return out, err
}

// describeFiles is a text that differs once one of the files has changed.
func describeFiles(names []string) string {
	out := ""
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			out += fmt.Sprintf("%q is not there\n", name)
			continue
		}
		out += fmt.Sprintf("%q %d %s\n", name, info.Size(), info.ModTime())
	}
	return out
}

// listContexts lists the contexts that the flags leave.
func (f *connectionFlags) listContexts(raw clientcmdapi.Config) ([]dashboard.Context, error) {
	current := raw.CurrentContext
	if *f.Context != "" {
		current = *f.Context
	}
	if len(raw.Contexts) == 0 {
		return f.onlyContext()
	}
	var out []dashboard.Context
	for _, name := range slices.Sorted(maps.Keys(raw.Contexts)) {
		out = append(out, describeContext(name, raw, name == current))
	}
	if !f.oneCluster() {
		return out, nil
	}
	at := slices.IndexFunc(out, func(c dashboard.Context) bool { return c.Name == current })
	if at < 0 {
		return nil, unknownContext(current, out)
	}
	if *f.APIServer != "" {
		out[at].Server = *f.APIServer
	}
	return out[at : at+1], nil
}

// forContext are the same flags for one of the contexts. They read no file: the kubeconfig may
// have changed meanwhile. Only the connection of a pod or of --server is not of the kubeconfig.
func (f *connectionFlags) forContext(parsed *parsedKubeconfig, name string) (*connectionFlags, error) {
	own, err := f.copyFlags()
	if err != nil || len(parsed.raw.Contexts) == 0 {
		return own, err
	}
	if err := own.set.Set("context", name); err != nil {
		return nil, fmt.Errorf("--context: %w", err)
	}
	files := own.ToRawKubeConfigLoader().ConfigAccess()
	overrides, err := own.overridesOfFlags()
	if err != nil {
		return nil, err
	}
	own.loader = clientcmd.NewNonInteractiveClientConfig(parsed.onlyContext(name, overrides.Context), name, overrides, files)
	return own, nil
}

// onlyContext is a copy of what one context needs: client-go changes parts of a kubeconfig when it
// makes a connection.
func (p *parsedKubeconfig) onlyContext(name string, override clientcmdapi.Context) clientcmdapi.Config {
	out := clientcmdapi.NewConfig()
	out.CurrentContext = name
	of := p.raw.Contexts[name].DeepCopy()
	out.Contexts[name] = of
	for _, cluster := range []string{of.Cluster, override.Cluster} {
		if found := p.raw.Clusters[cluster]; found != nil {
			out.Clusters[cluster] = found.DeepCopy()
		}
	}
	for _, user := range []string{of.AuthInfo, override.AuthInfo} {
		if found := p.raw.AuthInfos[user]; found != nil {
			out.AuthInfos[user] = found.DeepCopy()
		}
	}
	return *out
}

// overridesOfFlags are the parts of a context that flags replace.
func (f *connectionFlags) overridesOfFlags() (*clientcmd.ConfigOverrides, error) {
	out := &clientcmd.ConfigOverrides{ClusterDefaults: clientcmd.ClusterDefaults}
	bound := pflag.NewFlagSet("overrides", pflag.ContinueOnError)
	clientcmd.BindOverrideFlags(out, bound, clientcmd.RecommendedConfigOverrideFlags(""))
	for _, extra := range *f.ImpersonateUserExtra {
		if key, value, found := strings.Cut(extra, "="); found {
			if out.AuthInfo.ImpersonateUserExtra == nil {
				out.AuthInfo.ImpersonateUserExtra = map[string][]string{}
			}
			out.AuthInfo.ImpersonateUserExtra[key] = append(out.AuthInfo.ImpersonateUserExtra[key], value)
		}
	}
	return out, copyValues(bound, f.set)
}
