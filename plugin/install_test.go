package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

func TestInstallPrintsItsStages(t *testing.T) {
	s := newAPIServer(t)
	code, stdout, stderr := s.run(t, "install")
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, stdout)
	golden(t, "install.txt", strings.NewReplacer(version.Version, "VERSION", s.URL, "URL").Replace(stderr))

	t.Run("and again, nothing changes", func(t *testing.T) {
		s.log = nil
		code, _, stderr := s.run(t, "install")
		require.Equal(t, 0, code, stderr)
		assert.Contains(t, stderr, "RotationPolicy default is kept; --policy FILE replaces it.\n")
		assert.NotContains(t, stderr, "created")
		assert.NotContains(t, stderr, " changed")
	})
	t.Run("notify-only removes the permissions", func(t *testing.T) {
		code, _, stderr := s.run(t, "install", "--notify-only")
		require.Equal(t, 0, code, stderr)
		assert.Contains(t, stderr, "no longer needed")
		assert.Empty(t, s.paths(":rotate"))
		assert.NotEmpty(t, s.paths("validatingadmissionpolicies/rotate-certs-watcher"), "they are there before the rights are given again")
		assert.NotEmpty(t, s.paths(policyPath), "a changed policy stays")
	})
}

func TestInstallAppliesDefinitionsAndPermissionsFirst(t *testing.T) {
	s := newAPIServer(t)
	code, _, stderr := s.run(t, "install")
	require.Equal(t, 0, code, stderr)
	at := func(part string) int {
		for i, line := range s.log {
			if strings.Contains(line, part) {
				return i
			}
		}
		t.Fatalf("never applied: %s", part)
		return 0
	}
	order := []string{"/customresourcedefinitions/", "/namespaces/rotate-certs", "/validatingadmissionpolicies/", "/clusterroles/", "/v1alpha1/rotationpolicies", "/deployments/"}
	for i := range order[1:] {
		assert.Less(t, at(order[i]), at(order[i+1]), order[i+1])
	}
}

func TestInstallChoosesTheStorage(t *testing.T) {
	class := func(name, annotations string) func(*testing.T, *apiServerFake) {
		return func(t *testing.T, s *apiServerFake) {
			s.add(t, "/apis/storage.k8s.io/v1/storageclasses/"+name, `{"metadata":{"annotations":{`+annotations+`}}}`)
		}
	}
	standard := class("fast", `"storageclass.kubernetes.io/is-default-class":"true"`)
	for name, tt := range map[string]struct {
		prepare func(*testing.T, *apiServerFake)
		args    string
		says    string
		claim   bool
		code    int
	}{
		"no class":            {func(*testing.T, *apiServerFake) {}, "", "emptyDir) and are lost with it: the cluster has no StorageClass", false, 0},
		"a default class":     {standard, "", "PersistentVolumeClaim rotate-certs-watcher (StorageClass fast)", true, 0},
		"no default class":    {class("slow", ""), "", "no StorageClass is the default; --storage-class chooses one of slow", false, 0},
		"a class by its name": {class("slow", ""), "--storage-class slow", "(StorageClass slow)", true, 0},
		"an unknown class":    {class("slow", ""), "--storage-class fast", "unknown StorageClass \"fast\"\nhint: want one of slow, none", false, 1},
		"none":                {standard, "--storage-class none", "events are stored in the pod", false, 0},
		"external":            {standard, "--nats-url tls://nats.test:4222", "events go to the NATS of --nats-url", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			tt.prepare(t, s)
			code, _, stderr := s.run(t, append([]string{"install"}, strings.Fields(tt.args)...)...)
			assert.Equal(t, tt.code, code)
			assert.Contains(t, stderr, tt.says)
			assert.Equal(t, tt.claim, len(s.paths("/persistentvolumeclaims/")) == 1)
		})
	}
}

