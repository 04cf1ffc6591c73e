package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// installOptions are the flags of `install`, and the values that Complete derives from them.
type installOptions struct {
	*app
	installFlags
	set *pflag.FlagSet

	natsURLs       []string
	natsSecret     string
	natsReplicas   int
	natsDomain     string
	shareSummary   bool
	watcherImage   string
	notifyOnly     bool
	certMetrics    bool
	withoutWatcher bool
	force          bool
	policyFile     string
	storageClass   string
	directories    []string
	kubeletRoot    string
	clusterName    string
	pods           podFlags
	dashboard      hostedDashboard
	dryRun         string
	output         string
	timeout        durationFlag

	format printers.Format
	policy *v1alpha1.RotationPolicy // of the file; nil: none is given
	conn   connection
}

var installFormats = []string{string(printers.JSON), string(printers.YAML), string(printers.Name)}

func (a *app) installCommand(flags *connectionFlags) *cobra.Command {
	o := &installOptions{app: a, installFlags: installFlags{connectionFlags: flags}, timeout: durationFlag(5 * time.Minute)}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install the watcher, which renews certificates automatically",
		Long: `Install the watcher and its agents in the cluster, or bring them up to this version.
An agent on every node scans its certificates and reports them; the watcher publishes
events, and rotates automatically what expires soon or is marked as compromised, under the
rules of the RotationPolicy.

Run it again to change a setting or to upgrade. A flag that is not given keeps its value, and
the RotationPolicy stays unless --policy names a file. Changes of settings and permissions are
printed before they are applied, also by --dry-run=server. --dry-run=client sends no request,
and only the flags count:

  ` + displayName + ` install --dry-run=client -o yaml > rotate-certs.yaml`,
		Example: `  # The watcher with an embedded NATS
  kubectl rotate-certs install

  # Only publish events at first, and rotate later
  kubectl rotate-certs install --notify-only
  kubectl rotate-certs install --notify-only=false

  # With a NATS of your own; the Secret holds ca.crt, reporter.creds, rotator.creds
  kubectl rotate-certs install --nats-url tls://nats.example.org:4222 --nats-secret nats-creds`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Complete(cmd); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	o.set = f
	f.BoolVar(&o.notifyOnly, "notify-only", false, "Publish events, never start a rotation; the permissions for it are not granted")
	f.BoolVar(&o.certMetrics, "certificate-metrics", true, "Expose metrics of each certificate, three for each, and of each node")
	f.StringVar(&o.policyFile, "policy", "", "File with the RotationPolicy (default: keep the present one)")
	f.StringSliceVar(&o.natsURLs, "nats-url", nil, "NATS servers to use; empty: an embedded one")
	f.StringVar(&o.natsSecret, "nats-secret", "", "Secret with "+natsKeys(manifests.Settings{})+" for these servers")
	f.IntVar(&o.natsReplicas, "nats-replicas", 0, "Servers of a NATS cluster that keep each stream, 1 to 5; 0: one")
	f.StringVar(&o.natsDomain, "nats-domain", "", "JetStream domain to use, where it is not that of the NATS servers (leaf nodes)")
	f.BoolVar(&o.shareSummary, "share-summary", false, "Share the state of the cluster, without names of nodes, with other clusters that use these servers; --dashboard then shows theirs, read with "+manifests.FleetKey+" of the Secret")
	f.StringVar(&o.storageClass, "storage-class", "", "StorageClass for the embedded NATS; \"none\" stores events in the pod (default: that of the cluster)")
	o.dashboard.addFlags(f)
	f.BoolVar(&o.withoutWatcher, "without-watcher", false, "Only agents, definitions and roles; the watcher runs outside the cluster")
	o.addNamespace(f, manifests.DefaultNamespace, "Namespace of the installation and its node pods")
	o.addPodFlags(f)
	f.Lookup("image").Usage = "Image of agents and node pods"
	f.StringVar(&o.watcherImage, "watcher-image", "", "Image of the watcher (default: rotate-certs-watcher in the registry of --image, with its tag)")
	f.StringSliceVar(&o.directories, "agent-directory", nil, "Directory that agents can read besides "+strings.Join(manifests.AgentDirectories, ", ")+"; it must exist on every node")
	f.StringVar(&o.kubeletRoot, "kubelet-root-dir", "", "The kubelets' --root-dir (default: /var/lib/kubelet)")
	f.StringVar(&o.clusterName, "cluster-name", "", "Name of the cluster in events and NATS subjects (default: the UID of the namespace kube-system)")
	o.pods.addTo(f)
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" sends no request and prints the objects; "server" has the API server admit them`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	f.BoolVar(&o.force, "force", false, "Proceed even if a rotation is in progress: its node finishes or rolls back, and the new watcher continues")
	f.VarP(&o.timeout, "timeout", "", "How long to wait until everything is ready and every node has reported")
	f.StringVarP(&o.output, "output", "o", "", "Print the objects: "+strings.Join(installFormats, ", "))
	completeFlag(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "output", cobra.FixedCompletions(installFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func natsKeys(s manifests.Settings) string { return strings.Join(manifests.NATSSecretKeys(s), ", ") }

// Complete parses the flags. Only with --dry-run=client no kubeconfig is needed.
func (o *installOptions) Complete(*cobra.Command) error {
	o.natsURLs = trimmedList(o.natsURLs)
	o.directories = cleanDirectories(o.directories)
	o.format = printers.Format(o.output)
	if !slices.Contains(dryRuns, o.dryRun) {
		return hint.AddTo(fmt.Errorf("unknown --dry-run %q", o.dryRun), "want one of %s", strings.Join(dryRuns, ", "))
	}
	if o.policyFile != "" {
		var err error
		if o.policy, err = policyFromFile(o.policyFile, o.In); err != nil {
			return err
		}
	}
	if dryRun(o.dryRun) == dryRunClient {
		return nil
	}
	var err error
	o.conn, err = o.newConnection()
	return err
}

// imageReference is the form of an image that needs no quoting in the admission policy.
var imageReference = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$`)

var clusterName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

var natsDomain = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// Validate refuses invalid values.
func (o *installOptions) Validate() error {
	if o.output != "" && !slices.Contains(installFormats, o.output) {
		return hint.AddTo(fmt.Errorf("unknown output format %q", o.output), "want one of %s", strings.Join(installFormats, ", "))
	}
	for _, name := range []struct{ flag, value string }{
		{"namespace", o.targetNamespace()}, {"nats-secret", o.natsSecret}, {"storage-class", o.storageClass}, {"image-pull-secret", o.pullSecret},
	} {
		if name.value != "" && !validName(name.value) {
			return fmt.Errorf("--%s %q is not a valid name of an object", name.flag, name.value)
		}
	}
	if strings.HasPrefix(o.targetNamespace(), "kube-") {
		return hint.AddTo(fmt.Errorf("--namespace %s belongs to the cluster", o.targetNamespace()), "leave it out, or name one for rotate-certs only")
	}
	if o.watcherImage != "" && !imageReference.MatchString(o.watcherImage) {
		return fmt.Errorf("--watcher-image %q is not a valid image reference", o.watcherImage)
	}
	if !imageReference.MatchString(o.image) {
		return fmt.Errorf("--image %q is not a valid image reference", o.image)
	}
	if err := validURLs(o.natsURLs); err != nil {
		return err
	}
	if o.natsReplicas < 0 || o.natsReplicas > 5 {
		return fmt.Errorf("--nats-replicas %d: want 1 to 5", o.natsReplicas)
	}
	if o.natsDomain != "" && !natsDomain.MatchString(o.natsDomain) {
		return fmt.Errorf("--nats-domain %q: want letters, digits, \"-\" and \"_\"", o.natsDomain)
	}
	if o.clusterName != "" && !clusterName.MatchString(o.clusterName) {
		return fmt.Errorf("--cluster-name %q: want letters, digits, \"-\", \"_\" and \".\"", o.clusterName)
	}
	return errors.Join(o.dashboard.checkFlags(), o.pods.completeFlags())
}

func validURLs(urls []string) error {
	for _, s := range urls {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("--nats-url: want nats://HOST:PORT or tls://HOST:PORT, one or several")
		}
		if u.User != nil {
			return hint.AddTo(fmt.Errorf("--nats-url %s holds a password, which would be readable in the Deployment", u.Redacted()),
				"store the credentials in a Secret, and name it with --nats-secret")
		}
	}
	return nil
}

// manifestOptions are the options of the manifests.
func (o *installOptions) manifestOptions(settings manifests.Settings) manifests.Options {
	return manifests.Options{Settings: settings, Namespace: o.targetNamespace(), Version: version.Version, Policy: o.policy}
}

// Run installs, or prints the objects that would be installed.
func (o *installOptions) Run(ctx context.Context) error {
	if dryRun(o.dryRun) == dryRunClient {
		return o.runClient()
	}
	return o.runInstall(ctx)
}
