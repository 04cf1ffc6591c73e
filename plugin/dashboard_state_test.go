package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// shownCluster is the cluster of an API server in memory, on the dashboard.
func shownCluster(t *testing.T, s *apiServerFake) dashboard.Cluster {
	t.Helper()
	writeKubeconfigs(t, s.URL, s.URL)
	c, err := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), nil).Open("b-test")
	require.NoError(t, err)
	return c
}

func TestStateWithTheWatcher(t *testing.T) {
	s := installed(t)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/auto-2", `{"metadata":{"creationTimestamp":"2026-11-24T11:00:00Z"},"spec":{"services":["etcd"]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/auto-1", `{"metadata":{"creationTimestamp":"2026-11-24T10:00:00Z"},"spec":{"services":["etcd"]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/compromisedcertificates/etcd-1", `{"spec":{"service":"etcd","reason":"disk sold"}}`)
	s.add(t, lockPath, `{"spec":{"holderIdentity":"jane@laptop (rotation abc123)","leaseDurationSeconds":60,"acquireTime":"2026-11-24T11:59:00.000000Z","renewTime":"2026-11-24T11:59:50.000000Z"}}`)
	state, err := shownCluster(t, s).State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "v1.37.2", state.Version)
	assert.Equal(t, 2, state.Nodes)
	require.NotNil(t, state.Watcher)
	assert.EqualValues(t, 1, state.Watcher.Watcher.Ready)
	require.NotNil(t, state.Certificates)
	assert.Len(t, state.Certificates.Items, 2)
	assert.Equal(t, certs.OK, state.Certificates.Items[0].Status)
	assert.Equal(t, noon.Add(-30*time.Minute), state.Observed)
	require.NotNil(t, state.Holder)
	assert.Contains(t, state.Holder.Holder, "jane@laptop")
	require.Len(t, state.Rotations, 2)
	assert.Equal(t, "auto-2", state.Rotations[0].Name, "the newest first")
	assert.Len(t, state.Marks, 1)
	assert.Empty(t, state.Denied)
	assert.Empty(t, state.NotRead)
}

func TestStateWithoutTheWatcher(t *testing.T) {
	s := newAPIServer(t)
	s.add(t, lockPath, `{"spec":{"holderIdentity":"jane@laptop","leaseDurationSeconds":60,"renewTime":"2026-11-24T11:00:00.000000Z"}}`)
	state, err := shownCluster(t, s).State(t.Context())
	require.NoError(t, err)
	assert.Nil(t, state.Watcher)
	assert.Nil(t, state.Certificates)
	assert.Nil(t, state.Holder, "its lock has expired")
	assert.Equal(t, map[dashboard.Right]string{dashboard.RightMark: "the watcher is not installed", dashboard.RightDeleteMark: "the watcher is not installed"}, state.Denied)
	assert.Empty(t, state.NotRead)
}

// TestStateNamesWhatIsDenied: with the watcher, a rotation needs only the right to request one.
func TestStateNamesWhatIsDenied(t *testing.T) {
	for name, tt := range map[string]struct {
		made      func(*testing.T) *apiServerFake
		forbidden []string
		denied    map[dashboard.Right]string
		notRead   []string
	}{
		"of the pods": {newAPIServer, []string{"create pods"}, map[dashboard.Right]string{
			dashboard.RightScan: "create pods in namespace kube-system", dashboard.RightRotate: "create pods in namespace kube-system",
			dashboard.RightMark: "not installed", dashboard.RightDeleteMark: "not installed"}, nil},
		"of the approval": {newAPIServer, []string{"approve signers"}, map[dashboard.Right]string{
			dashboard.RightRotate: "approve signers", dashboard.RightMark: "not installed", dashboard.RightDeleteMark: "not installed"}, nil},
		"of the pods, with the watcher": {installed, []string{"create pods"}, map[dashboard.Right]string{dashboard.RightScan: "create pods"}, nil},
		"of the status of a rotation": {installed, []string{"get certificaterotations"}, map[dashboard.Right]string{
			dashboard.RightRotate: "get certificaterotations.rotate-certs.io (follow the rotation)"}, nil},
		"of the installation": {installed, []string{"list deployments", "list nodecertificatereports", "list compromisedcertificates", "list certificaterotations", "get rotationpolicies"}, map[dashboard.Right]string{
			dashboard.RightMark: "whether the watcher is installed is unknown: missing permission: list deployments.apps", dashboard.RightDeleteMark: "whether the watcher is installed is unknown"},
			[]string{"CertificateRotations: missing permission: list certificaterotations.rotate-certs.io", "CompromisedCertificates: missing permission: list compromisedcertificates.rotate-certs.io",
				"certificates: missing permission: list nodecertificatereports.rotate-certs.io",
				"whether the watcher is installed: missing permission: list deployments.apps and daemonsets.apps"}},
		"of the objects": {installed, []string{"create certificaterotations", "create compromisedcertificates", "list compromisedcertificates", "list nodes", "get leases"}, map[dashboard.Right]string{
			dashboard.RightRotate: "create certificaterotations.rotate-certs.io (have the watcher rotate)", dashboard.RightMark: "create compromisedcertificates",
			dashboard.RightScan: "list nodes"},
			[]string{"CompromisedCertificates: missing permission: list compromisedcertificates.rotate-certs.io", "nodes: missing permission: list nodes",
				`the rotation in progress: missing permission: get leases.coordination.k8s.io "rotate-certs" in namespace kube-system`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := tt.made(t)
			s.forbidden = tt.forbidden
			state, err := shownCluster(t, s).State(t.Context())
			require.NoError(t, err)
			assert.Len(t, state.Denied, len(tt.denied), "%v", state.Denied)
			for right, says := range tt.denied {
				assert.Contains(t, state.Denied[right], says, right)
			}
			assert.Equal(t, tt.notRead, state.NotRead)
		})
	}
}

func TestMarkAndItsDeletion(t *testing.T) {
	s := installed(t)
	c := shownCluster(t, s)
	mark := dashboard.Mark{Service: certs.KubeAPIServer, Nodes: []string{"cp1"}, Fingerprint: colons(apiserverPrint), Reason: " backup leaked "}
	require.NoError(t, c.MarkCompromised(t.Context(), mark))
	created := s.paths("/compromisedcertificates/kube-apiserver-")
	require.Len(t, created, 1)
	assert.Equal(t, `{"fingerprint":"`+apiserverPrint+`","nodes":["cp1"],"reason":"backup leaked","service":"kube-apiserver"}`, flat(s.objects[created[0]]["spec"]))

	for says, wrong := range map[string]dashboard.Mark{
		"etcd has no certificate on any node": {Service: certs.Etcd, Reason: "x"},
		"no reason given":                     {Service: certs.KubeAPIServer},
		"64 hex digits":                       {Service: certs.KubeAPIServer, Reason: "x", Fingerprint: "zz"},
	} {
		err := c.MarkCompromised(t.Context(), wrong)
		require.Error(t, err)
		assert.Contains(t, err.Error(), says)
	}
	assert.Len(t, s.paths("/compromisedcertificates/"), 1, "only what matches is created")

	name := created[0][strings.LastIndex(created[0], "/")+1:]
	s.forbidden = []string{"delete compromisedcertificates"}
	err := c.DeleteMark(t.Context(), name)
	require.Error(t, err)
	assert.Contains(t, hint.TextOf(err), "rotate-certs:incident-responder")
	s.forbidden = nil
	require.NoError(t, c.DeleteMark(t.Context(), name))
	assert.Empty(t, s.paths("/compromisedcertificates/"))
}
