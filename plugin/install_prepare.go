package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

const (
	// noStorage as --storage-class keeps the embedded NATS's store in its pod.
	noStorage = "none"
	// podSecurity is the label for the pods that a namespace admits.
	podSecurity  = "pod-security.kubernetes.io/enforce"
	defaultClass = "storageclass.kubernetes.io/is-default-class"
)

// prepareInstallation checks everything before anything is changed, and returns the objects to apply.
func (i *installer) prepareInstallation(ctx context.Context) ([]*unstructured.Unstructured, error) {
	if err := i.checkVersion(); err != nil {
		return nil, err
	}
	if err := i.checkElsewhere(ctx); err != nil {
		return nil, err
	}
	if err := i.refuseOlder(); err != nil {
		return nil, err
	}
	if err := i.settleSettings(ctx); err != nil {
		return nil, err
	}
	objects, err := i.renderObjects(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkResources(objects); err != nil {
		return nil, err
	}
	if objects, err = i.respectNamespace(ctx, objects); err != nil {
		return nil, err
	}
	if objects, err = i.respectPolicy(ctx, objects); err != nil {
		return nil, err
	}
	return objects, i.api.checkPermitted(ctx, "install", installAccess(objects, i.targetNamespace()))
}

// refuseOlder refuses to replace an installation by an older one, which does not know all of
// its settings and definitions.
func (i *installer) refuseOlder() error {
	if i.found == nil || i.force {
		return nil
	}
	installed := i.found.installedVersions()
	for _, theirs := range []string{installed.Watcher, installed.Agents} {
		if isOlder(version.Version, theirs) {
			return hint.AddTo(fmt.Errorf("%s is installed, and this plugin is %s", theirs, version.Version),
				"kubectl krew upgrade rotate-certs; --force installs the older version and drops settings that it does not have")
		}
	}
	return nil
}

// settleSettings sets the settings: those of the present installation, changed by flags.
func (i *installer) settleSettings(ctx context.Context) error {
	var err error
	if i.before, err = i.api.storedSettings(ctx, i.found); err != nil {
		return err
	}
	kept := i.before
	if i.found != nil {
		kept.Image = upgradedImage(kept.Image, i.found.agents)
		kept.WatcherImage = upgradedImage(kept.WatcherImage, i.found.agents)
	}
	if i.settings, err = i.mergedSettings(kept); err != nil {
		return err
	}
	i.settings.StorageClass, err = i.chooseStorage(ctx)
	return err
}

// renderObjects makes the objects. The admission policy that pins the image of node pods also admits
// the images of watchers that still run.
func (i *installer) renderObjects(ctx context.Context) ([]*unstructured.Unstructured, error) {
	i.made = i.manifestOptions(i.settings)
	var err error
	if i.made.NATSSecretKeys, err = i.secretFiles(ctx); err != nil {
		return nil, err
	}
	if err := i.checkPullSecret(ctx); err != nil {
		return nil, err
	}
	if err := i.checkDashboardSecret(ctx); err != nil {
		return nil, err
	}
	if err := i.checkPriorityClass(ctx); err != nil {
		return nil, err
	}
	if i.made.EarlierImages, err = i.earlierImages(ctx); err != nil {
		return nil, err
	}
	return i.render(i.made)
}

// installAccess are the permissions that install needs.
func installAccess(objects []*unstructured.Unstructured, namespace string) []kube.Access {
	out := []kube.Access{
		{Verb: "get", Group: "coordination.k8s.io", Resource: "leases", Namespace: kube.LeaseNamespace, Why: "see whether a rotation is in progress"},
		{Verb: "list", Group: reportsResource.Group, Resource: rotationsResource.Resource, Why: "see whether a rotation is in progress"},
		{Verb: "list", Resource: "pods", Namespace: namespace, Why: "see whether pods start"},
		{Verb: "get", Group: "apps", Resource: "daemonsets", Why: "have an admission policy read the image of the agents"},
	}
	for _, object := range objects {
		kind, _ := manifests.KindOf(object)
		verbs := []string{"get", "list", "create", "patch", "delete"}
		if kind.Kind == rotationpolicy.Kind {
			verbs = []string{"get", "create", "update"}
		}
		for _, verb := range verbs {
			a := kube.Access{Verb: verb, Group: kind.Group, Resource: kind.Resource, Namespace: object.GetNamespace(), Why: "install " + printers.PluralOf(kind.Kind)}
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// checkVersion refuses a Kubernetes without ValidatingAdmissionPolicy.
func (i *installer) checkVersion() error {
	info, err := i.api.client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("get the version of Kubernetes: %w", err)
	}
	i.kubernetes = info.GitVersion
	v, err := utilversion.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("read the version of Kubernetes %q: %w", info.GitVersion, err)
	}
	if v.LessThan(utilversion.MustParseGeneric("1.30")) {
		return hint.AddTo(fmt.Errorf("Kubernetes %s is too old to install on: ValidatingAdmissionPolicy came with 1.30", info.GitVersion), //nolint:staticcheck // a name
			"the other commands need no installation, such as %s check", i.connectionFlags.commandLine())
	}
	if v.LessThan(utilversion.MustParseGeneric("1.32")) {
		i.warnings = append(i.warnings, fmt.Sprintf("Tokens of Kubernetes %s do not name the node of their pod (those of 1.32 do), so agents may be unable to write reports: "+
			"see docs/permissions.md.", info.GitVersion))
	}
	return nil
}

// checkElsewhere refuses a second installation: its cluster-wide objects are the same.
func (i *installer) checkElsewhere(ctx context.Context) error {
	found, err := i.api.findInstallation(ctx, "")
	if err != nil {
		return err
	}
	if err := found.refuseManaged(); err != nil {
		return err
	}
	if found == nil || found.namespace == i.targetNamespace() {
		i.found = found
		return nil
	}
	return hint.AddTo(fmt.Errorf("rotate-certs is already installed in namespace %q, and a cluster has one installation", found.namespace),
		"to change it, add --namespace %s; to move it: %s uninstall --namespace %s", found.namespace, i.connectionFlags.commandLine(), found.namespace)
}

// chooseStorage chooses where the embedded NATS stores its events, and describes it in
// i.storage. A present volume stays, unless --storage-class changes it.
func (i *installer) chooseStorage(ctx context.Context) (string, error) {
	switch {
	case i.settings.WithoutWatcher:
		return "", nil
	case len(i.settings.NATSURLs) > 0:
		i.storage = "events go to the NATS of --nats-url"
		return "", nil
	case i.storageClass == noStorage:
		i.storage = "events are stored in the pod (emptyDir) and are lost with it"
		return "", nil
	}
	class, claimed, err := i.api.classOf(ctx, i.targetNamespace(), manifests.Watcher)
	if err != nil {
		return "", err
	}
	embedded := i.found != nil && i.found.watcher != nil && len(i.before.NATSURLs) == 0
	switch {
	case claimed && i.storageClass != "" && i.storageClass != class:
		return "", hint.AddTo(fmt.Errorf("PersistentVolumeClaim %q has StorageClass %q, which cannot be changed", manifests.Watcher, class), //nolint:staticcheck // a kind's name
			"kubectl -n %s delete pvc %s deletes it and its events", i.targetNamespace(), manifests.Watcher)
	case embedded && i.storageClass == "" && i.before.StorageClass == "":
		i.storage = "events are stored in the pod (emptyDir), as before, and are lost with it; --storage-class changes this"
		return "", nil
	case claimed && class != "":
		i.storage = fmt.Sprintf("events stay in PersistentVolumeClaim %s (StorageClass %s)", manifests.Watcher, class)
		return class, nil
	}
	list, err := i.api.client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list StorageClasses: %w", err)
	}
	return i.pickClass(list.Items)
}

func (i *installer) pickClass(classes []storagev1.StorageClass) (string, error) {
	var names []string
	chosen := ""
	for _, c := range classes {
		names = append(names, c.Name)
		if c.Annotations[defaultClass] == "true" && i.storageClass == "" {
			chosen = c.Name
		}
	}
	switch {
	case i.storageClass != "" && !slices.Contains(names, i.storageClass):
		return "", hint.AddTo(fmt.Errorf("unknown StorageClass %q", i.storageClass), "want one of %s", strings.Join(append(names, noStorage), ", "))
	case i.storageClass != "":
		chosen = i.storageClass
	case chosen == "" && len(names) > 0:
		i.storage = fmt.Sprintf("events are stored in the pod (emptyDir) and are lost with it: no StorageClass is the default; --storage-class chooses one of %s", printers.SomeNames(names))
		return "", nil
	case chosen == "":
		i.storage = "events are stored in the pod (emptyDir) and are lost with it: the cluster has no StorageClass. No rotation is lost with them: what is due follows from the objects"
		return "", nil
	}
	i.storage = fmt.Sprintf("events are stored in PersistentVolumeClaim %s (StorageClass %s)", manifests.Watcher, chosen)
	return chosen, nil
}

// respectNamespace keeps a namespace that rotate-certs did not create.
func (i *installer) respectNamespace(ctx context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	there, err := i.api.client.CoreV1().Namespaces().Get(ctx, i.targetNamespace(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		i.newNamespace = true
		return objects, nil
	case err != nil:
		return nil, fmt.Errorf("read namespace %q: %w", i.targetNamespace(), err)
	case there.DeletionTimestamp != nil:
		return nil, hint.AddTo(fmt.Errorf("namespace %q is being deleted", i.targetNamespace()), "repeat this when it is deleted")
	case there.Labels[kube.LabelManagedBy] == manifests.ManagedBy:
		return objects, nil
	}
	if level := there.Labels[podSecurity]; level != "" && level != "privileged" {
		return nil, hint.AddTo(fmt.Errorf("namespace %q enforces the Pod Security Standard %q, which forbids pods that mount the host's files", i.targetNamespace(), level),
			"choose another with --namespace, or: kubectl label --overwrite namespace %s %s=privileged", i.targetNamespace(), podSecurity)
	}
	i.warnings = append(i.warnings, fmt.Sprintf("Namespace %s exists already: it is not changed, and uninstall keeps it.", i.targetNamespace()))
	if there.Labels[podSecurity] == "" {
		i.warnings = append(i.warnings, fmt.Sprintf("If the cluster enforces a Pod Security Standard by default: kubectl label namespace %s %s=privileged", i.targetNamespace(), podSecurity))
	}
	return withoutKind(objects, "Namespace"), nil
}

func withoutKind(objects []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	return slices.DeleteFunc(objects, func(u *unstructured.Unstructured) bool { return u.GetKind() == kind })
}
