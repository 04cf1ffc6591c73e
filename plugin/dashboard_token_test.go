package plugin

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

// TestAPITokenIsInItsFileOnly: the file is for the operator only, its token opens the API, and it is
// deleted at the end.
func TestAPITokenIsInItsFileOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("rotate-certs:OFANEARLIERDASHBOARD\n"), 0o644)) //nolint:gosec // as another program may have left it
	f := healthy()
	d := serveDashboard(t, f, "--api-token-file", path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	token := strings.TrimSpace(string(text))
	require.True(t, strings.HasPrefix(token, dashboard.TokenPrefix))
	assert.NotContains(t, token, "EARLIER")
	for name, want := range map[string]int{token: http.StatusOK, "": http.StatusUnauthorized, token + "x": http.StatusUnauthorized} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.base+"/v3/clusters", nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+name)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, want, response.StatusCode, string(body))
		assert.NotContains(t, string(body), token)
	}
	_, page := d.request(t, d.home, nil)
	assert.NotContains(t, page, token)
	d.signals <- os.Interrupt
	assert.Zero(t, <-d.code)
	assert.NoFileExists(t, path)
	assert.NotContains(t, d.errOut.String(), token)
}

func TestAPITokenReplacesNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(config, []byte("apiVersion: v1\n"), 0o600))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(config, link))
	for path, says := range map[string]string{config: "holds no such token", dir: "is not a file", link: "is not a file", filepath.Join(dir, "no", "such"): "no such file or directory"} {
		code, _, stderr := healthy().run(t, "dashboard", "--no-open", "--api-token-file", path)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "error: write the token of the API")
		assert.Contains(t, stderr, says)
	}
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	assert.Equal(t, "apiVersion: v1\n", string(text))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 2)
}

// TestAPITokenOfALaterDashboardStays: the first that ends deletes its own token only.
func TestAPITokenOfALaterDashboardStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	first, err := writeTokenFile(path, dashboard.NewToken())
	require.NoError(t, err)
	second, err := writeTokenFile(path, dashboard.NewToken())
	require.NoError(t, err)
	first()
	assert.FileExists(t, path)
	second()
	assert.NoFileExists(t, path)
}
