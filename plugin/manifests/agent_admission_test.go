package manifests

import (
	"testing"

	"github.com/stretchr/testify/assert"
	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// TestAnAgentWritesItsOwnReportOnly judges writes as they reach the API server.
func TestAnAgentWritesItsOwnReportOnly(t *testing.T) {
	policy := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, base()), "rotate-certs-agent-reports", "")
	owner := func(name, uid string) map[string]any {
		return map[string]any{"ownerReferences": []any{map[string]any{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}}}
	}
	for name, c := range map[string]struct {
		operation, resource, subresource, report string
		metadata                                 map[string]any
		unbound, otherUser, admitted             bool
	}{
		"its own, new":                    {report: "a", admitted: true},
		"its own, again":                  {operation: "UPDATE", report: "a", admitted: true},
		"owned by its node":               {report: "a", metadata: owner("a", "uid-a"), admitted: true},
		"another node's":                  {report: "b"},
		"another node's, again":           {operation: "UPDATE", report: "b"},
		"with a name to be made up":       {metadata: map[string]any{"generateName": "a"}},
		"without a node claim":            {report: "a", unbound: true},
		"of no node, without a claim":     {report: "", unbound: true},
		"owned by nothing":                {report: "a", metadata: map[string]any{"ownerReferences": nil}},
		"owned by nothing, an empty list": {report: "a", metadata: map[string]any{"ownerReferences": []any{}}},
		"owned by its node twice":         {report: "a", metadata: map[string]any{"ownerReferences": append(owner("a", "uid-a")["ownerReferences"].([]any), owner("a", "uid-a")["ownerReferences"].([]any)...)}},
		"owned by another node":           {report: "a", metadata: owner("b", "uid-b")},
		"owned by a former node":          {report: "a", metadata: owner("a", "uid-z")},
		"with a finalizer":                {report: "a", metadata: map[string]any{"finalizers": []any{"x/y"}}},
		"removed":                         {operation: "DELETE", report: "a"},
		"a status":                        {operation: "UPDATE", subresource: "status", report: "a"},
		"a rotation":                      {resource: "certificaterotations", report: "a"},
		"a CompromisedCertificate":        {resource: "compromisedcertificates", report: "a"},
		"another user's write":            {report: "b", otherUser: true, admitted: true},
		"another user's write, no claim":  {report: "b", otherUser: true, unbound: true, admitted: true},
	} {
		t.Run(name, func(t *testing.T) {
			user := map[string]any{"username": "system:serviceaccount:rotate-certs:rotate-certs-agent", "extra": map[string]any{
				"authentication.kubernetes.io/node-name": []any{"a"}, "authentication.kubernetes.io/node-uid": []any{"uid-a"}}}
			if c.unbound {
				user["extra"] = map[string]any{"authentication.kubernetes.io/credential-id": []any{"x"}}
			}
			if c.otherUser {
				user["username"] = "system:serviceaccount:rotate-certs:other"
			}
			or := func(a, b string) string {
				if a == "" {
					return b
				}
				return a
			}
			request := map[string]any{"operation": or(c.operation, "CREATE"), "name": c.report, "userInfo": user,
				"resource": map[string]any{"group": "rotate-certs.io", "resource": or(c.resource, "nodecertificatereports")}}
			if c.subresource != "" {
				request["subResource"] = c.subresource
			}
			metadata := map[string]any{}
			if c.report != "" {
				metadata["name"] = c.report
			}
			metadata["ownerReferences"] = owner("a", "uid-a")["ownerReferences"]
			for k, v := range c.metadata {
				metadata[k] = v
			}
			if metadata["ownerReferences"] == nil {
				delete(metadata, "ownerReferences")
			}
			refused := judge(t, policy, request, map[string]any{"metadata": metadata})
			if c.admitted {
				assert.Empty(t, refused)
			} else {
				assert.NotEmpty(t, refused)
			}
		})
	}
}