func TestInstallRefusesBeforeAnythingChanges(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*testing.T, *apiServerFake)
		args    string
		says    string
	}{
		"an old Kubernetes": {func(_ *testing.T, s *apiServerFake) { s.version = "v1.29.8" }, "", "error: Kubernetes v1.29.8 is too old"},
		"no permission": {func(_ *testing.T, s *apiServerFake) {
			s.forbidden = []string{"create deployments", "patch deployments"}
		}, "",
			"error: missing permissions for install:\n  create deployments.apps in namespace rotate-certs (install Deployments)\n  patch deployments.apps"},
		"a namespace that forbids it": {func(t *testing.T, s *apiServerFake) {
			s.add(t, "/api/v1/namespaces/rotate-certs", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}`)
		}, "", `namespace "rotate-certs" enforces the Pod Security Standard "baseline"`},
		"installed elsewhere": {func(t *testing.T, s *apiServerFake) {
			s.add(t, "/apis/apps/v1/namespaces/other/deployments/rotate-certs-watcher", labelled)
		}, "", `already installed in namespace "other"`},
		"a Secret that is missing": {func(t *testing.T, s *apiServerFake) {
			s.add(t, "/api/v1/namespaces/rotate-certs", `{}`)
		}, "--nats-url tls://n.test --nats-secret creds", "\nhint: kubectl -n rotate-certs create secret generic creds"},
		"a Secret before its namespace": {func(*testing.T, *apiServerFake) {}, "--nats-url tls://n.test --nats-secret creds",
			"\nhint: kubectl create namespace rotate-certs && kubectl label namespace rotate-certs pod-security.kubernetes.io/enforce=privileged && kubectl -n rotate-certs create secret generic creds"},
		"a Secret to pull with": {func(*testing.T, *apiServerFake) {}, "--image-pull-secret pull",
			"privileged && kubectl -n rotate-certs create secret docker-registry pull --docker-server=…"},
		"a Secret with nothing of it": {func(t *testing.T, s *apiServerFake) {
			s.add(t, "/api/v1/namespaces/rotate-certs/secrets/creds", `{"data":{"password":"eA=="}}`)
		}, "--nats-url tls://n.test --nats-secret creds", `Secret "creds" has none of ca.crt`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			tt.prepare(t, s)
			code, stdout, stderr := s.run(t, append([]string{"install"}, strings.Fields(tt.args)...)...)
			assert.Equal(t, 1, code)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, tt.says)
			assert.Empty(t, s.log, "nothing may be changed")
		})
	}
}

// labelled is an object of an installation.
const labelled = `{"metadata":{"labels":{"app.kubernetes.io/name":"rotate-certs","app.kubernetes.io/managed-by":"rotate-certs"}}}`

func TestInstallRefusesObjectsOfOthers(t *testing.T) {
	s := newAPIServer(t)
	s.add(t, "/apis/rbac.authorization.k8s.io/v1/clusterroles/rotate-certs:view", `{}`)
	code, _, stderr := s.run(t, "install")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "clusterrole.rbac.authorization.k8s.io/rotate-certs:view exists without the label app.kubernetes.io/managed-by=rotate-certs")

	s = newAPIServer(t)
	s.add(t, "/api/v1/namespaces/rotate-certs", `{}`)
	code, _, stderr = s.run(t, "install")
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, "Namespace rotate-certs exists already: it is not changed, and uninstall keeps it.")
	assert.NotContains(t, strings.Join(s.log, "\n"), "patch /api/v1/namespaces/rotate-certs\n")
	const hint = "If the cluster enforces a Pod Security Standard by default: kubectl label namespace rotate-certs pod-security.kubernetes.io/enforce=privileged\n"
	assert.Contains(t, stderr, hint)
	s.add(t, "/api/v1/namespaces/rotate-certs", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`)
	assert.NotContains(t, s.install(t, ""), hint)
}

func TestInstallOnAKubernetesWithoutNodeClaims(t *testing.T) {
	s := newAPIServer(t)
	s.version = "v1.31.2+k3s1"
	code, _, stderr := s.run(t, "install")
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, "so agents may be unable to write reports")
}

func TestInstallSaysWhyAPodDoesNotStart(t *testing.T) {
	s := newAPIServer(t)
	s.unready = true
	s.add(t, "/api/v1/namespaces/rotate-certs/pods/rotate-certs-agent-x7k2p", `{"metadata":{"labels":{"app.kubernetes.io/name":"rotate-certs",
		"app.kubernetes.io/managed-by":"rotate-certs","app.kubernetes.io/component":"agent"}},"spec":{"nodeName":"w1","containers":[{"name":"agent","image":"registry.test/rotate-certs-node:1"}]},
		"status":{"containerStatuses":[{"name":"agent","state":{"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}]}}`)
	code, _, stderr := s.run(t, "install")
	assert.Equal(t, 1, code)
	assert.Equal(t, 1, strings.Count(stderr, "agent        w1: ImagePullBackOff: image"), "each problem is printed once: %s", stderr)
	assert.Contains(t, stderr, "error: everything is applied, but not ready: agents: 1/2 ready\nw1: pod \"rotate-certs/rotate-certs-agent-x7k2p\": ImagePullBackOff")
	assert.Contains(t, stderr, "ctr -n k8s.io images import", "and what to do")
}

