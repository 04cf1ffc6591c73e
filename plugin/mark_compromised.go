package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// markCompromisedOptions are the flags of `mark-compromised`, and the values from Complete.
type markCompromisedOptions struct {
	*app
	installFlags

	service     string
	nodes       []string
	fingerprint string
	reason      string
	dryRun      string
	output      string

	format printers.Format
	spec   v1alpha1.CompromisedCertificateSpec
	conn   connection
}

var markCompromisedFormats = []string{string(printers.JSON), string(printers.YAML), string(printers.Name)}

func (a *app) markCompromisedCommand(flags *connectionFlags) *cobra.Command {
	o := &markCompromisedOptions{app: a, installFlags: installFlags{connectionFlags: flags}}
	cmd := &cobra.Command{
		Use:   "mark-compromised",
		Short: "Mark certificates as compromised: the watcher replaces their keys at once",
		Long: `Mark the certificates of a service as compromised: their private keys are known to
others, or may be. The command creates a CompromisedCertificate. The watcher replaces
the keys at once, outside maintenance windows and limits, and the CA signs the new ones.

Kubernetes cannot revoke a certificate: an old one remains valid until it expires or its
CA is replaced. The status of the CompromisedCertificate lists what it still gives access
to, and how to stop that. To withdraw one, delete it:
kubectl delete compromisedcertificate NAME`,
		Example: `  # The key of one node's API server leaked
  kubectl rotate-certs mark-compromised --service kube-apiserver --node cp1 --reason "backup leaked"

  # One certificate, by its fingerprint as openssl prints it
  kubectl rotate-certs mark-compromised --service admin --fingerprint 3F:9A:… --reason "stolen"`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Complete(cmd); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.service, "service", "", "Service that uses the keys")
	f.StringSliceVar(&o.nodes, "node", nil, "Only on these nodes (default: on every node)")
	f.StringVar(&o.fingerprint, "fingerprint", "", "Only the certificate with this SHA-256 fingerprint (default: all of the service)")
	f.StringVar(&o.reason, "reason", "", "What happened; it appears in events and in the status")
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" prints the object; "server" also has the API server validate it`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	f.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(markCompromisedFormats, ", "))
	o.addNamespace(f, "", "Namespace of the watcher (default: where it is found)")
	completeFlag(cmd, "service", completeServices)
	completeFlag(cmd, "node", a.completeNodes(flags))
	completeFlag(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "output", cobra.FixedCompletions(markCompromisedFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete turns flags into values, and refuses invalid ones.
func (o *markCompromisedOptions) Complete(cmd *cobra.Command) error {
	if err := o.completeSpec(); err != nil {
		return err
	}
	var err error
	if o.spec.Nodes, err = namedNodes(cmd, o.nodes); err != nil {
		return err
	}
	if cmd.Flags().Changed("fingerprint") {
		if o.spec.Fingerprint, err = parseFingerprint(o.fingerprint); err != nil {
			return err
		}
	}
	if !slices.Contains(dryRuns, o.dryRun) {
		return hint.AddTo(fmt.Errorf("unknown --dry-run %q", o.dryRun), "one of %s", strings.Join(dryRuns, ", "))
	}
	if o.format = printers.Format(o.output); o.output != "" && !slices.Contains(markCompromisedFormats, o.output) {
		return hint.AddTo(fmt.Errorf("unknown output format %q", o.output), "one of %s", strings.Join(markCompromisedFormats, ", "))
	}
	o.conn, err = o.newConnection()
	return err
}

// completeSpec makes the specification of the flags for the service and the reason.
func (o *markCompromisedOptions) completeSpec() error {
	if o.service == "" {
		return hint.AddTo(errors.New("no service given"), "--service NAME, one of %s", printers.JoinServices(certs.Services(), ", "))
	}
	services, err := certs.ParseServices([]string{o.service})
	if err != nil {
		return err
	}
	if len(services) != 1 {
		return errors.New("mark as compromised: only one service at a time")
	}
	reason := strings.TrimSpace(o.reason)
	if reason == "" {
		return hint.AddTo(errors.New("no reason given"), "--reason TEXT; it appears in events and in the status")
	}
	if len(reason) > 1024 {
		return errors.New("--reason is too long: at most 1024 bytes")
	}
	o.spec = v1alpha1.CompromisedCertificateSpec{Service: services[0], Reason: reason}
	return nil
}

var hexFingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseFingerprint reads a fingerprint as tools print it: "sha256 Fingerprint=AB:CD:…".
func parseFingerprint(s string) (string, error) {
	_, after, has := strings.Cut(s, "=")
	if !has {
		after = s
	}
	text := strings.ToLower(strings.NewReplacer(":", "", " ", "", "-", "").Replace(strings.TrimSpace(after)))
	text = strings.TrimPrefix(text, "sha256")
	if !hexFingerprint.MatchString(text) {
		return "", hint.AddTo(fmt.Errorf("fingerprint %q: want the SHA-256 of the certificate, 64 hex digits with or without colons", s),
			"openssl x509 -noout -fingerprint -sha256 -in FILE")
	}
	return text, nil
}

// Run creates the object, and prints its effect.
func (o *markCompromisedOptions) Run(ctx context.Context) error {
	api, err := openObjects(o.conn)
	if err != nil {
		return err
	}
	found, err := api.findInstallation(ctx, o.where)
	if err != nil {
		return err
	}
	created, matched, err := o.markCertificates(ctx, api)
	if err != nil {
		return err
	}
	if err := o.printCreated(created); err != nil {
		return err
	}
	o.printLine(o.explainEffect(matched, found))
	return nil
}

// markCertificates checks that the agents have reported a matching certificate, and creates the
// object.
func (o *markCompromisedOptions) markCertificates(ctx context.Context, api *objects) (*unstructured.Unstructured, []renewal.Compromised, error) {
	matched, err := o.matchReported(ctx, api)
	if noSuchKind(err) {
		return nil, nil, hint.AddTo(errors.New("mark as compromised: the watcher is not installed"),
			"install it (%s install), or replace the keys without it: %s", o.connectionFlags.commandLine(), o.rotateCommand())
	}
	if err != nil {
		return nil, nil, err
	}
	object := &v1alpha1.CompromisedCertificate{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "CompromisedCertificate"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: string(o.spec.Service) + "-"},
		Spec:       o.spec,
	}
	created, err := o.createObject(ctx, api, object)
	return created, matched, err
}

func (o *markCompromisedOptions) createObject(ctx context.Context, api *objects, compromised *v1alpha1.CompromisedCertificate) (*unstructured.Unstructured, error) {
	object, err := newObject(compromised)
	if err != nil {
		return nil, err
	}
	options := metav1.CreateOptions{FieldManager: fieldManager}
	switch dryRun(o.dryRun) {
	case dryRunClient:
		return object, nil
	case dryRunServer:
		options.DryRun = []string{metav1.DryRunAll}
	case dryRunNone:
	}
	created, err := api.resourceOf(compromisedResource, "").Create(ctx, object, options)
	if err != nil {
		return nil, o.explainRefusal(err)
	}
	return created, nil
}

func (o *markCompromisedOptions) printCreated(object *unstructured.Unstructured) error {
	name := cmp.Or(object.GetName(), object.GetGenerateName()+"…")
	switch o.format {
	case printers.JSON, printers.YAML:
		return printers.PrintDocument(o.Out, o.format, object.Object)
	case printers.Name:
		fmt.Fprintf(o.Out, "compromisedcertificate.%s/%s\n", v1alpha1.GroupVersion.Group, name)
	default:
		dry := ""
		if dryRun(o.dryRun) != dryRunNone {
			dry = " (dry run)"
		}
		fmt.Fprintf(o.Out, "compromisedcertificate.%s/%s created%s\n", v1alpha1.GroupVersion.Group, name, dry)
	}
	return nil
}

// rotateCommand is the command that replaces the keys without the watcher.
func (o *markCompromisedOptions) rotateCommand() string {
	text := fmt.Sprintf("%s --service %s", o.connectionFlags.commandLine(), o.spec.Service)
	if len(o.spec.Nodes) > 0 {
		text += " --node " + strings.Join(o.spec.Nodes, ",")
	}
	return text + " --compromised"
}

func (o *markCompromisedOptions) explainRefusal(err error) error {
	if apierrors.IsForbidden(err) {
		return hint.AddTo(fmt.Errorf("mark as compromised: %w", err),
			"an administrator can bind the ClusterRole rotate-certs:incident-responder to you, or run: %s", o.rotateCommand())
	}
	return fmt.Errorf("mark as compromised: %w", err)
}
