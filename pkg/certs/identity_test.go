package certs_test

import (
	"crypto/x509/pkix"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

func TestCheckIdentity(t *testing.T) {
	for name, tt := range map[string]struct {
		subject      pkix.Name
		controlPlane bool
		err          string
	}{
		"a component":                         {subject: pkix.Name{CommonName: "system:kube-proxy"}},
		"the node's own kubelet":              {subject: pkix.Name{CommonName: "system:node:w1", Organization: []string{"system:nodes"}}},
		"another kubelet":                     {pkix.Name{CommonName: "system:node:w2", Organization: []string{"system:nodes"}}, false, `kubelet of node "w2"`},
		"another kubelet, on a control plane": {pkix.Name{CommonName: "system:node:w2"}, true, `kubelet of node "w2"`},
		"an administrator":                    {pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"system:masters"}}, false, `group "system:masters"`},
		"one of several groups":               {pkix.Name{CommonName: "x", Organization: []string{"dev", "system:masters"}}, false, `group "system:masters"`},
		"an administrator by RBAC":            {pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"kubeadm:cluster-admins"}}, false, "kubeadm:cluster-admins"},
		"an administrator on a control plane": {subject: pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"system:masters"}}, controlPlane: true},
		"a group that begins the same":        {subject: pkix.Name{CommonName: "x", Organization: []string{"system:masters-of-none"}}},
	} {
		t.Run(name, func(t *testing.T) {
			err := certs.CheckIdentity(tt.subject.String(), "w1", tt.controlPlane)
			if tt.err == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, tt.err)
		})
	}
}
