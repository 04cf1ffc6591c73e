package kube

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestAPIServerWithoutEtcdIsAnError(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		better int32 // from which request on the answer is 200; 0: never
		read   int   // how the read of a Lease ends; 0: as /readyz
		says   string
	}{
		"it is healthy":                                       {http.StatusOK, "ok", 0, 0, ""},
		"it is not healthy, but has its etcd":                 {http.StatusInternalServerError, "[+]etcd ok\n[-]shutdown failed: reason withheld\n", 0, 0, ""},
		"/readyz is forbidden":                                {http.StatusForbidden, "no", 0, 0, ""},
		"the next API server has its etcd":                    {http.StatusInternalServerError, "[-]etcd failed: reason withheld\n", 2, 0, ""},
		"none has, and it is said of etcd":                    {http.StatusInternalServerError, "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n", 0, 0, "no working etcd: [-]etcd failed: reason withheld"},
		"it reads from its etcd, whatever its check says yet": {http.StatusInternalServerError, "[-]etcd failed: reason withheld\n", 0, http.StatusNotFound, ""},
		"that may not be tried":                               {http.StatusInternalServerError, "[-]etcd failed: reason withheld\n", 0, http.StatusForbidden, "has etcd lost its quorum?"},
		"none is ready for etcd either way":                   {http.StatusInternalServerError, "[-]etcd-readiness failed: reason withheld\n", 0, 0, "has etcd lost its quorum?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" && tc.read != 0 {
					w.WriteHeader(tc.read)
					return
				}
				if n := asked.Add(1); tc.better > 0 && n >= tc.better {
					return
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			config := &rest.Config{Host: server.URL}
			client, err := kubernetes.NewForConfig(config)
			require.NoError(t, err)
			err = checkEtcd(t.Context(), client, config, 300*time.Millisecond, 20*time.Millisecond)
			if tc.says == "" {
				require.NoError(t, err)
			} else {
				require.Contains(t, hint.TextOf(err), tc.says)
			}
		})
	}
}
