package plugin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// runClient prints the objects that would be installed, and sends no request.
func (o *installOptions) runClient() error {
	settings, err := o.mergedSettings(manifests.Settings{})
	if err != nil {
		return err
	}
	options := o.manifestOptions(settings)
	if options.NATSSecret != "" {
		options.NATSSecretKeys = manifests.NATSSecretKeys(settings) // its keys are not known
	}
	if o.storageClass == noStorage {
		options.StorageClass = ""
	}
	objects, err := manifests.Render(options)
	if err != nil {
		return err
	}
	if err := checkResources(objects); err != nil {
		return err
	}
	if err := printObjects(o.Out, o.format, objects); err != nil {
		return err
	}
	store := ""
	if !o.withoutWatcher && len(o.natsURLs) == 0 && o.storageClass == "" {
		store = "The cluster's StorageClasses are not known, so the embedded NATS has no volume; --storage-class gives it one."
	}
	files := ""
	if o.natsSecret != "" {
		files = fmt.Sprintf("Secret %q must have the keys %s; for each key that it lacks, remove the watcher's flag and the item of its volume.", o.natsSecret, natsKeys(settings))
	}
	printers.PrintNotes(o.ErrOut, store, files, "Nothing was changed. To install it: kubectl apply --server-side -f FILE, or the same command without --dry-run. "+
		"Where the definitions are new, apply it twice: the RotationPolicy needs one of them.")
	return nil
}

// printObjects prints objects as kubectl apply takes them; without a format, their names.
func printObjects(w io.Writer, f printers.Format, objects []*unstructured.Unstructured) error {
	switch f {
	case printers.JSON:
		items := make([]any, 0, len(objects))
		for _, object := range objects {
			items = append(items, object.Object)
		}
		return printers.PrintDocument(w, f, map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	case printers.YAML:
		for i, object := range objects {
			if i > 0 {
				fmt.Fprintln(w, "---")
			}
			if err := printers.PrintDocument(w, f, object.Object); err != nil {
				return err
			}
		}
		return nil
	}
	for _, object := range objects {
		fmt.Fprintln(w, objectName(object))
	}
	return nil
}

// objectName is how kubectl names an object: "deployment.apps/rotate-certs-watcher".
func objectName(object *unstructured.Unstructured) string {
	gvk := object.GroupVersionKind()
	kind := strings.ToLower(gvk.Kind)
	if gvk.Group != "" {
		kind += "." + gvk.Group
	}
	return kind + "/" + object.GetName()
}

// runInstall applies everything in order and waits until it is ready.
func (o *installOptions) runInstall(ctx context.Context) error {
	began := o.now()
	api, err := openObjects(o.conn)
	if err != nil {
		return err
	}
	i := &installer{installOptions: o, api: api, dry: dryRun(o.dryRun) == dryRunServer}
	objects, err := i.prepareInstallation(ctx)
	if err != nil {
		return err
	}
	if !i.dry {
		if err := o.refuseRunning(ctx, api, o.now(), o.force); err != nil {
			return err
		}
	}
	printers.PrintNotes(o.ErrOut, fmt.Sprintf("Installing rotate-certs %s in namespace %s (Kubernetes %s)%s.",
		version.Version, o.targetNamespace(), i.kubernetes, map[bool]string{true: ", dry run", false: ""}[i.dry]))
	printers.PrintNotes(o.ErrOut, i.warnings...)
	if err := i.printChanges(ctx, objects); err != nil {
		return err
	}
	applied, err := i.applyObjects(ctx, objects)
	if err != nil {
		return err
	}
	if o.format != printers.Table {
		if err := printObjects(o.Out, o.format, applied); err != nil {
			return err
		}
	}
	if i.dry {
		printers.PrintNotes(o.ErrOut, "Nothing was changed. To do it, run the same without --dry-run.")
		return nil
	}
	if err := i.pruneObjects(ctx, objects); err != nil {
		return err
	}
	if err := i.awaitReady(ctx); err != nil {
		return err
	}
	if err := i.admitOnlyThis(ctx); err != nil {
		return err
	}
	printers.PrintNotes(o.ErrOut, fmt.Sprintf("Done in %s. %s", printers.ElapsedTime(o.now().Sub(began)), i.describeEffect()), i.dashboardAddress(), "Next: "+o.sameCommand("status"))
	return nil
}

// describeEffect describes the effect of the installation.
func (i *installer) describeEffect() string {
	switch {
	case i.settings.WithoutWatcher:
		return "The agents are installed; now run the watcher: rotate-certs-watcher --kubeconfig FILE --namespace " + i.targetNamespace()
	case i.settings.NotifyOnly:
		return "The watcher publishes events, and never starts a rotation."
	default:
		return fmt.Sprintf("Certificates that expire soon are renewed automatically from now on, under RotationPolicy %s.", v1alpha1.RotationPolicyName)
	}
}

// installer is one run of `install` against a cluster.
type installer struct {
	*installOptions
	api *objects
	dry bool

	found    *installation      // the present one; nil: none
	before   manifests.Settings // its settings
	settings manifests.Settings // the new ones
	made     manifests.Options  // the options of its objects

	kubernetes   string // its version
	warnings     []string
	storage      string // where the watcher stores its events, as printed
	newNamespace bool   // it does not exist, so a dry run cannot check objects in it
}

// printStage prints the result of a stage of install or uninstall.
func (a *app) printStage(stage, words string, began time.Time) {
	line := fmt.Sprintf("%-12s %s", stage, words)
	if !began.IsZero() {
		line += "   " + printers.ElapsedTime(a.now().Sub(began))
	}
	printers.PrintNotes(a.ErrOut, printers.CleanText(line))
}
