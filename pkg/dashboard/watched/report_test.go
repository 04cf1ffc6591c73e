package watched

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// TestReportOfAShortenedStatus: what the watcher left out was not renewed, and a node that the
// status of a succeeded rotation does not name was not skipped.
func TestReportOfAShortenedStatus(t *testing.T) {
	step := func(node string) v1alpha1.PlanStep {
		return v1alpha1.PlanStep{Node: node, Services: []v1alpha1.PlanService{{Service: certs.Etcd}, {Service: certs.KubeProxy}}, Certificates: []v1alpha1.PlannedCertificate{
			{Service: certs.Etcd, Name: "etcd-peer", Path: "/peer.crt"}, {Service: certs.Etcd, Name: "etcd-server", Path: "/server.crt"}, {Service: certs.KubeProxy, Name: "client", Path: "/proxy.conf"}}}
	}
	c := &v1alpha1.CertificateRotation{}
	c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue, Reason: string(v1alpha1.StateSucceeded), Message: "3 certificates renewed"}}
	c.Status.LeftOut = []v1alpha1.LeftOut{{Node: "cp1", Service: certs.Etcd, Name: "etcd-server", Path: "/server.crt", Reason: "no CA key"},
		{Node: "cp1", Service: certs.KubeProxy, Name: "client", Path: "/proxy.conf", Reason: "no CA key"}}
	rotation := Rotation{Now: time.Now, Pause: func(context.Context) bool { return true },
		Reports: func(context.Context) ([]v1alpha1.NodeCertificateReport, error) { return nil, nil }}
	report := rotation.reportOf(t.Context(), c, v1alpha1.RotationPlan{Steps: []v1alpha1.PlanStep{step("cp1"), step("cp2")}})
	assert.Equal(t, "3 certificates renewed", report.Message)
	got := map[string]string{}
	for _, item := range report.Items {
		got[item.Node+" "+string(item.Service)] = fmt.Sprintf("%s %d %s", item.Result, len(item.Certificates), item.Reason)
	}
	const late = "the agent has not reported the new certificate yet: "
	assert.Equal(t, map[string]string{
		"cp1 etcd": "Succeeded 1 " + late + "etcd-peer", "cp1 kube-proxy": "Skipped 0 left out: no CA key",
		"cp2 etcd": "Succeeded 2 " + late + "etcd-peer, etcd-server", "cp2 kube-proxy": "Succeeded 1 " + late + "client"}, got)
}
