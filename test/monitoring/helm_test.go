package monitoring

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

// templated are the objects of a release in a namespace, as "helm template --include-crds"
// makes them.
func templated(t *testing.T, namespace, values string) (map[string]map[string]any, error) {
	t.Helper()
	loaded, err := loader.LoadDir(root + "deploy/chart")
	require.NoError(t, err)
	given, err := chartutil.ReadValues([]byte(values))
	require.NoError(t, err)
	all, err := chartutil.ToRenderValues(loaded, given, chartutil.ReleaseOptions{Name: "certs", Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	return objects(t, documents(loaded, files)), nil
}

func documents(loaded *chart.Chart, files map[string]string) string {
	var out strings.Builder
	for _, crd := range loaded.CRDObjects() {
		out.WriteString("\n---\n" + string(crd.File.Data))
	}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			out.WriteString("\n---\n" + text)
		}
	}
	return out.String()
}

// TestHelmIsInstall: what Helm makes of values is what install makes of the flags that say
// the same, and the namespace, which Helm needs before.
func TestHelmIsInstall(t *testing.T) {
	for name, tt := range map[string]struct{ values, flags string }{
		"nothing set":     {"", ""},
		"notify only":     {"notifyOnly: true", "--notify-only"},
		"without watcher": {"withoutWatcher: true", "--without-watcher"},
		"a mirror":        {"image: mirror.test/a/rotate-certs-node:v9\nimagePullSecret: pull", "--image mirror.test/a/rotate-certs-node:v9 --image-pull-secret pull"},
		"images by digests": {"image: mirror.test/node@sha256:0a\nwatcherImage: mirror.test/watcher@sha256:0b",
			"--image mirror.test/node@sha256:0a --watcher-image mirror.test/watcher@sha256:0b"},
		"a NATS of one's own": {"natsURLs: [tls://a.test:4222, tls://b.test:4222]\nnatsSecret: nats\nnatsReplicas: 3\nnatsDomain: hub",
			"--nats-url tls://a.test:4222,tls://b.test:4222 --nats-secret nats --nats-replicas 3 --nats-domain hub"},
		"a shared summary": {"natsURLs: [nats://a.test:4222]\nnatsSecret: nats\nshareSummary: true", "--nats-url nats://a.test:4222 --nats-secret nats --share-summary"},
		"no Secret for it": {"natsURLs: [nats://a.test:4222]", "--nats-url nats://a.test:4222"},
		"a volume":         {"storageClass: fast", "--storage-class fast"},
		"directories": {"agentDirectories: [/srv, /data]\nkubeletRootDir: /data/kubelet\nnoCertificateMetrics: true\nclusterName: prod",
			"--agent-directory /srv,/data --kubelet-root-dir /data/kubelet --certificate-metrics=false --cluster-name prod"},
		"a dashboard behind an ingress": {"dashboard: true", "--dashboard"},
		"a dashboard": {"dashboard: true\ndashboardTLSSecret: tls\ndashboardHosts: [certs.example.org, \"certs:8443\"]\ndashboardProxies: [auth]\nnatsURLs: [nats://a.test:4222]",
			"--dashboard --dashboard-tls-secret tls --dashboard-host certs.example.org,certs:8443 --dashboard-proxy auth --nats-url nats://a.test:4222"},
		"a policy":             {"policy: {defaults: {mode: NotifyOnly}, limits: {rotationsPerDay: 2}}", "--policy testdata/policy.yaml"},
		"a policy of defaults": {"createPolicy: true", "--policy testdata/empty-policy.yaml"},
		"a kubelet elsewhere":  {"kubeletRootDir: /k", "--kubelet-root-dir /k"},
		"pods": {`priorityClass: high
tolerations: [{key: a, operator: Exists}, {key: b, operator: Equal, value: "1", effect: NoExecute}]
labels: {team: "007", example.org/cost: ""}
watcherRequests: {memory: 128Mi, ephemeral-storage: 1Gi}
watcherLimits: {cpu: "1"}
agentRequests: {cpu: 10m}
agentLimits: {memory: 256Mi}
`, "--priority-class high --toleration a,b=1:NoExecute --label team=007,example.org/cost= --watcher-requests memory=128Mi,ephemeral-storage=1Gi " +
			"--watcher-limits cpu=1 --agent-requests cpu=10m --agent-limits memory=256Mi"},
	} {
		t.Run(name, func(t *testing.T) {
			want := installed(t, append(strings.Fields(tt.flags), "--namespace", "certs")...)
			if !strings.Contains(tt.values, "olicy:") {
				delete(want, "RotationPolicy /default") // with the defaults, which hold without it
			}
			got, err := templated(t, "certs", tt.values+"\ncreateNamespace: true")
			require.NoError(t, err)
			equal(t, want, got)
			without, err := templated(t, "certs", tt.values)
			require.NoError(t, err)
			delete(got, "Namespace /certs")
			equal(t, got, without)
		})
	}
}

