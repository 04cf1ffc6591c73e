package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

const (
	watcherPath = "/apis/apps/v1/namespaces/rotate-certs/deployments/rotate-certs-watcher"
	agentPath   = "/apis/apps/v1/namespaces/rotate-certs/daemonsets/rotate-certs-agent"
	imagePolicy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/rotate-certs-watcher-image"
	rotateRole  = "/apis/rbac.authorization.k8s.io/v1/clusterroles/rotate-certs-watcher:rotate"
)

// install installs, and returns what it said.
func (s *apiServerFake) install(t *testing.T, args string) string {
	t.Helper()
	code, _, stderr := s.run(t, append([]string{"install"}, strings.Fields(args)...)...)
	require.Equal(t, 0, code, stderr)
	return stderr
}

// object is how the API server has an object, as text.
func (s *apiServerFake) object(path string) string {
	s.Lock()
	defer s.Unlock()
	return flat(s.objects[path])
}

// forgetSettings takes from an installation what it keeps of its settings.
func (s *apiServerFake) forgetSettings() {
	s.Lock()
	defer s.Unlock()
	delete(s.objects[agentPath]["metadata"].(map[string]any), "annotations")
}

func TestInstallAgainKeepsSettings(t *testing.T) {
	const external = "--nats-url tls://a.test:4222,tls://b.test:4222 --nats-secret creds"
	for name, tt := range map[string]struct {
		first, again string
		holds        []string // of watcher and agents, afterwards
		lacks        []string
	}{
		"notify only":             {"--notify-only", "", []string{`"--notify-only"`}, nil},
		"no metrics of each one":  {"--certificate-metrics=false", "", []string{`"--certificate-metrics=false"`}, nil},
		"metrics of each one":     {"--certificate-metrics=false", "--certificate-metrics", nil, []string{"--certificate-metrics"}},
		"an external NATS":        {external, "", []string{`"--nats-url=tls://b.test:4222"`, `"secretName":"creds"`, "nats/ca.crt"}, []string{"--store="}},
		"a cluster of NATS":       {external + " --nats-replicas 3 --nats-domain hub", "", []string{`"--nats-replicas=3"`, `"--nats-domain=hub"`}, nil},
		"a shared summary":        {external + " --share-summary", "", []string{`"--share-summary"`}, []string{"fleet"}},
		"a summary no more":       {external + " --share-summary", "--share-summary=false", nil, []string{"--share-summary"}},
		"an image and its Secret": {"--image registry.test/rotate-certs-node:1 --image-pull-secret pull", "", []string{`"image":"registry.test/rotate-certs-node:1"`, `"value":"registry.test/rotate-certs-node:1"`, `"name":"pull"`}, []string{"ghcr.io"}},
		"directories of agents":   {"--agent-directory /srv/,/opt/k8s --kubelet-root-dir /data/kubelet", "", []string{`"path":"/srv"`, `"/host/opt/k8s"`, `"/host/data/kubelet/pods"`, `"/host/var/lib/kubelet/device-plugins"`}, []string{"/host/var/lib/kubelet/pods"}},
		"no more directories":     {"--agent-directory /srv", "--agent-directory=", nil, []string{"/srv"}},
		"a dashboard": {external + " --dashboard --dashboard-tls-secret tls --dashboard-host certs.example.org --dashboard-proxy auth", "", []string{`"--dashboard-address=:8444"`,
			`"--dashboard-host=certs.example.org"`, `"--dashboard-proxy=auth"`, `"secretName":"tls"`, `"secretName":"creds"`}, nil},
		"no more dashboard":        {"--dashboard --dashboard-host certs.example.org", "--dashboard=false", nil, []string{"--dashboard"}},
		"a StorageClass":           {"--storage-class slow", "", []string{`"claimName":"rotate-certs-watcher"`}, nil},
		"a store in the pod":       {"--storage-class none", "", []string{"emptyDir"}, []string{"claimName"}},
		"one changes, others stay": {"--notify-only --image registry.test/rotate-certs-node:1", "--image registry.test/rotate-certs-node:2", []string{`"--notify-only"`, "registry.test/rotate-certs-node:2"}, []string{"node:1\"", "watcher:1\""}},
		"back to its own NATS":     {external + " --nats-replicas 3", "--nats-url=", []string{"--store="}, []string{"--nats-url", "--nats-replicas", "nats/ca.crt"}},
		"back to this version's":   {"--image registry.test/rotate-certs-node:1", "--image " + version.NodeImage(), []string{version.NodeImage()}, []string{"registry.test"}},
	} {
		for _, kept := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "", false: ", settings not kept"}[kept], func(t *testing.T) {
				s := newInstalledOn(t, func(s *apiServerFake) {
					s.add(t, "/api/v1/namespaces/rotate-certs/secrets/creds", `{"data":{"ca.crt":"eA=="}}`)
					s.add(t, "/api/v1/namespaces/rotate-certs/secrets/pull", `{}`)
					s.add(t, "/api/v1/namespaces/rotate-certs/secrets/tls", `{"data":{"ca.crt":"eA==","tls.crt":"eA==","tls.key":"eA=="}}`)
					s.add(t, "/apis/storage.k8s.io/v1/storageclasses/slow", `{}`)
				}, tt.first)
				if !kept {
					s.forgetSettings()
				}
				s.add(t, "/apis/storage.k8s.io/v1/storageclasses/fast", `{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}`)
				said := s.install(t, tt.again)
				now := s.object(watcherPath) + s.object(agentPath)
				for _, part := range tt.holds {
					assert.Contains(t, now, part)
				}
				for _, part := range tt.lacks {
					assert.NotContains(t, now, part)
				}
				assert.Equal(t, tt.again != "", strings.Contains(said, "change       "), said)
			})
		}
	}
}

