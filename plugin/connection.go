package plugin

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"

	// Authentication by the tools of cloud providers.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

// defaultNamespace is where node pods run, not the namespace of the context: kube-system is
// usually allowed to run privileged pods.
const defaultNamespace = kube.DefaultNamespace

// connection is how to reach the cluster and how node pods are made.
type connection struct {
	config     *rest.Config
	identity   *identity // nil: no client certificate
	namespace  string
	image      string
	pullSecret string
	takeOver   bool   // take the lock although another rotation holds it
	remembered string // file for the names of the cluster's nodes
}

// connectionFlags are all of kubectl's flags for reaching a cluster, and ours for the
// pods on its nodes.
type connectionFlags struct {
	*genericclioptions.ConfigFlags
	set        *pflag.FlagSet
	verbosity  int
	image      string
	pullSecret string
	loader     clientcmd.ClientConfig // of a kubeconfig that was read already; nil: of the files
}

// ToRawKubeConfigLoader is the kubeconfig with what the flags replace in it.
func (f *connectionFlags) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	if f.loader != nil {
		return f.loader
	}
	return f.ConfigFlags.ToRawKubeConfigLoader()
}

// ToRESTConfig is the connection that kubeconfig and flags describe.
func (f *connectionFlags) ToRESTConfig() (*rest.Config, error) {
	if f.loader == nil {
		return f.ConfigFlags.ToRESTConfig()
	}
	config, err := f.loader.ClientConfig()
	if err != nil {
		return nil, err
	}
	return f.WrapConfigFn(config), nil
}

func newConnectionFlags() *connectionFlags {
	namespace := defaultNamespace
	f := &connectionFlags{ConfigFlags: genericclioptions.NewConfigFlags(true), set: pflag.NewFlagSet("connection", pflag.ContinueOnError)}
	f.Namespace = &namespace
	f.ConfigFlags = f.WithWrapConfigFn(func(c *rest.Config) *rest.Config {
		// A rotation works on many nodes at once; kubectl's own limits are too low for that.
		c.QPS = 100
		c.Burst = 200
		c.UserAgent = "kubectl-rotate-certs/" + version.Version + " " + rest.DefaultKubernetesUserAgent()
		return c
	}).WithWarningPrinter(genericclioptions.IOStreams{})
	f.AddFlags(f.set)
	f.set.Lookup("namespace").Usage = "Namespace of the node pods; that of the context is not used"
	f.set.IntVarP(&f.verbosity, "v", "v", 0, "Number for the log level verbosity; 6 logs every request to the API server")
	return f
}

// addPodFlags adds the flags of node pods to a command's own flags.
func (f *connectionFlags) addPodFlags(set *pflag.FlagSet) {
	set.StringVar(&f.image, "image", version.NodeImage(), "Image of the pods that work on nodes")
	set.StringVar(&f.pullSecret, "image-pull-secret", "", "Secret in the namespace to pull the image with")
}

// newConnection resolves the flags; it sends no request yet.
func (f *connectionFlags) newConnection() (connection, error) {
	config, err := f.ToRESTConfig()
	if err != nil {
		return connection{}, fmt.Errorf("read the kubeconfig: %w", err)
	}
	where := "your kubeconfig"
	if file := f.ToRawKubeConfigLoader().ConfigAccess().GetDefaultFilename(); file != "" {
		where = file
	}
	return connection{
		config: config, identity: clientIdentity(config, where),
		namespace: *f.Namespace, image: f.image, pullSecret: f.pullSecret,
		remembered: rememberedFile(*f.CacheDir, config),
	}, nil
}

// repeatable are the flags to repeat in a command that is proposed. None may hold a
// credential.
var repeatable = []string{"kubeconfig", "context", "cluster", "user", "server", "namespace"}

// commandLine is how to call the plugin for the same cluster again.
func (f *connectionFlags) commandLine() string {
	parts := []string{displayName}
	for _, name := range repeatable {
		if flag := f.set.Lookup(name); flag != nil && flag.Changed {
			parts = append(parts, "--"+name+" "+printers.ShellWord(flag.Value.String()))
		}
	}
	return strings.Join(parts, " ")
}
