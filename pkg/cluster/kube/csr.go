package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

var _ fleet.Signers = (*Signers)(nil)

// ApprovalReason is the reason on the condition of requests that we approved.
const ApprovalReason = "RotateCertsApprove"

// Signers have kubelet certificates signed through the certificates API.
type Signers struct {
	Client kubernetes.Interface
}

// Approve has the CSR object of a node issued: it checks it against the node, waits a moment
// for the controller manager to approve it, approves it otherwise, and waits for the
// certificate until ctx ends. A request that is not the node's own is refused, and not changed.
func (s *Signers) Approve(ctx context.Context, node string, want nodeapi.CSR) error {
	csr, err := s.getRequest(ctx, want.Name)
	if err != nil {
		return err
	}
	if err := s.checkAgainstNode(ctx, csr, node, want.Signer); err != nil {
		return err
	}
	// Nothing in Kubernetes approves serving certificates automatically.
	if csr.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName {
		if csr, err = s.awaitDecision(ctx, csr); err != nil {
			return err
		}
	}
	if err := s.approveRequest(ctx, csr, "the rotation of node "+node); err != nil {
		return err
	}
	_, err = s.awaitIssued(ctx, csr)
	return err
}

// awaitDecision returns the request once it is approved or denied, or as it is after a second.
func (s *Signers) awaitDecision(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) (*certificatesv1.CertificateSigningRequest, error) {
	// The controller manager may approve the request, as kubeadm's bindings permit for kubelet
	// client certificates.
	moment, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	latest, err := s.awaitRequest(moment, csr, isDecided)
	if err != nil && moment.Err() != nil && ctx.Err() == nil {
		return latest, nil
	}
	return latest, err
}

// Issue has a node's request signed with the credentials of this process, where the node's own
// identity has expired. The request passes the same checks; its object is deleted afterwards.
func (s *Signers) Issue(ctx context.Context, node string, want nodeapi.CSR) ([]byte, error) {
	request := []byte(want.PEM)
	if err := s.checkRequest(ctx, request, want.Signer, usagesOf(want), node); err != nil {
		return nil, fmt.Errorf("refuse the request of node %q: %w", node, err)
	}
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{
			Name:   "rotate-certs-" + shortHash(node+want.Signer+want.PEM),
			Labels: map[string]string{LabelName: appName, LabelManagedBy: appName},
		},
		Spec: certificatesv1.CertificateSigningRequestSpec{Request: request, SignerName: want.Signer, Usages: usagesOf(want)},
	}
	lifetime := max(minExpirationSeconds, cmp.Or(want.ExpirationSeconds, defaultExpirationSeconds))
	csr.Spec.ExpirationSeconds = &lifetime
	made, err := s.createRequest(ctx, csr)
	if err != nil {
		return nil, err
	}
	defer s.removeRequest(ctx, made)
	if err := s.approveRequest(ctx, made, "the rotation of node "+node+", whose own identity cannot request it"); err != nil {
		return nil, err
	}
	return s.awaitIssued(ctx, made)
}

const (
	// minExpirationSeconds is the shortest lifetime that the API takes.
	minExpirationSeconds = 600
	// defaultExpirationSeconds is the lifetime to request where the old certificate's is not
	// known: a year, which the signer may shorten. A request without one is refused by the
	// admission policy for the watcher.
	defaultExpirationSeconds = 365 * 24 * 3600
)

func (s *Signers) checkAgainstNode(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, node, signer string) error {
	err := checkRequester(csr, node)
	if err == nil && csr.Spec.SignerName != signer {
		err = fmt.Errorf("it is for signer %q, not %q", csr.Spec.SignerName, signer)
	}
	if err == nil {
		err = s.checkRequest(ctx, csr.Spec.Request, csr.Spec.SignerName, csr.Spec.Usages, node)
	}
	if err != nil {
		return fmt.Errorf("refuse to approve certificate signing request %q: %w", csr.Name, err)
	}
	return nil
}

func (s *Signers) checkRequest(ctx context.Context, request []byte, signer string, usages []certificatesv1.KeyUsage, node string) error {
	var all []kubenode.Node
	if signer == certificatesv1.KubeletServingSignerName {
		var err error
		for pause := (wait.Backoff{}); ; {
			if all, err = ListNodes(ctx, s.Client); err == nil {
				break
			}
			if !isTransient(err) || pause.WaitLonger(ctx) != nil {
				return err
			}
		}
	}
	return checkRequest(request, signer, usages, node, all)
}

func (s *Signers) getRequest(ctx context.Context, name string) (*certificatesv1.CertificateSigningRequest, error) {
	for pause := (wait.Backoff{}); ; {
		csr, err := s.Client.CertificatesV1().CertificateSigningRequests().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return csr, nil
		}
		if !isTransient(err) || pause.WaitLonger(ctx) != nil {
			return nil, fmt.Errorf("read certificate signing request %q: %w", name, err)
		}
	}
}

