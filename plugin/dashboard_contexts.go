package plugin

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/dashboard"
)

// inCluster is the name of the context of a pod, which has no kubeconfig.
const inCluster = "in-cluster"

// ofOneCluster are the flags that replace a part of a context. They are for one cluster, so
// that only one context is shown with them.
var ofOneCluster = []string{"context", "cluster", "user", "server", "token", "client-certificate", "client-key", "username", "password", "certificate-authority", "tls-server-name"}

// kubeContexts are the clusters of the kubeconfig. A file that changes is read again; while it
// cannot be read, the contexts are those of the last time.
type kubeContexts struct {
	app    *app
	flags  *connectionFlags
	ending *endings

	mu   sync.Mutex
	last []dashboard.Context
}

// openContexts reads the kubeconfig. stopped is closed when the command is interrupted.
func (a *app) openContexts(flags *connectionFlags, stopped <-chan struct{}) (*kubeContexts, error) {
	found, err := flags.listContexts()
	if err != nil {
		return nil, err
	}
	return &kubeContexts{app: a, flags: flags, ending: &endings{stopped: stopped}, last: found}, nil
}

// Contexts lists the contexts, sorted by name.
func (k *kubeContexts) Contexts() []dashboard.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	if found, err := k.flags.listContexts(); err == nil {
		k.last = found
	}
	return slices.Clone(k.last)
}

// Open makes the connection of a context.
func (k *kubeContexts) Open(name string) (dashboard.Cluster, error) {
	known := k.Contexts()
	if !slices.ContainsFunc(known, func(c dashboard.Context) bool { return c.Name == name }) {
		return nil, unknownContext(name, known)
	}
	flags, err := k.flags.forContext(name)
	if err != nil {
		return nil, err
	}
	conn, err := flags.newConnection()
	if err != nil {
		return nil, explainError(err, flags)
	}
	return &contextCluster{app: k.app.quietCopy(), shown: k.app, flags: flags, conn: conn, name: name, ending: k.ending}, nil
}

// quietCopy is the same program without its streams. Pages say instead the same as it would print.
func (a *app) quietCopy() *app {
	return &app{
		IOStreams: genericiooptions.NewTestIOStreamsDiscard(), command: a.command, now: a.now, hurry: a.hurry,
		dial: a.dial, survey: a.survey, readPolicy: a.readPolicy, readReports: a.readReports,
	}
}

// listContexts lists the contexts that the flags leave.
func (f *connectionFlags) listContexts() ([]dashboard.Context, error) {
	same, err := f.copyFlags()
	if err != nil {
		return nil, err
	}
	raw, err := same.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	current := raw.CurrentContext
	if *f.Context != "" {
		current = *f.Context
	}
	if len(raw.Contexts) == 0 {
		return same.onlyContext()
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

// oneCluster reports whether a flag is given that is for one cluster.
func (f *connectionFlags) oneCluster() bool {
	return slices.ContainsFunc(ofOneCluster, func(name string) bool {
		flag := f.set.Lookup(name)
		return flag != nil && flag.Changed
	})
}

// onlyContext is the context where no kubeconfig has one: that of the pod, or that of --server.
func (f *connectionFlags) onlyContext() ([]dashboard.Context, error) {
	config, err := f.ToRESTConfig()
	if err != nil {
		return nil, explainError(err, f)
	}
	if *f.APIServer == "" && strings.HasSuffix(config.Host, "://localhost:8080") { // the default of kubectl
		return nil, errors.New(noKubeconfig)
	}
	name := inCluster
	if *f.APIServer != "" {
		name = config.Host
	}
	return []dashboard.Context{{Name: name, Server: config.Host, Current: true}}, nil
}

func describeContext(name string, raw clientcmdapi.Config, current bool) dashboard.Context {
	of := raw.Contexts[name]
	out := dashboard.Context{Name: name, Cluster: of.Cluster, User: of.AuthInfo, Current: current}
	if cluster := raw.Clusters[of.Cluster]; cluster != nil {
		out.Server = cluster.Server
	}
	return out
}

func unknownContext(name string, known []dashboard.Context) error {
	names := make([]string, 0, len(known))
	for _, c := range known {
		names = append(names, c.Name)
	}
	return fmt.Errorf("the kubeconfig has no context %q\nhint: its contexts are %s", name, printers.SomeNames(names))
}

// forContext are the same flags for one context of the kubeconfig.
func (f *connectionFlags) forContext(name string) (*connectionFlags, error) {
	own, err := f.copyFlags()
	if err != nil {
		return nil, err
	}
	raw, err := own.ToRawKubeConfigLoader().RawConfig()
	if err != nil || raw.Contexts[name] == nil {
		return own, err // the only one, which is not of a kubeconfig
	}
	if own, err = f.copyFlags(); err != nil {
		return nil, err
	}
	return own, own.set.Set("context", name)
}

// copyFlags are flags with the same values. They read the kubeconfig anew.
func (f *connectionFlags) copyFlags() (*connectionFlags, error) {
	own := newConnectionFlags()
	own.image = f.image
	own.pullSecret = f.pullSecret
	var err error
	f.set.VisitAll(func(flag *pflag.Flag) {
		if !flag.Changed || err != nil {
			return
		}
		values := []string{flag.Value.String()}
		if several, ok := flag.Value.(pflag.SliceValue); ok {
			values = several.GetSlice()
		}
		for _, value := range values {
			if err = own.set.Set(flag.Name, value); err != nil {
				err = fmt.Errorf("--%s: %w", flag.Name, err)
				return
			}
		}
	})
	return own, err
}
