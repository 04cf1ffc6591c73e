package agent

import (
	"context"
	"encoding/json"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Manager is the agent's name as an owner of fields.
const Manager = "rotate-certs-agent"

// Claims of a token that is bound to a pod: by default from Kubernetes 1.30 on, always from
// 1.32 on.
const (
	nodeNameClaim = "authentication.kubernetes.io/node-name"
	nodeUIDClaim  = "authentication.kubernetes.io/node-uid"
)

// API writes reports with server-side apply: one request creates, updates and settles
// conflicts, and takes no right to read anything.
//
// The node that owns a report is known from the claims of the agent's own token, which the API
// server returns to every client. So the agent needs no permission on nodes either.
type API struct {
	client rest.Interface
	asked  bool
	node   string // whose token this is; empty: not said
	uid    types.UID
}

// ConnectAPI is NewAPI with a kubeconfig, or with the ServiceAccount of the pod where that
// is empty.
func ConnectAPI(kubeconfig string) (*API, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, hint.AddTo(fmt.Errorf("find the API server: %w", err), "outside of a pod, use --kubeconfig FILE")
		}
		return NewAPI(config)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %q: %w", kubeconfig, err)
	}
	return NewAPI(config)
}

// NewAPI returns a writer for the API server of a configuration.
func NewAPI(config *rest.Config) (*API, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("prepare to write reports: %w", err)
	}
	c := rest.CopyConfig(config)
	c.APIPath = "/apis"
	c.GroupVersion = &v1alpha1.GroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.UserAgent = Manager + "/" + version.Version
	c.Timeout = wait.RequestTimeout
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("prepare to write reports: %w", err)
	}
	return &API{client: client}, nil
}

// WriteReport implements [Reports].
func (a *API) WriteReport(ctx context.Context, report *v1alpha1.NodeCertificateReport) error {
	if err := a.askOwner(ctx); err != nil {
		return err
	}
	if a.node != "" && a.node != report.Name {
		return hint.AddTo(fmt.Errorf("write report of node %q: this agent's token is of node %q", report.Name, a.node),
			"--node-name must be the node's name in the API")
	}
	owned := *report
	if a.uid != "" {
		owned.OwnerReferences = []metav1.OwnerReference{OwnerOf(a.node, a.uid)}
	}
	body, err := json.Marshal(&owned)
	if err != nil {
		return fmt.Errorf("write report of node %q: %w", report.Name, err)
	}
	err = a.client.Patch(types.ApplyPatchType).Resource("nodecertificatereports").Name(report.Name).
		Param("fieldManager", Manager).Param("force", "true").Body(body).Do(ctx).Error()
	if err != nil && a.node == "" && apierrors.IsForbidden(err) {
		return hint.AddTo(fmt.Errorf("write report of node %q: %w", report.Name, err),
			"the API server does not name the node of the token; it always does from Kubernetes 1.32 on, see docs/security.md")
	}
	if err != nil {
		return fmt.Errorf("write report of node %q: %w", report.Name, err)
	}
	return nil
}

// OwnerOf is the owner reference that deletes a report with its node.
func OwnerOf(node string, uid types.UID) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node, UID: uid}
}

// askOwner determines once the node of the agent's token. If the API server does not support
// the request, reports have no owner, and the admission policy of an installation refuses them.
func (a *API) askOwner(ctx context.Context) error {
	if a.asked {
		return nil
	}
	question, err := json.Marshal(&authenticationv1.SelfSubjectReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"}})
	if err != nil {
		return fmt.Errorf("read the claims of this agent's token: %w", err)
	}
	data, err := a.client.Post().AbsPath("/apis/authentication.k8s.io/v1/selfsubjectreviews").Body(question).Do(ctx).Raw()
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		a.asked = true
		return nil
	case err != nil:
		return fmt.Errorf("read the claims of this agent's token: %w", err)
	}
	var answer authenticationv1.SelfSubjectReview
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("read the claims of this agent's token: %w", err)
	}
	first := func(name string) string {
		if v := answer.Status.UserInfo.Extra[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	a.node = first(nodeNameClaim)
	a.uid = types.UID(first(nodeUIDClaim))
	// A token that was made before its Node object names no UID; the next one does.
	a.asked = a.node == "" || a.uid != ""
	if a.node == "" {
		a.uid = ""
	}
	return nil
}
