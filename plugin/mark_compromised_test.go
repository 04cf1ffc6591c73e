package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	apiserverPrint = "aaaa000000000000000000000000000000000000000000000000000000000001"
	kubeletPrint   = "aaaa000000000000000000000000000000000000000000000000000000000002"
	cp1Report      = `{"summary":{"certificates":2,"problems":0,"observedAt":"2026-11-24T11:30:00Z"},"certificates":[
		{"service":"kube-apiserver","name":"apiserver","path":"/etc/kubernetes/pki/apiserver.crt","subject":"CN=kube-apiserver","issuer":"CN=kubernetes","serialNumber":"01",
		 "fingerprintSHA256":"` + apiserverPrint + `","notBefore":"2026-01-01T00:00:00Z","notAfter":"2027-11-23T21:41:00Z"},
		{"service":"kubelet","name":"kubelet-client","path":"/var/lib/kubelet/pki/kubelet-client-current.pem","subject":"CN=system:node:cp1,O=system:nodes","issuer":"CN=kubernetes","serialNumber":"02",
		 "fingerprintSHA256":"` + kubeletPrint + `","notBefore":"2026-01-01T00:00:00Z","notAfter":"2027-11-23T21:41:00Z","selfManaged":true}]}`
)

// colons writes a fingerprint as openssl prints it.
func colons(s string) string {
	var parts []string
	for i := 0; i < len(s); i += 2 {
		parts = append(parts, strings.ToUpper(s[i:i+2]))
	}
	return "sha256 Fingerprint=" + strings.Join(parts, ":")
}

func TestMarkCompromised(t *testing.T) {
	for name, tt := range map[string]struct {
		args  []string
		says  []string
		spec  string
		notOK bool
	}{
		"a service": {[]string{"--service", "kube-apiserver"}, []string{
			"1 certificate of kube-apiserver on cp1 will be replaced at once, with new keys signed by the CA.\n",
			"Kubernetes cannot revoke the old certificates:\n  apiserver of cp1: a holder of the old key",
			"To follow: kubectl get compromisedcertificates; kubectl rotate-certs --server URL events --follow\n",
		}, `{"reason":"stolen","service":"kube-apiserver"}`, false},
		"a kubelet, whose thief has no end": {[]string{"--service", "kubelet", "--node", "cp1"}, []string{"renew it indefinitely"},
			`{"nodes":["cp1"],"reason":"stolen","service":"kubelet"}`, false},
		"a fingerprint as openssl prints it": {[]string{"--service", "kubelet", "--fingerprint", colons(kubeletPrint)}, []string{"1 certificate of kubelet"},
			`{"fingerprint":"` + kubeletPrint + `","reason":"stolen","service":"kubelet"}`, false},
		"another service's fingerprint": {[]string{"--service", "etcd", "--fingerprint", kubeletPrint}, []string{"belongs to kubelet: kubelet-client on cp1\nhint: --service kubelet"}, "", true},
		"an unknown fingerprint":        {[]string{"--service", "kubelet", "--fingerprint", strings.Repeat("b", 64)}, []string{"it was replaced already, or belongs to another cluster"}, "", true},
		"a service that is not there":   {[]string{"--service", "etcd"}, []string{"error: etcd has no certificate on any node"}, "", true},
		"kube-proxy":                    {[]string{"--service", "kube-proxy"}, []string{"authenticates with a ServiceAccount token"}, "", true},
		"an unknown node":               {[]string{"--service", "kubelet", "--node", "cp11"}, []string{`unknown node "cp11", did you mean "cp1"?`}, "", true},
		"a node without a report":       {[]string{"--service", "kubelet", "--node", "w1"}, []string{`no agent has reported the certificates of node "w1"`, "replace the keys without the watcher: kubectl rotate-certs --server URL --service kubelet --node w1 --compromised"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			code, stdout, stderr := s.run(t, append([]string{"mark-compromised", "--reason", "stolen"}, tt.args...)...)
			stderr = strings.ReplaceAll(stderr, s.URL, "URL")
			for _, words := range tt.says {
				assert.Contains(t, stderr, words)
			}
			if tt.notOK {
				assert.Equal(t, 1, code)
				assert.Empty(t, stdout)
				assert.Empty(t, s.paths("compromisedcertificates/"), "nothing was created")
				return
			}
			require.Equal(t, 0, code, stderr)
			paths := s.paths("/compromisedcertificates/")
			require.Len(t, paths, 1)
			assert.Equal(t, tt.spec, flat(s.objects[paths[0]]["spec"]))
			assert.Equal(t, "compromisedcertificate.rotate-certs.io/"+paths[0][strings.LastIndex(paths[0], "/")+1:]+" created\n", stdout)
		})
	}
}