// TestHelmRefusesWhatInstallRefuses before anything is sent.
func TestHelmRefusesWhatInstallRefuses(t *testing.T) {
	for values, flags := range map[string]string{
		"notifyonly: true":            "--notifyonly",
		"notifyOnly: maybe":           "--notify-only=maybe",
		"image: a b":                  "--image=a b",
		"image: registry.test/node:7": "--image=registry.test/node:7",
		"image: registry.test/rotate-certs-node@sha256:a":       "--image=registry.test/rotate-certs-node@sha256:a",
		"imagePullSecret: a/b":                                  "--image-pull-secret=a/b",
		"natsURLs: [http://a.test]":                             "--nats-url=http://a.test",
		"natsURLs: [\"nats://u:p@a.test:4222\"]":                "--nats-url=nats://u:p@a.test:4222",
		"natsSecret: creds":                                     "--nats-secret=creds",
		"natsReplicas: 3":                                       "--nats-replicas=3",
		"shareSummary: true":                                    "--share-summary",
		"natsURLs: [nats://a.test]\nnatsReplicas: 6":            "--nats-url=nats://a.test --nats-replicas=6",
		"natsURLs: [nats://a.test]\nnatsDomain: a.b":            "--nats-url=nats://a.test --nats-domain=a.b",
		"natsURLs: [nats://a.test]\nstorageClass: fast":         "--nats-url=nats://a.test --storage-class=fast",
		"storageClass: A":                                       "--storage-class=A",
		"agentDirectories: [srv]":                               "--agent-directory=srv",
		"agentDirectories: [/srv/../etc]":                       "--agent-directory=/srv/../etc",
		"agentDirectories: [/run/x]":                            "--agent-directory=/run/x",
		"agentDirectories: [/var]":                              "--agent-directory=/var",
		"agentDirectories: [/etc/kubernetes]":                   "--agent-directory=/etc/kubernetes",
		"agentDirectories: [/data/pods]\nkubeletRootDir: /data": "--agent-directory=/data/pods --kubelet-root-dir=/data",
		"kubeletRootDir: /proc/1":                               "--kubelet-root-dir=/proc/1",
		"clusterName: a b":                                      "--cluster-name=a b",
		"dashboardTLSSecret: tls":                               "--dashboard-tls-secret=tls",
		"dashboard: true\ndashboardProxies: [a]":                "--dashboard --dashboard-proxy=a",
		"dashboard: true\ndashboardHosts: [\"a/b\"]":            "--dashboard --dashboard-host=a/b",
		"withoutWatcher: true\ndashboard: true":                 "--without-watcher --dashboard",
		"priorityClass: A":                                      "--priority-class=A",
		"tolerations: [{key: a, effect: Now}]":                  "--toleration=a:Now",
		"labels: {app.kubernetes.io/name: a}":                   "--label=app.kubernetes.io/name=a",
		"labels: {a: b c}":                                      "--label=a=b c",
		"watcherRequests: {gpu: \"1\"}":                         "--watcher-requests=gpu=1",
		"agentLimits: {cpu: much}":                              "--agent-limits=cpu=much",
		"withoutWatcher: true\nnotifyOnly: true":                "--without-watcher --notify-only",
		"withoutWatcher: true\nclusterName: prod":               "--without-watcher --cluster-name=prod",
	} {
		_, err := templated(t, "certs", values)
		assert.Error(t, err, values)
		args := []string{"install", "--dry-run=client"}
		for flag := range strings.SplitSeq(flags, " --") {
			args = append(args, "--"+strings.TrimPrefix(flag, "--"))
		}
		assert.Error(t, exec.CommandContext(context.Background(), plugin, args...).Run(), flags)
	}
}

func TestHelmLint(t *testing.T) {
	for _, message := range lint.AllWithKubeVersion(root+"deploy/chart", nil, "certs", nil).Messages {
		assert.Less(t, message.Severity, support.WarningSev, message.Error())
	}
}
