package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInstallSaysWhereTheDashboardIs(t *testing.T) {
	const service = "/api/v1/namespaces/rotate-certs/services/rotate-certs-dashboard"
	s := newAPIServer(t)
	assert.NotContains(t, s.install(t, ""), "Dashboard")
	assert.NotContains(t, s.object(watcherPath), "--dashboard", "off by default")
	roles := s.object("/apis/rbac.authorization.k8s.io/v1/clusterroles/rotate-certs-watcher")
	said := s.install(t, "--dashboard")
	assert.Contains(t, said, "port-forward service/rotate-certs-dashboard 8444:80, then http://localhost:8444")
	assert.Contains(t, said, "change       --dashboard: false -> true\n")
	assert.NotContains(t, said, "granted", "the watcher needs no further right")
	assert.Equal(t, roles, s.object("/apis/rbac.authorization.k8s.io/v1/clusterroles/rotate-certs-watcher"))
	s.add(t, "/api/v1/namespaces/rotate-certs/secrets/tls", `{"data":{"tls.crt":"eA==","tls.key":"eA=="}}`)
	assert.Contains(t, s.install(t, "--dashboard-tls-secret tls"), "8444:443, then https://localhost:8444")
	assert.Len(t, s.paths(service), 1)
	assert.NotContains(t, s.install(t, "--dashboard=false"), "Dashboard:")
	assert.Empty(t, s.paths(service))
	assert.NotContains(t, s.object(watcherPath), `"secretName":"tls"`)
}

// TestInstallMountsTheFleetKeyForTheDashboard only, and only where the summary is shared.
func TestInstallMountsTheFleetKeyForTheDashboard(t *testing.T) {
	s := newAPIServer(t)
	s.add(t, "/api/v1/namespaces/rotate-certs/secrets/nats", `{"data":{"reporter.creds":"eA==","fleet.creds":"eA=="}}`)
	const flag = "--nats-fleet-creds=/etc/rotate-certs/nats/fleet.creds"
	for _, flags := range []string{"--nats-url tls://n.test --nats-secret nats --dashboard", "--share-summary --dashboard=false"} {
		s.install(t, flags)
		assert.NotContains(t, s.object(watcherPath), "fleet.creds", flags)
	}
	s.install(t, "--dashboard")
	assert.Contains(t, s.object(watcherPath), flag)
}

func TestInstallRefusesInvalidDashboards(t *testing.T) {
	for flags, says := range map[string]string{
		"--dashboard-tls-secret=tls":                                                            "need --dashboard",
		"--dashboard-host=a":                                                                    "need --dashboard",
		"--dashboard --dashboard-host=https://a":                                                `--dashboard-host "https://a": want a name`,
		"--dashboard --dashboard-tls-secret=A":                                                  `--dashboard-tls-secret "A" is not a valid name`,
		"--dashboard --dashboard-proxy=auth":                                                    "--dashboard-proxy needs --dashboard-tls-secret",
		"--dashboard --dashboard-proxy=a/b --dashboard-tls-secret=tls":                          `--dashboard-proxy "a/b": want the common name`,
		"--dashboard --without-watcher":                                                         "installs no watcher to serve the dashboard",
		"--dashboard --dashboard-tls-secret=missing":                                            "create secret tls missing --cert=FILE --key=FILE",
		"--dashboard --dashboard-tls-secret=opaque":                                             `Secret "opaque" has no tls.key`,
		"--dashboard --dashboard-tls-secret=tls --dashboard-proxy=auth":                         `Secret "tls" has no ca.crt`,
		"--dashboard --dashboard-tls-secret=tls --dashboard-host=a --nats-secret=x":             "need --nats-url",
		"--dashboard --share-summary":                                                           "need --nats-url",
		"--without-watcher --share-summary":                                                     "--without-watcher installs no watcher",
		"--dashboard --dashboard-tls-secret=tls --dashboard-proxy=auth --dashboard-tls-secret=": "--dashboard-proxy needs --dashboard-tls-secret",
	} {
		s := newAPIServer(t)
		s.add(t, "/api/v1/namespaces/rotate-certs/secrets/tls", `{"data":{"tls.crt":"eA==","tls.key":"eA=="}}`)
		s.add(t, "/api/v1/namespaces/rotate-certs/secrets/opaque", `{"data":{"tls.crt":"eA=="}}`)
		code, _, stderr := s.run(t, append([]string{"install"}, strings.Fields(flags)...)...)
		assert.Equal(t, 1, code, flags)
		assert.Contains(t, stderr, says, flags)
		assert.Empty(t, s.paths("/deployments/"), flags)
	}
}