func TestInstallAgainWithoutAWatcher(t *testing.T) {
	s := newInstalled(t, "--without-watcher")
	s.install(t, "")
	assert.Empty(t, s.paths(watcherPath), "it runs elsewhere")
	code, _, stderr := s.run(t, "install", "--notify-only")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "error: --without-watcher installs no watcher")
	said := s.install(t, "--without-watcher=false")
	assert.Contains(t, said, "change       --without-watcher: true -> false\n")
	assert.NotEmpty(t, s.paths(watcherPath))
}

// TestInstallReturnsToTheEmbeddedNATS: the API server sets parameters of rolling updates, and
// refuses them beside "Recreate".
func TestInstallReturnsToTheEmbeddedNATS(t *testing.T) {
	s := newInstalled(t, "--nats-url tls://a.test:4222")
	require.Contains(t, s.object(watcherPath), "maxSurge")
	said := s.install(t, "--nats-url= --dry-run=server")
	assert.Contains(t, said, "workloads    2 changed, 1 unchanged", "what a dry run returns has the version of what is there")
	s.install(t, "--nats-url=")
	assert.Contains(t, s.object(watcherPath), `"strategy":{"type":"Recreate"}`)
}

// TestImagesChangedByOthersAreKept: kubectl set image, kustomize's images, a mirror.
func TestImagesChangedByOthersAreKept(t *testing.T) {
	s := newInstalled(t, "")
	for _, path := range []string{watcherPath, agentPath} {
		s.add(t, path, strings.ReplaceAll(s.object(path), `"image":"ghcr.io`, `"image":"mirror.test`))
	}
	assert.NotContains(t, s.install(t, ""), "change       --")
	for _, path := range []string{watcherPath, agentPath} {
		assert.NotContains(t, s.object(path), "ghcr.io", "node pods are of the agents' image")
	}
}

func TestChangedPermissionsArePrinted(t *testing.T) {
	s := newInstalled(t, "--notify-only")
	said := s.install(t, "")
	assert.Empty(t, s.paths(rotateRole))
	assert.NotContains(t, said, "granted ")

	for _, dry := range []string{" --dry-run=server", ""} {
		said = s.install(t, "--notify-only=false"+dry)
		assert.Contains(t, said, "change       --notify-only: true -> false\n")
		assert.Contains(t, said, "granted      rotate-certs-watcher:rotate: create, get pods/exec in namespace rotate-certs\n")
		assert.NotContains(t, said, "revoked ")
		assert.Equal(t, dry == "", len(s.paths(rotateRole)) == 1)
	}
	said = s.install(t, "--notify-only --image registry.test/x:2")
	assert.NotContains(t, said, "node pods of", "there is no policy that admits any")
	assert.Contains(t, said, "revoked      rotate-certs-watcher:rotate: create, get pods/exec in namespace rotate-certs\n")
	assert.NotContains(t, said, "granted ")
	assert.Empty(t, s.paths(rotateRole))
}