// createRequest creates the object, or returns the one that an earlier attempt has created: the name
// is a hash of the request. An object of an earlier run is replaced, since another user may
// have created it.
func (s *Signers) createRequest(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) (*certificatesv1.CertificateSigningRequest, error) {
	for pause := (wait.Backoff{}); ; {
		made, err := s.Client.CertificatesV1().CertificateSigningRequests().Create(ctx, csr, metav1.CreateOptions{})
		if err == nil {
			return made, nil
		}
		if apierrors.IsAlreadyExists(err) {
			if pause.Tries > 0 {
				return s.getRequest(ctx, csr.Name)
			}
			s.removeRequest(ctx, csr)
		} else if !isTransient(err) {
			return nil, fmt.Errorf("create certificate signing request %q: %w", csr.Name, err)
		}
		if pause.WaitLonger(ctx) != nil {
			return nil, fmt.Errorf("create certificate signing request %q: %w", csr.Name, err)
		}
	}
}

func (s *Signers) removeRequest(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait.RequestTimeout)
	defer cancel()
	// An object that is left holds nothing secret, and the controller manager deletes it
	// after an hour.
	_ = s.Client.CertificatesV1().CertificateSigningRequests().Delete(ctx, csr.Name, metav1.DeleteOptions{})
}

// approveRequest adds the condition, unless the request was approved or denied in the meantime.
func (s *Signers) approveRequest(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, why string) error {
	for pause := (wait.Backoff{}); ; {
		if isDecided(csr) {
			return nil
		}
		csr = csr.DeepCopy()
		now := metav1.Now()
		csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, LastUpdateTime: now,
			Reason: ApprovalReason, Message: "approved by kubectl rotate-certs for " + why,
		})
		_, err := s.Client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
		if err == nil {
			return nil
		}
		if (!isTransient(err) && !apierrors.IsConflict(err)) || pause.WaitLonger(ctx) != nil {
			return fmt.Errorf("approve certificate signing request %q: %w", csr.Name, err)
		}
		if csr, err = s.getRequest(ctx, csr.Name); err != nil {
			return err
		}
	}
}

// awaitIssued waits for the certificate. That can take half a minute and more where a controller
// manager has ended and its successor waits until the leader's Lease expires.
func (s *Signers) awaitIssued(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	csr, err := s.awaitRequest(ctx, csr, func(c *certificatesv1.CertificateSigningRequest) bool {
		return len(c.Status.Certificate) > 0 || requestRejection(c) != nil
	})
	if err != nil {
		return nil, hint.AddTo(err, "is a controller manager running, with the cluster's signing key? see docs/troubleshooting.md#signing-request")
	}
	if r := requestRejection(csr); r != nil {
		return nil, r
	}
	return csr.Status.Certificate, nil
}

// awaitRequest returns the object's latest state once good returns true for it, or the error.
func (s *Signers) awaitRequest(ctx context.Context, csr *certificatesv1.CertificateSigningRequest,
	good func(*certificatesv1.CertificateSigningRequest) bool,
) (*certificatesv1.CertificateSigningRequest, error) {
	requests := s.Client.CertificatesV1().CertificateSigningRequests()
	selector := "metadata.name=" + csr.Name
	latest := csr
	deleted := false
	err := observeAll(ctx, source[*certificatesv1.CertificateSigningRequest]{
		list: func(ctx context.Context, o metav1.ListOptions) ([]*certificatesv1.CertificateSigningRequest, string, error) {
			o.FieldSelector = selector
			list, err := requests.List(ctx, o)
			if err != nil {
				return nil, "", err
			}
			return pointersTo(list.Items), list.ResourceVersion, nil
		},
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return requests.Watch(ctx, o)
		},
	}, func(c *certificatesv1.CertificateSigningRequest, gone bool) bool {
		if c.Name != csr.Name {
			return false
		}
		latest = c
		deleted = gone
		return gone || good(c)
	})
	if err != nil {
		return latest, fmt.Errorf("wait for certificate signing request %q: %w", csr.Name, err)
	}
	if deleted {
		return latest, fmt.Errorf("wait for certificate signing request %q: it was deleted", csr.Name)
	}
	return latest, nil
}

// isDecided reports whether a request was approved, denied or has failed.
func isDecided(c *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(c.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
	})
}

// requestRejection is the error of a request that was denied, or that its signer could not sign.
func requestRejection(c *certificatesv1.CertificateSigningRequest) error {
	for _, condition := range c.Status.Conditions {
		if condition.Type == certificatesv1.CertificateDenied || condition.Type == certificatesv1.CertificateFailed {
			return fmt.Errorf("certificate signing request %q: %s by its signer or an approver: %s: %s",
				c.Name, condition.Type, condition.Reason, condition.Message)
		}
	}
	return nil
}
