package plugin

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// markOptions are the flags of `mark-compromised`, and what Complete makes of them.
type markOptions struct {
	*app
	installFlags

	service     string
	nodes       []string
	fingerprint string
	reason      string
	dryRun      string
	output      string

	format format
	spec   v1alpha1.CompromisedCertificateSpec
	conn   connection
}

var markFormats = []string{string(formatJSON), string(formatYAML), string(formatName)}

func (a *app) markCommand(flags *connectionFlags) *cobra.Command {
	o := &markOptions{app: a, installFlags: installFlags{connectionFlags: flags}}
	cmd := &cobra.Command{
		Use:   "mark-compromised",
		Short: "State that keys are in wrong hands: the watcher replaces them at once",
		Long: `State that the private keys of a service's certificates are in wrong hands, or may be.
The watcher replaces them at once, past windows and limits, with new keys that the CA
signs. It makes a CompromisedCertificate; RBAC says who may, the audit log who did.

Kubernetes cannot revoke a certificate: what the old one opens, it opens until it ends
or its CA is replaced. The mark's status says what that is, and what stops it.`,
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
	plain(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.service, "service", "", "Service that holds the keys")
	f.StringSliceVar(&o.nodes, "node", nil, "Only on these nodes; without it, on every one")
	f.StringVar(&o.fingerprint, "fingerprint", "", "SHA-256 fingerprint of the one certificate that is meant")
	f.StringVar(&o.reason, "reason", "", "What happened, in your words; it is shown in events and reports")
	f.StringVar(&o.dryRun, "dry-run", string(dryRunNone), `"client" prints the mark; "server" also has the API server judge it`)
	f.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	f.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(markFormats, ", "))
	o.addNamespace(f, "", "Namespace of the watcher (default: wherever it is)")
	complete(cmd, "service", completeServices)
	complete(cmd, "node", a.completeNodes(flags))
	complete(cmd, "dry-run", cobra.FixedCompletions(dryRuns, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "output", cobra.FixedCompletions(markFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Complete turns flags into values, and refuses what means nothing.
func (o *markOptions) Complete(cmd *cobra.Command) error {
	if o.service == "" {
		return errors.New("say whose keys: --service NAME\nservices: " + joinServices(certs.Services(), ", "))
	}
	services, err := certs.ParseServices([]string{o.service})
	if err != nil {
		return err
	}
	if len(services) != 1 {
		return errors.New("a mark is for one service")
	}
	if o.reason = strings.TrimSpace(o.reason); o.reason == "" {
		return errors.New("say what happened: --reason TEXT\nit is shown to whoever asks why this was rotated")
	}
	if len(o.reason) > 1024 {
		return errors.New("--reason is too long: at most 1024 bytes")
	}
	if o.nodes, err = namedNodes(cmd, o.nodes); err != nil {
		return err
	}
	fingerprint := ""
	if cmd.Flags().Changed("fingerprint") {
		if fingerprint, err = parseFingerprint(o.fingerprint); err != nil {
			return err
		}
	}
	if !oneOf(dryRuns, o.dryRun) {
		return fmt.Errorf("unknown --dry-run %q\nwant one of: %s", o.dryRun, strings.Join(dryRuns, ", "))
	}
	if o.format = format(o.output); o.output != "" && !oneOf(markFormats, o.output) {
		return fmt.Errorf("unknown output format %q\nformats: %s", o.output, strings.Join(markFormats, ", "))
	}
	o.spec = v1alpha1.CompromisedCertificateSpec{Service: services[0], Nodes: o.nodes, Fingerprint: fingerprint, Reason: o.reason}
	o.conn, err = o.connection()
	return err
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
		return "", fmt.Errorf("fingerprint %q: want the SHA-256 of the certificate, 64 hex digits with or without colons\n"+
			"openssl x509 -noout -fingerprint -sha256 -in FILE prints it", s)
	}
	return text, nil
}

// Run checks that the mark means something, and makes it.
func (o *markOptions) Run(ctx context.Context) error {
	api, err := openObjects(o.conn)
	if err != nil {
		return err
	}
	found, err := api.find(ctx, o.where)
	if err != nil {
		return err
	}
	meant, err := o.meant(ctx, api)
	if noSuchKind(err) {
		return fmt.Errorf("the watcher is not installed, so nobody would see the mark\nreplace the keys by hand: %s\nor install it: %s install",
			o.byHand(), o.connectionFlags.command())
	}
	if err != nil {
		return err
	}
	mark := &v1alpha1.CompromisedCertificate{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "CompromisedCertificate"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: string(o.spec.Service) + "-"},
		Spec:       o.spec,
	}
	made, err := o.create(ctx, api, mark)
	if err != nil {
		return err
	}
	if err := o.print(made); err != nil {
		return err
	}
	o.say(o.following(meant, found))
	return nil
}

func (o *markOptions) create(ctx context.Context, api *objects, mark *v1alpha1.CompromisedCertificate) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(mark)
	if err != nil {
		return nil, fmt.Errorf("encode the mark: %w", err)
	}
	object := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(object.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(object.Object, "status")
	options := metav1.CreateOptions{FieldManager: fieldManager}
	switch dryRun(o.dryRun) {
	case dryRunClient:
		return object, nil
	case dryRunServer:
		options.DryRun = []string{metav1.DryRunAll}
	case dryRunNone:
	}
	made, err := api.resource(marksResource, "").Create(ctx, object, options)
	if err != nil {
		return nil, o.explainCreate(err)
	}
	return made, nil
}

func (o *markOptions) print(made *unstructured.Unstructured) error {
	name := made.GetName()
	if name == "" {
		name = made.GetGenerateName() + "…"
	}
	switch o.format {
	case formatJSON, formatYAML:
		return printDocument(o.Out, o.format, made.Object)
	case formatName:
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

// byHand is the command that does without the watcher what the mark asks for.
func (o *markOptions) byHand() string {
	text := fmt.Sprintf("%s --service %s", o.connectionFlags.command(), o.spec.Service)
	if len(o.spec.Nodes) > 0 {
		text += " --node " + strings.Join(o.spec.Nodes, ",")
	}
	return text + " --compromised"
}

func (o *markOptions) explainCreate(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("mark as compromised: %w\nask an administrator to bind the ClusterRole rotate-certs:mark to you, or for: %s", err, o.byHand())
	}
	return fmt.Errorf("mark as compromised: %w", err)
}
