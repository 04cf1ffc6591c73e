package kube

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// SecretCopy is a certificate in a Secret or a ConfigMap. It holds nothing secret.
type SecretCopy struct {
	Namespace         string
	Name              string
	Key               string // of its data
	FingerprintSHA256 string
	ConfigMap         bool // in a ConfigMap, not a Secret
}

// secretsPage is how many Secrets are held in memory at a time.
const secretsPage = 50

// Copies is the result of [FindInSecrets].
type Copies struct {
	Found []SecretCopy
	// NotSearched names the kinds that were not searched, and why; empty: none.
	NotSearched string
}

// FindInSecrets finds certificates by their fingerprints in the Secrets of all namespaces, in
// every entry that is PEM or a kubeconfig, and likewise in ConfigMaps where these may be
// listed. Private keys are neither parsed nor kept: the data of Secrets is overwritten with
// zeros. Without the permission to list Secrets it is a [*MissingPermissionsError].
func FindInSecrets(ctx context.Context, client kubernetes.Interface, fingerprints []string) (Copies, error) {
	if err := mayListSecrets(ctx, client); err != nil {
		return Copies{}, err
	}
	wanted := map[string]bool{}
	for _, f := range fingerprints {
		wanted[strings.ToLower(f)] = f != ""
	}
	var out Copies
	options := metav1.ListOptions{Limit: secretsPage}
	for {
		page, err := client.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return Copies{}, fmt.Errorf("list secrets: %w", err)
		}
		for i := range page.Items {
			out.Found = append(out.Found, copiesIn(page.Items[i].ObjectMeta, page.Items[i].Data, wanted)...)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	switch allowed, err := IsAllowed(ctx, client, Access{Verb: "list", Resource: "configmaps"}); {
	case err != nil:
		return Copies{}, err
	case !allowed:
		out.NotSearched = "ConfigMaps: missing permission to list configmaps in all namespaces"
	default:
		inConfigMaps, err := findInConfigMaps(ctx, client, wanted)
		if err != nil {
			return Copies{}, err
		}
		out.Found = append(out.Found, inConfigMaps...)
	}
	slices.SortFunc(out.Found, func(a, b SecretCopy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Key, b.Key), cmp.Compare(a.FingerprintSHA256, b.FingerprintSHA256))
	})
	return out, nil
}

// findInConfigMaps is the same for ConfigMaps.
func findInConfigMaps(ctx context.Context, client kubernetes.Interface, wanted map[string]bool) ([]SecretCopy, error) {
	var out []SecretCopy
	options := metav1.ListOptions{Limit: secretsPage}
	for {
		page, err := client.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list configmaps: %w", err)
		}
		for i := range page.Items {
			data := map[string][]byte{}
			for key, value := range page.Items[i].Data {
				data[key] = []byte(value)
			}
			for _, found := range copiesIn(page.Items[i].ObjectMeta, data, wanted) {
				found.ConfigMap = true
				out = append(out, found)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return out, nil
		}
	}
}

// copiesIn finds the wanted certificates in data, and overwrites it with zeros.
func copiesIn(of metav1.ObjectMeta, data map[string][]byte, wanted map[string]bool) []SecretCopy {
	var out []SecretCopy
	for key, value := range data {
		found := map[string]bool{} // a chain, or a kubeconfig's users, may hold one twice
		for _, c := range certificatesIn(value) {
			if f := certs.Fingerprint(c); wanted[f] && !found[f] {
				found[f] = true
				out = append(out, SecretCopy{Namespace: of.Namespace, Name: of.Name, Key: key, FingerprintSHA256: f})
			}
		}
		clear(value)
	}
	return out
}

// embedded is a certificate in a kubeconfig, as YAML or JSON. The file is not parsed, since
// that would copy its keys.
var embedded = regexp.MustCompile(`client-certificate-data"?\s*:\s*["']?([A-Za-z0-9+/=]+)`)

// certificatesIn returns the certificates of PEM or of a kubeconfig.
func certificatesIn(value []byte) []*x509.Certificate {
	out, _ := certs.ParsePEM(value) // an error: no PEM
	for _, match := range embedded.FindAllSubmatch(value, -1) {
		pem, err := base64.StdEncoding.DecodeString(string(match[1]))
		if err != nil {
			continue
		}
		if chain, err := certs.ParsePEM(pem); err == nil {
			out = append(out, chain...)
		}
	}
	return out
}

func mayListSecrets(ctx context.Context, client kubernetes.Interface) error {
	return CheckAccess(ctx, client, "--find-secrets", []Access{{Verb: "list", Resource: "secrets", Why: "find copies of certificates; not needed without --find-secrets"}})
}