func TestNotifyOnlySetByHandIsKept(t *testing.T) {
	s := newInstalled(t, "")
	s.add(t, watcherPath, strings.Replace(s.object(watcherPath), `"--http-address=:8080"`, `"--http-address=:8080","--notify-only"`, 1))
	said := s.install(t, "")
	assert.Contains(t, said, "revoked ")
	assert.Empty(t, s.paths(rotateRole))
}

func TestUpgradeKeepsTheRegistry(t *testing.T) {
	for image, want := range map[string]string{
		version.NodeImage(): version.NodeImage(),
		"registry.test/rotate-certs-node:" + version.Version: "registry.test/rotate-certs-node:" + version.Version,
		"registry.test:5000/rotate-certs-node:stable":        "registry.test:5000/rotate-certs-node:stable",
		"registry.test/rotate-certs-node@sha256:abc":         "registry.test/rotate-certs-node@sha256:abc",
	} {
		s := newInstalled(t, "--image "+image+" --watcher-image "+strings.Replace(image, "-node", "-watcher", 1))
		// As a release before this one would have left it.
		was := strings.NewReplacer(version.Version, "v0.0.9").Replace(image)
		for _, path := range []string{watcherPath, agentPath} {
			s.add(t, path, strings.ReplaceAll(s.object(path), version.Version, "v0.0.9"))
		}
		said := s.install(t, "")
		assert.Contains(t, said, "change       version: v0.0.9 -> "+version.Version+"\n")
		assert.Equal(t, was != want, strings.Contains(said, "change       --image: "+was+" -> "+want+"\n"), said)
		assert.Contains(t, s.object(agentPath), `"image":"`+want+`"`)
		assert.Contains(t, s.object(watcherPath), `"image":"`+strings.Replace(want, "-node", "-watcher", 1)+`"`)
	}
}

// TestWatcherImageFollowsTheNodeImage beside that of the agents, in the same registry unless it is
// named otherwise.
func TestWatcherImageFollowsTheNodeImage(t *testing.T) {
	for flags, want := range map[string]string{
		"": version.WatcherImage(),
		"--image registry.test/a/rotate-certs-node:7":                                                  "registry.test/a/rotate-certs-watcher:7",
		"--image registry.test/a/rotate-certs-node":                                                    "registry.test/a/rotate-certs-watcher",
		"--image registry.test/rotate-certs-node:7 --watcher-image " + version.WatcherImage():          version.WatcherImage(),
		"--image registry.test/node:7 --watcher-image registry.test/watcher:7":                         "registry.test/watcher:7",
		"--image registry.test/rotate-certs-node:7 --watcher-image registry.test/watcher@sha256:abcd0": "registry.test/watcher@sha256:abcd0",
	} {
		s := newInstalled(t, flags)
		assert.Contains(t, s.object(watcherPath), `"image":"`+want+`"`, flags)
		assert.NotContains(t, s.object(agentPath), `"image":"`+want+`"`, flags)
		s.install(t, "")
		assert.Contains(t, s.object(watcherPath), `"image":"`+want+`"`, "%s, and again", flags)
	}
	for _, image := range []string{"registry.test/node:7", "registry.test/rotate-certs-node@sha256:abc", "registry.test/rotate-certs-node:7@sha256:abc", "registry.test/rotate-certs-node2:7"} {
		s := newAPIServer(t)
		code, _, stderr := s.run(t, "install", "--image", image)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "hint: give --watcher-image, too")
		assert.Empty(t, s.paths("/deployments/"))
	}
}

