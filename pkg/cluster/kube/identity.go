package kube

import (
	"context"
	"fmt"
	"os"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Identity is the authenticated user of this process.
type Identity struct {
	User   string
	Groups []string
	// FingerprintSHA256 is that of the client certificate that was used; empty where there is
	// none, or where the API server is older than 1.32.
	FingerprintSHA256 string
}

// credentialID is the key of the credential that authenticated a user.
const credentialID = "authentication.kubernetes.io/credential-id"

// WhoAmI returns the identity of this process, by a SelfSubjectReview.
func WhoAmI(ctx context.Context, client kubernetes.Interface) (Identity, error) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return Identity{}, fmt.Errorf("create a SelfSubjectReview: %w", err)
	}
	user := review.Status.UserInfo
	out := Identity{User: user.Username, Groups: user.Groups}
	for _, id := range user.Extra[credentialID] {
		if fingerprint, ok := strings.CutPrefix(id, "X509SHA256="); ok {
			out.FingerprintSHA256 = strings.ToLower(fingerprint)
		}
	}
	return out, nil
}

// OwnCertificate describes the client certificate with which a configuration
// authenticates; nil where it uses something else: a token, an exec plugin.
func OwnCertificate(config *rest.Config) (*certs.Facts, error) {
	data := config.CertData
	if len(data) == 0 {
		if config.CertFile == "" {
			return nil, nil
		}
		var err error
		if data, err = os.ReadFile(config.CertFile); err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
	}
	chain, err := certs.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("read the client certificate: %w", err)
	}
	facts := certs.DescribeCertificate(chain[0])
	return &facts, nil
}
