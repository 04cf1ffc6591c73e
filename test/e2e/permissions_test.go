//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDocumentedPermissionsSuffice applies the roles of docs/permissions.md as they
// stand there, and works with nothing but them.
func TestDocumentedPermissionsSuffice(t *testing.T) {
	page, err := os.ReadFile("../../docs/permissions.md")
	require.NoError(t, err)
	for use, args := range map[string][]string{
		"check":  {"check"},
		"rotate": {"--service", "kube-scheduler"},
	} {
		t.Run(use, func(t *testing.T) {
			found := regexp.MustCompile("(?s)<!-- roles " + use + " -->\n```yaml\n(.*?)```").FindSubmatch(page)
			require.NotNil(t, found)
			account := "documented-" + use
			the.apply(t, string(found[1])+the.bindings(string(found[1]), account))
			o := the.kubectl(t, append([]string{"rotate-certs", "--kubeconfig", the.accountKubeconfig(t, account)}, args...)...)
			assert.Zero(t, o.exit, "%s", o)
		})
	}
}

// bindings gives all roles of a page to an account.
func (l *lab) bindings(roles, account string) string {
	var out strings.Builder
	subject := fmt.Sprintf("subjects: [{kind: ServiceAccount, name: %s, namespace: default}]\n", account)
	for _, role := range strings.Split(roles, "---\n") {
		kind := regexp.MustCompile(`(?m)^kind: (\w+)$`).FindStringSubmatch(role)[1]
		name := regexp.MustCompile(`(?m)^  name: (\S+)$`).FindStringSubmatch(role)[1]
		fmt.Fprintf(&out, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %sBinding\nmetadata:\n  name: %s\n", kind, account)
		if ns := regexp.MustCompile(`(?m)^  namespace: (\S+)$`).FindStringSubmatch(role); ns != nil {
			fmt.Fprintf(&out, "  namespace: %s\n", ns[1])
		}
		fmt.Fprintf(&out, "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s}\n%s", kind, name, subject)
	}
	return out.String()
}

// apply creates objects, and deletes them when the test ends.
func (l *lab) apply(t *testing.T, objects string) {
	t.Helper()
	kubectl := func(ctx context.Context, verb ...string) {
		began := time.Now()
		ctx, cancel := context.WithTimeoutCause(ctx, limit, errHangs)
		defer cancel()
		cmd := exec.CommandContext(ctx, "kubectl", append(verb, "-f", "-")...)
		cmd.Stdin = bytes.NewBufferString(objects)
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s", out)
		t.Logf("kubectl %s: %s", verb[0], time.Since(began).Round(time.Millisecond))
	}
	kubectl(t.Context(), "apply")
	t.Cleanup(func() { kubectl(context.WithoutCancel(t.Context()), "delete") })
}

// accountKubeconfig is that of a new ServiceAccount in the namespace default.
func (l *lab) accountKubeconfig(t *testing.T, account string) string {
	t.Helper()
	accounts := l.client.CoreV1().ServiceAccounts("default")
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, accounts.Delete(context.WithoutCancel(t.Context()), account, metav1.DeleteOptions{}))
	})
	token, err := accounts.CreateToken(t.Context(), account, &authv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	return l.tokenKubeconfig(t, token.Status.Token)
}

// tokenKubeconfig is that of a user with a token.
func (l *lab) tokenKubeconfig(t *testing.T, token string) string {
	t.Helper()
	config := l.kubectl(t, "config", "view", "--raw", "--minify", "-o", "jsonpath={.clusters[0].cluster.server} {.clusters[0].cluster.certificate-authority-data}")
	require.Zero(t, config.exit, "%s", config)
	var server, ca string
	_, err := fmt.Sscan(config.stdout, &server, &ca)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"x",
"clusters":[{"name":"x","cluster":{"server":%q,"certificate-authority-data":%q}}],
"users":[{"name":"x","user":{"token":%q}}],"contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}]}`, server, ca, token)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
