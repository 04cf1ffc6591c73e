package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// secretCopies names the Secrets with a copy of a certificate that a plan renews.
func (o *rotateOptions) secretCopies(ctx context.Context, c *cluster, p fleet.Rotation) ([]string, error) {
	names := map[string]string{}
	for _, s := range p.Plan.AllSteps() {
		for _, t := range s.Targets {
			names[t.OldFingerprint] = t.Name + " of " + s.Node
		}
	}
	return findSecrets(ctx, c.api, names)
}

// certificatesOf names all certificates of nodes by their fingerprints.
func certificatesOf(nodes []inventory.Node) map[string]string {
	names := map[string]string{}
	for _, n := range nodes {
		for _, c := range n.Certificates {
			names[c.FingerprintSHA256] = c.Name + " of " + n.Name
		}
	}
	return names
}

// findSecrets describes the copies of certificates in Secrets. names maps fingerprints to the
// certificates' names.
func findSecrets(ctx context.Context, a api, names map[string]string) ([]string, error) {
	found, err := a.SecretCopies(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, err
	}
	var out []string
	if len(found.Found) > 0 {
		out = append(out, secretsText(found.Found, names))
	}
	if found.NotSearched != "" {
		out = append(out, "Not searched for copies: "+found.NotSearched+".")
	}
	return out, nil
}

func secretsText(found []kube.SecretCopy, names map[string]string) string {
	more := ""
	if n := len(found) - maxNamed; n > 0 {
		found = found[:maxNamed]
		more = fmt.Sprintf(" and %d more", n)
	}
	words := make([]string, 0, len(found))
	for _, s := range found {
		kind := ""
		if s.ConfigMap {
			kind = "ConfigMap "
		}
		words = append(words, kind+fmt.Sprintf("%s/%s key %q (%s)", s.Namespace, s.Name, s.Key, names[s.FingerprintSHA256]))
	}
	return "Secrets with a copy, which no rotation changes: " + strings.Join(words, ", ") + more + ". Replace them after a rotation."
}