func TestNodePodsOfTheOldWatcherAreAdmittedWhileItRuns(t *testing.T) {
	s := newInstalled(t, "--image registry.test/rotate-certs-node:1")
	// One that is still ending is of an image before that.
	s.add(t, "/api/v1/namespaces/rotate-certs/pods/rotate-certs-watcher-x7k2p", `{"metadata":{"labels":{"app.kubernetes.io/name":"rotate-certs",
		"app.kubernetes.io/managed-by":"rotate-certs","app.kubernetes.io/component":"watcher"}},"spec":{"containers":[{"name":"watcher","env":[{"name":"NODE_IMAGE","value":"registry.test/rotate-certs-node:0"}]}]}}`)
	var meanwhile string
	s.onPatch = func(path string) {
		if path == watcherPath {
			meanwhile = flat(s.objects[imagePolicy])
		}
	}
	said := s.install(t, "--image registry.test/rotate-certs-node:2")
	assert.Contains(t, meanwhile, "c.image in ['registry.test/rotate-certs-node:0', 'registry.test/rotate-certs-node:1']")
	assert.Contains(t, s.object(imagePolicy), "c.image in []")
	assert.Contains(t, said, "admission    node pods of registry.test/rotate-certs-node:2 only\n")
}

func TestInstallWhileARotationIsInProgress(t *testing.T) {
	held := `{"spec":{"holderIdentity":"jane@laptop (rotation 7f3c2a)","renewTime":"` + noon.UTC().Format("2006-01-02T15:04:05.000000Z") + `","leaseDurationSeconds":60,"acquireTime":"2026-11-24T11:00:00.000000Z"}}`
	for name, prepare := range map[string]func(*apiServerFake){
		"jane@laptop": func(s *apiServerFake) { s.add(t, lockPath, held) },
		"CertificateRotation auto-two": func(s *apiServerFake) {
			s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/auto-two", `{"status":{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"Running"}]}}`)
		},
	} {
		s := newInstalled(t, "")
		prepare(s)
		s.log = nil
		code, _, stderr := s.run(t, "install", "--image", "registry.test/rotate-certs-node:2")
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "error: a rotation is in progress: "+name)
		assert.Contains(t, stderr, "\nhint: wait until it has ended (kubectl rotate-certs ")
		assert.Empty(t, s.log)
		assert.Contains(t, s.install(t, "--image registry.test/rotate-certs-node:2 --dry-run=server"), "Nothing was changed.", "a dry run disturbs nothing")
		s.install(t, "--image registry.test/rotate-certs-node:2 --force")
		assert.Contains(t, s.object(watcherPath), "registry.test/rotate-certs-node:2")
	}
}

func TestUnreadableSettingsAreRefused(t *testing.T) {
	s := newInstalled(t, "")
	s.Lock()
	s.objects[agentPath]["metadata"].(map[string]any)["annotations"] = map[string]any{manifests.SettingsAnnotation: "{"}
	s.Unlock()
	code, _, stderr := s.run(t, "install")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "error: read the settings of the installation: ")
	assert.Contains(t, stderr, "\nhint: kubectl -n rotate-certs annotate daemonset rotate-certs-agent rotate-certs.io/settings-")
}

func TestStorageClassOfAClaimCannotBeChanged(t *testing.T) {
	s := newAPIServer(t)
	for _, class := range []string{"slow", "fast"} {
		s.add(t, "/apis/storage.k8s.io/v1/storageclasses/"+class, `{}`)
	}
	s.install(t, "--storage-class slow")
	code, _, stderr := s.run(t, "install", "--storage-class", "fast")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `error: PersistentVolumeClaim "rotate-certs-watcher" has StorageClass "slow", which cannot be changed`)
}

// TestNotifyOnlyOutlivesItsWatcher: what is installed again has no more rights than before.
func TestNotifyOnlyOutlivesItsWatcher(t *testing.T) {
	s := newInstalled(t, "--notify-only")
	s.install(t, "--without-watcher")
	s.install(t, "--without-watcher=false")
	assert.Contains(t, s.object(watcherPath), `"--notify-only"`)
	assert.Empty(t, s.paths(rotateRole))
}

func TestOlderPluginIsRefused(t *testing.T) {
	s := newInstalled(t, "")
	for _, path := range []string{watcherPath, agentPath} {
		s.add(t, path, strings.ReplaceAll(s.object(path), version.Version, "v99.0.0"))
	}
	s.log = nil
	code, _, stderr := s.run(t, "install")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "v99.0.0 is installed, and this plugin is "+version.Version)
	assert.Empty(t, s.log, "nothing was changed")
	s.install(t, "--force")
}
