package plugin

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
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
	last *parsedKubeconfig
}

// openContexts reads the kubeconfig. stopped is closed when the command is interrupted.
func (a *app) openContexts(flags *connectionFlags, stopped <-chan struct{}) (*kubeContexts, error) {
	found, err := flags.parseKubeconfig(nil)
	if err != nil {
		return nil, err
	}
	return &kubeContexts{app: a, flags: flags, ending: &endings{stopped: stopped}, last: found}, nil
}

// parsedNow is the kubeconfig as it is now.
func (k *kubeContexts) parsedNow() *parsedKubeconfig {
	k.mu.Lock()
	defer k.mu.Unlock()
	if found, err := k.flags.parseKubeconfig(k.last); err == nil {
		k.last = found
	}
	return k.last
}

// Contexts lists the contexts, sorted by name.
func (k *kubeContexts) Contexts() []dashboard.Context {
	return slices.Clone(k.parsedNow().contexts)
}

// Open makes the connection of a context. Everything about it is of the same reading of the
// kubeconfig: one that is read twice may have lost the context in between.
func (k *kubeContexts) Open(name string) (dashboard.Cluster, error) {
	parsed := k.parsedNow()
	at := slices.IndexFunc(parsed.contexts, func(c dashboard.Context) bool { return c.Name == name })
	if at < 0 {
		return nil, unknownContext(name, parsed.contexts)
	}
	flags, err := k.flags.forContext(parsed, name)
	if err != nil {
		return nil, err
	}
	conn, err := flags.newConnection()
	if err != nil {
		return nil, explainError(err, flags)
	}
	if server := parsed.contexts[at].Server; len(parsed.raw.Contexts) == 0 && conn.config.Host != server {
		return nil, hint.AddTo(fmt.Errorf("the API server of %q was %s, and is %s now", name, server, conn.config.Host), "start the dashboard again")
	}
	neverPrompt(conn.config)
	return &contextCluster{app: k.app.quietCopy(), shown: k.app, flags: flags, conn: conn, name: name, ending: k.ending}, nil
}

// neverPrompt keeps programs that sign in from asking on the terminal: several clusters are
// read at once, and a prompt would hold up a page.
func neverPrompt(config *rest.Config) {
	if config.ExecProvider == nil {
		return
	}
	program := config.ExecProvider.DeepCopy() // the kubeconfig that is kept has it, too
	program.StdinUnavailable = true
	program.StdinUnavailableMessage = "the dashboard cannot ask for it; sign in with kubectl first"
	config.ExecProvider = program
}

// quietCopy is the same program without its streams. Pages say instead the same as it would print.
func (a *app) quietCopy() *app {
	return &app{
		IOStreams: genericiooptions.NewTestIOStreamsDiscard(), command: a.command, now: a.now, hurry: a.hurry,
		dial: a.dial, survey: a.survey, readPolicy: a.readPolicy, readReports: a.readReports,
	}
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
		return nil, errNoKubeconfig
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
		out.Key = clusterKey(cluster)
	}
	return out
}

// clusterKey is the same for two contexts only if their requests reach the same API server: behind a
// tunnel or a proxy, one address may lead to several clusters.
func clusterKey(c *clientcmdapi.Cluster) string {
	parts := []string{c.Server, c.TLSServerName, c.ProxyURL, c.CertificateAuthority, string(c.CertificateAuthorityData)}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00"))))
}

func unknownContext(name string, known []dashboard.Context) error {
	names := make([]string, 0, len(known))
	for _, c := range known {
		names = append(names, c.Name)
	}
	return hint.AddTo(fmt.Errorf("the kubeconfig has no context %q", name), "its contexts are %s", printers.SomeNames(names))
}

// copyFlags are flags with the same values. They read the kubeconfig anew.
func (f *connectionFlags) copyFlags() (*connectionFlags, error) {
	own := newConnectionFlags()
	own.image = f.image
	own.pullSecret = f.pullSecret
	return own, copyValues(own.set, f.set)
}

// copyValues gives flags the values of others, as far as they have them.
func copyValues(to, from *pflag.FlagSet) error {
	var err error
	from.VisitAll(func(flag *pflag.Flag) {
		if !flag.Changed || err != nil || to.Lookup(flag.Name) == nil {
			return
		}
		values := []string{flag.Value.String()}
		if several, ok := flag.Value.(pflag.SliceValue); ok {
			values = several.GetSlice()
		}
		for _, value := range values {
			if err = to.Set(flag.Name, value); err != nil {
				err = fmt.Errorf("--%s: %w", flag.Name, err)
				return
			}
		}
	})
	return err
}