func TestMarkCompromisedSaysWhetherAWatcherActs(t *testing.T) {
	args := []string{"mark-compromised", "--service", "kube-apiserver", "--reason", "stolen"}
	rotate := "kubectl rotate-certs --server URL --service kube-apiserver --compromised"
	t.Run("nothing is installed", func(t *testing.T) {
		s := newAPIServer(t)
		code, _, stderr := s.run(t, args...)
		assert.Equal(t, 1, code)
		assert.Contains(t, strings.ReplaceAll(stderr, s.URL, "URL"), "error: mark as compromised: the watcher is not installed\nhint: install it (kubectl rotate-certs --server URL install), or replace the keys without it: "+rotate)
	})
	t.Run("agents only", func(t *testing.T) {
		s := installed(t)
		s.remove("/apis/apps/v1/namespaces/rotate-certs/deployments/rotate-certs-watcher")
		_, _, stderr := s.run(t, args...)
		assert.Contains(t, strings.ReplaceAll(stderr, s.URL, "URL"), "no watcher is installed in this cluster. Unless one runs outside, replace the keys without it: "+rotate)
	})
	t.Run("notify only", func(t *testing.T) {
		s := installed(t)
		_, _, _ = s.run(t, "install", "--notify-only")
		code, stdout, stderr := s.run(t, append(args, "-o", "name")...)
		assert.Equal(t, 0, code)
		assert.Equal(t, "compromisedcertificate.rotate-certs.io/kube-apiserver-x7k2p\n", stdout)
		assert.Contains(t, strings.ReplaceAll(stderr, s.URL, "URL"), "The watcher is notify-only and starts no rotation; replace the keys without it: "+rotate)
	})
	t.Run("dry run", func(t *testing.T) {
		for _, how := range []string{"client", "server"} {
			s := installed(t)
			code, stdout, stderr := s.run(t, append(args, "--dry-run="+how, "-o", "yaml")...)
			assert.Equal(t, 0, code)
			assert.Contains(t, stdout, "generateName: kube-apiserver-\n")
			assert.Contains(t, stderr, "It matches 1 certificate of kube-apiserver on cp1. Nothing was changed.\n")
			assert.Empty(t, s.log)
		}
	})
	t.Run("not permitted", func(t *testing.T) {
		s := installed(t)
		s.forbidden = []string{"create compromisedcertificates"}
		code, _, stderr := s.run(t, args...)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "mark as compromised")
		assert.Contains(t, stderr, "rotate-certs:incident-responder")
	})
}

func TestParseFingerprint(t *testing.T) {
	for _, s := range []string{kubeletPrint, colons(kubeletPrint), strings.ToUpper(kubeletPrint), "SHA256:" + kubeletPrint, " " + kubeletPrint + "\n"} {
		got, err := parseFingerprint(s)
		assert.NoError(t, err, s)
		assert.Equal(t, kubeletPrint, got)
	}
	for _, s := range []string{"", "ab", kubeletPrint[:40], kubeletPrint + "0", "SHA1 Fingerprint=" + kubeletPrint[:40], strings.Repeat("g", 64)} {
		_, err := parseFingerprint(s)
		assert.ErrorContains(t, err, "want the SHA-256", s)
	}
}
