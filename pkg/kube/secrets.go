package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// SecretCopy is a certificate in a Secret. It holds nothing secret.
type SecretCopy struct {
	Namespace         string
	Name              string
	Key               string // of the Secret's data
	FingerprintSHA256 string
}

// secretsPage is how many Secrets are held in memory at a time.
const secretsPage = 50

// FindInSecrets returns where in Secrets of any namespace a certificate with one of the
// fingerprints lies, in any key of their data that is PEM. Keys are neither parsed nor kept:
// what was read is overwritten with zeros. Without the right to list secrets it is a
// [*MissingPermissionsError].
func FindInSecrets(ctx context.Context, client kubernetes.Interface, fingerprints []string) ([]SecretCopy, error) {
	if err := mayListSecrets(ctx, client); err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, f := range fingerprints {
		wanted[strings.ToLower(f)] = f != ""
	}
	var out []SecretCopy
	options := metav1.ListOptions{Limit: secretsPage}
	for {
		page, err := client.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list secrets: %w", err)
		}
		for i := range page.Items {
			out = append(out, copiesIn(&page.Items[i], wanted)...)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	slices.SortFunc(out, func(a, b SecretCopy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Key, b.Key), cmp.Compare(a.FingerprintSHA256, b.FingerprintSHA256))
	})
	return out, nil
}

func copiesIn(s *corev1.Secret, wanted map[string]bool) []SecretCopy {
	var out []SecretCopy
	for key, value := range s.Data {
		chain, err := certs.ParsePEM(value)
		clear(value)
		if err != nil {
			continue // no certificate in it
		}
		for _, c := range chain {
			if f := certs.Fingerprint(c); wanted[f] {
				out = append(out, SecretCopy{Namespace: s.Namespace, Name: s.Name, Key: key, FingerprintSHA256: f})
			}
		}
	}
	return out
}

func mayListSecrets(ctx context.Context, client kubernetes.Interface) error {
	list := permission{resource: "secrets", why: "find copies of certificates; leave --find-secrets out to do without"}
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: list.resource}},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("check permissions: %w", err)
	case !review.Status.Allowed:
		return &MissingPermissionsError{Use: "--find-secrets", Missing: []string{list.describe("list")}}
	}
	return nil
}
