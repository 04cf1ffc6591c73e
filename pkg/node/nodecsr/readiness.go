package nodecsr

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// Readiness asks the API server whether this node is Ready and when its kubelet last renewed the
// node's Lease. The kubelet's own identity may read both (the Node authorizer of Kubernetes).
func (r *Requests) Readiness(ctx context.Context) nodeapi.Readiness {
	out := nodeapi.Readiness{Node: r.Node}
	node := struct {
		Status struct {
			Conditions []struct{ Type, Status, Reason string }
		}
	}{}
	lease := struct {
		Spec struct{ RenewTime metav1.MicroTime }
	}{}
	err := r.readObject(ctx, "/api/v1/nodes/"+r.Node, &node)
	if err == nil {
		err = r.readObject(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+r.Node, &lease)
	}
	if err != nil {
		out.Reason = err.Error()
		return out
	}
	out.RenewTime = lease.Spec.RenewTime.Time
	out.Reason = "it has no Ready condition"
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			out.Ready = c.Status == "True"
			out.Reason = c.Reason
		}
	}
	if out.Ready {
		out.Reason = ""
	}
	return out
}

func (r *Requests) readObject(ctx context.Context, path string, into any) error {
	client, err := r.connect()
	if err != nil {
		return fmt.Errorf("use the node's own identity: %w", err)
	}
	data, err := client.Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		r.disconnect()
		return fmt.Errorf("read %q as node %q: %w", path, r.Node, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	return nil
}