func TestInstallWaitsForAFreshReportOfEveryNode(t *testing.T) {
	for name, report := range map[string]string{
		"never reported": "",
		"last reported at 2026-11-24 07:00 UTC (5h ago)": `{"summary":{"observedAt":"2026-11-24T07:00:00Z"}}`,
	} {
		s := newAPIServer(t)
		s.install(t, "") // so that there is the kind
		s.remove("/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1")
		s.silent = []string{"w1"}
		if report != "" {
			s.add(t, "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1", report)
		}
		code, _, stderr := s.run(t, "install", "--image", "registry.test/rotate-certs-node:2", "--timeout", "5s")
		assert.Equal(t, 1, code)
		assert.NotContains(t, stderr, "Done in")
		assert.Contains(t, stderr, "error: everything is applied, but not ready: agents: 2/2 ready; no fresh report of: w1 ("+name+")\n")
		assert.Contains(t, stderr, "\nhint: fix the cause and run it again; see kubectl -n rotate-certs describe pods -l app.kubernetes.io/component=agent")

		s.add(t, "/api/v1/nodes/w1", `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`)
		assert.Contains(t, s.install(t, ""), "2/2 ready; not waited for: w1 (NotReady)")
	}
}

func TestInstallDoesNotWaitForAgentsThatCannotRun(t *testing.T) {
	s := newAPIServer(t)
	s.silent = []string{"windows", "burst", "tainted"}
	s.add(t, "/api/v1/nodes/windows", `{"status":{"conditions":[{"type":"Ready","status":"False"}],"nodeInfo":{"operatingSystem":"windows","architecture":"amd64"}}}`)
	s.add(t, "/api/v1/nodes/burst", `{"metadata":{"labels":{"type":"virtual-kubelet"}},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)
	said := s.install(t, "")
	assert.Contains(t, said, "agents       2/2 ready   ")
	assert.NotContains(t, said, "not waited for")

	// Agents tolerate its taint, and the DaemonSet counts one that never starts.
	s.add(t, "/api/v1/nodes/tainted", `{"spec":{"taints":[{"key":"virtual-kubelet.io/provider","effect":"NoSchedule"}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)
	s.Lock()
	s.objects[agentPath]["status"] = map[string]any{"desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "numberReady": 2}
	s.Unlock()
	assert.Contains(t, s.install(t, ""), "agents       2/3 ready   ")

	// A NotReady node that has no agent lets none that is missing elsewhere pass.
	s.Lock()
	s.objects[agentPath]["status"] = map[string]any{"desiredNumberScheduled": 3, "updatedNumberScheduled": 1, "numberReady": 1}
	s.Unlock()
	code, _, stderr := s.run(t, "install", "--timeout", "3s")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "agents: 1/3 ready\n")
}

func TestInstallForGitSendsNoRequest(t *testing.T) {
	s := newAPIServer(t)
	s.Close()
	code, stdout, stderr := s.run(t, "install", "--dry-run=client", "-o", "yaml", "--nats-url", "tls://nats.test:4222", "--nats-secret", "creds")
	require.Equal(t, 0, code, stderr)
	documents := strings.Split(stdout, "\n---\n")
	assert.Greater(t, len(documents), 25)
	for _, d := range documents {
		object := map[string]any{}
		require.NoError(t, yaml.UnmarshalStrict([]byte(d), &object), d)
		assert.NotEmpty(t, object["kind"])
	}
	assert.NotContains(t, stdout, "creationTimestamp: null")
	assert.Contains(t, stderr, "Nothing was changed.")

	_, stdout, _ = s.run(t, "install", "--dry-run=client", "--without-watcher")
	assert.Contains(t, stdout, "daemonset.apps/rotate-certs-agent\n")
	assert.NotContains(t, stdout, "watcher")
}

func TestInstallServerDryRunChangesNothing(t *testing.T) {
	s := newAPIServer(t)
	code, stdout, stderr := s.run(t, "install", "--dry-run=server", "-o", "name")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, "not checked, since the namespace does not exist yet")
	assert.Contains(t, stdout, "customresourcedefinition.apiextensions.k8s.io/certificaterotations.rotate-certs.io\n")
	assert.Empty(t, s.log)
}
