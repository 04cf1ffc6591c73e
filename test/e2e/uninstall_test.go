//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func uninstalledItLeavesNothing(t *testing.T) {
	o := the.kubectl(t, "rotate-certs", "uninstall", "--yes")
	require.Zero(t, o.exit, "%s", o)
	the.assertNothingLabelled(t)
	assert.NotZero(t, the.kubectl(t, "get", "namespace", "rotate-certs").exit)
}

func (s *natsServer) uninstalledItLeavesTheSecret(t *testing.T) {
	o := the.kubectl(t, "rotate-certs", "uninstall", "--yes")
	require.Zero(t, o.exit, "%s", o)
	the.assertNothingLabelled(t)
	left := the.kubectl(t, "get", "secrets,deployments,daemonsets,pods,services,poddisruptionbudgets,leases,serviceaccounts", "-n", "rotate-certs", "-o", "name")
	assert.ElementsMatch(t, []string{"secret/rotate-certs-nats", "serviceaccount/default"}, strings.Fields(left.stdout), "%s", o)
}

// assertNothingLabelled lists the objects of all kinds that there are.
func (l *lab) assertNothingLabelled(t *testing.T) {
	t.Helper()
	groups, err := l.client.Discovery().ServerPreferredResources()
	require.NoError(t, err)
	for _, group := range groups {
		assert.NotContains(t, group.GroupVersion, "rotate-certs.io")
		prefix := "/apis/"
		if group.GroupVersion == "v1" {
			prefix = "/api/"
		}
		for _, kind := range group.APIResources {
			if !slices.Contains(kind.Verbs, "list") {
				continue
			}
			text, err := l.client.Discovery().RESTClient().Get().AbsPath(prefix+group.GroupVersion, kind.Name).
				Param("labelSelector", "app.kubernetes.io/name=rotate-certs").DoRaw(t.Context())
			require.NoError(t, err, kind.Name)
			var left metav1.PartialObjectMetadataList
			require.NoError(t, json.Unmarshal(text, &left), "%s", text)
			assert.Empty(t, left.Items, kind.Name)
		}
	}
}
