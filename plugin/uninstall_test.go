package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installed is an API server on which everything is, and something of each kind that
// comes of it.
func installed(t *testing.T) *apiServerFake {
	t.Helper()
	s := newInstalled(t, "")
	s.add(t, "/api/v1/namespaces/rotate-certs/configmaps/kube-root-ca.crt", `{}`)
	s.add(t, "/api/v1/namespaces/rotate-certs/serviceaccounts/default", `{}`)
	s.add(t, "/api/v1/namespaces/rotate-certs/pods/rotate-certs-rotation-cp1-c0ad428f", labelled)
	s.add(t, "/apis/coordination.k8s.io/v1/namespaces/rotate-certs/leases/rotate-certs-watcher", `{"spec":{"holderIdentity":"rotate-certs-watcher-abc_1-2"}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/cp1", cp1Report)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/auto-1", `{"metadata":{"finalizers":["rotate-certs.io/rotation"]},"spec":{"services":["etcd"]},"status":{"conditions":[{"type":"Succeeded","status":"True","reason":"Succeeded"}]}}`)
	s.remove("/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1") // of a node that was new
	s.log = nil
	return s
}

const lockPath = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/rotate-certs"

func TestUninstallLeavesNothing(t *testing.T) {
	s := installed(t)
	s.add(t, lockPath, `{}`)
	code, _, stderr := s.run(t, "uninstall")
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, s.paths("rotate-certs"))
	assert.Contains(t, stderr, "none is left")
	assert.Len(t, s.paths("/nodes/"), 2, "others stay")

	at := func(part string) int {
		for i, line := range s.log {
			if strings.Contains(line, part) {
				return i
			}
		}
		t.Fatalf("never removed: %s", part)
		return 0
	}
	order := []string{"delete /apis/apps/v1/namespaces/rotate-certs/deployments", "/clusterroles/", "/validatingadmissionpolicies/",
		"patch /apis/rotate-certs.io/v1alpha1/certificaterotations/auto-1", "/customresourcedefinitions/", "delete /api/v1/namespaces/rotate-certs"}
	for i := range order[1:] {
		last := at(order[i+1])
		if i == len(order)-2 {
			last = len(s.log)
		}
		assert.Less(t, at(order[i]), last, order[i+1])
	}

	code, _, stderr = s.run(t, "uninstall")
	assert.Equal(t, 0, code)
	assert.Equal(t, "Nothing of rotate-certs is installed in this cluster.\n", stderr)
}

func TestUninstallKeepsANamespaceWithOtherObjects(t *testing.T) {
	s := installed(t)
	s.add(t, "/api/v1/namespaces/rotate-certs/secrets/rotate-certs-nats", `{}`)
	code, _, stderr := s.run(t, "uninstall")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, "Kept: namespace rotate-certs, since it holds other objects: secret/rotate-certs-nats. If they are not needed: kubectl delete namespace rotate-certs\n")
	assert.NotEmpty(t, s.paths("/namespaces/rotate-certs/secrets/"))
	assert.Empty(t, s.paths("/deployments/"))
	assert.Empty(t, s.paths("/leases/"), "nor does its kept namespace keep the watcher's lease")
}

func TestUninstallKeepsThePolicy(t *testing.T) {
	s := installed(t)
	s.remove(policyPath)
	s.add(t, policyPath, `{"spec":{"limits":{"rotationsPerDay":2}}}`)
	code, _, stderr := s.run(t, "uninstall", "--keep-policy")
	require.Equal(t, 0, code, stderr)
	assert.JSONEq(t, `{"limits":{"rotationsPerDay":2}}`, s.spec())
	assert.Len(t, s.paths("/customresourcedefinitions/"), 1)
	assert.Empty(t, s.paths("/namespaces/rotate-certs"))
	assert.Contains(t, stderr, "Kept: customresourcedefinition.apiextensions.k8s.io/rotationpolicies.rotate-certs.io\n")

	said := s.install(t, "")
	assert.Contains(t, said, "RotationPolicy default is kept")
}

func TestUninstallIsRefusedDuringARotation(t *testing.T) {
	held := `{"spec":{"holderIdentity":"jane@laptop (rotation 7f3c2a)","renewTime":"` + noon.Add(-5*time.Second).UTC().Format("2006-01-02T15:04:05.000000Z") + `","leaseDurationSeconds":60,"acquireTime":"2026-11-24T11:00:00.000000Z"}}`
	for name, prepare := range map[string]func(*apiServerFake){
		"jane@laptop": func(s *apiServerFake) { s.add(t, lockPath, held) },
		"CertificateRotation auto-two": func(s *apiServerFake) {
			s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/auto-two", `{"status":{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"Running"}]}}`)
		},
	} {
		s := installed(t)
		prepare(s)
		code, _, stderr := s.run(t, "uninstall")
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "error: a rotation is in progress: "+name)
		assert.Empty(t, s.log)
		code, _, stderr = s.run(t, "uninstall", "--force")
		assert.Equal(t, 0, code, stderr)
		assert.Empty(t, s.paths("/deployments/"))
	}
}

func TestUninstallListsOnlyKindsThatItFound(t *testing.T) {
	s := installed(t)
	const pod = "/api/v1/namespaces/rotate-certs/pods/rotate-certs-watcher-x7k2p"
	ending := `{"metadata":{"labels":{"app.kubernetes.io/name":"rotate-certs","app.kubernetes.io/managed-by":"rotate-certs"},"ownerReferences":[{"name":"rotate-certs-watcher"}]}}`
	s.add(t, pod, ending)
	lists := map[string]int{}
	s.onList = func(kind string) {
		if lists[kind]++; kind == "pods" && lists[kind] == 20 {
			s.remove(pod) // a node pod completes the order in progress
		}
	}
	code, _, stderr := s.run(t, "uninstall")
	require.Equal(t, 0, code, stderr)
	assert.GreaterOrEqual(t, lists["pods"], 20)
	// To find what is there, for what others put into the namespace, and at the end.
	assert.Equal(t, 3, lists["secrets"])
	assert.Equal(t, 2, lists["storageclasses"])

	s = installed(t)
	s.onDelete = func(path string) {
		if strings.HasPrefix(path, "/api/v1/namespaces/rotate-certs") {
			s.onDelete = nil
			s.put("/api/v1/namespaces/default/secrets/late", map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "late", "namespace": "default",
				"labels": map[string]any{"app.kubernetes.io/name": "rotate-certs", "app.kubernetes.io/managed-by": "rotate-certs"}}})
		}
	}
	code, _, stderr = s.run(t, "uninstall", "--timeout", "3s")
	assert.Equal(t, 1, code, "of a kind that had nothing before")
	assert.Contains(t, stderr, "not deleted yet: secret/late in namespace default")
}

func TestUninstallAsksBeforeItDeletes(t *testing.T) {
	const compromised = "/apis/rotate-certs.io/v1alpha1/compromisedcertificates/etcd-1"
	for name, tt := range map[string]struct {
		answers, args       string
		compromised, policy bool
		code                int
		says                string
	}{
		"a script":                  {"", "", false, false, 0, "Done in"},
		"a script, keys in use":     {"", "", true, false, 1, "error: uninstall deletes 1 certificaterotations.rotate-certs.io, 1 compromisedcertificates.rotate-certs.io, 1 nodecertificatereports.rotate-certs.io, 1 rotationpolicies.rotate-certs.io\nhint: --yes "},
		"a script that means them":  {"", "--yes", true, true, 0, "Done in"},
		"a script, a policy":        {"", "", false, true, 1, "1 rotationpolicies.rotate-certs.io\nhint: --yes deletes the RotationPolicy too, --keep-policy keeps it\n"},
		"a script keeps the policy": {"", "--keep-policy", false, true, 0, "Done in"},
		"a dry run, keys in use":    {"", "--dry-run", true, false, 0, "Nothing was changed."},
		"yes":                       {"y\n", "", true, true, 0, "1 nodecertificatereports.rotate-certs.io, 1 rotationpolicies.rotate-certs.io. Continue? [y/N] "},
		"no":                        {"n\n", "", false, false, 130, "Continue? [y/N] error: nothing was changed"},
		"no answer":                 {"\n", "", true, false, 130, "Continue? [y/N] error: nothing was changed"},
		"--yes":                     {"n\n", "-y", true, false, 0, "Done in"},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			if tt.compromised {
				s.add(t, compromised, `{"spec":{"service":"etcd"}}`)
			}
			if tt.policy {
				s.remove(policyPath)
				s.add(t, policyPath, `{"spec":{"freeze":{"enabled":true}}}`)
			}
			s.log, s.answers = nil, tt.answers
			code, _, stderr := s.run(t, append([]string{"uninstall"}, strings.Fields(tt.args)...)...)
			assert.Equal(t, tt.code, code, stderr)
			assert.Contains(t, stderr, tt.says)
			if code != 0 {
				assert.Empty(t, s.log)
				assert.Equal(t, tt.compromised, len(s.paths(compromised)) == 1)
			}
		})
	}
}

func TestUninstallDryRun(t *testing.T) {
	for _, how := range []string{"client", "server"} {
		s := installed(t)
		code, stdout, stderr := s.run(t, "uninstall", "--dry-run="+how)
		require.Equal(t, 0, code, stderr)
		assert.Contains(t, stdout, "deployment.apps/rotate-certs-watcher in namespace rotate-certs\n")
		assert.Contains(t, stdout, "1 nodecertificatereports.rotate-certs.io\n")
		assert.Contains(t, stdout, "pod/rotate-certs-rotation-cp1-c0ad428f in namespace rotate-certs\n")
		assert.Contains(t, stderr, "Nothing was changed.")
		assert.Empty(t, s.log)
	}
}
