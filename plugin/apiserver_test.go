package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

// apiServerFake is an API server in memory: it stores what it is given, answers lists
// with label selectors and page limits, defines kinds by their definitions, and makes
// workloads ready. Requests that tests care about are in log.
type apiServerFake struct {
	*httptest.Server
	sync.Mutex
	version   string
	objects   map[string]map[string]any // by path
	revision  int
	log       []string
	forbidden []string                                     // "verb resource"; "*": all that is not listed in allowed
	silent    []string                                     // nodes whose agents do not report
	unready   bool                                         // workloads stay as they are
	events    func(w http.ResponseWriter, r *http.Request) // of the watcher
	late      map[string]int                               // by resource, how many requests are answered as if its kind were not served
	onRefuse  func()                                       // a request that is forbidden
	onDelete  func(path string)
	onList    func(kind string)
	answers   string            // on a terminal; empty: there is none
	onPatch   func(path string) // before it is done
	cache     string            // directory of what the program remembers
}

func newAPIServer(t *testing.T) *apiServerFake {
	t.Helper()
	s := &apiServerFake{version: "v1.37.2", objects: map[string]map[string]any{}, cache: t.TempDir()}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	for _, ns := range []string{"default", "kube-system"} {
		s.put("/api/v1/namespaces/"+ns, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns}})
	}
	for _, n := range []string{"cp1", "w1"} {
		s.put("/api/v1/nodes/"+n, map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": n},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}, "nodeInfo": map[string]any{"operatingSystem": "linux", "architecture": "amd64"}}})
	}
	return s
}

// run is one call of the program against it.
func (s *apiServerFake) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	t.Setenv("KUBECACHEDIR", s.cache)
	var out, errOut lockedBuffer
	a := s.app(genericiooptions.IOStreams{In: strings.NewReader(s.answers), Out: &out, ErrOut: &errOut})
	code = a.runUntilSignal(append(args, "--server", s.URL), nil)
	return code, out.String(), errOut.String()
}

// app is the program, which does not wait.
func (s *apiServerFake) app(streams genericiooptions.IOStreams) *app {
	a := &app{terminal: terminal{in: s.answers != ""}, IOStreams: streams, now: func() time.Time { return noon }, hurry: true, render: renderOnce}
	a.dial, a.survey, a.readPolicy, a.readReports = a.connectCluster, a.surveyWatcher, a.installedPolicy, a.storedReports
	return a
}

type resourceFake struct {
	group, version, name, kind string
	namespaced                 bool
}

var resourceFakes = []resourceFake{
	{"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false},
	{"", "v1", "namespaces", "Namespace", false}, {"", "v1", "nodes", "Node", false}, {"", "v1", "pods", "Pod", true},
	{"", "v1", "serviceaccounts", "ServiceAccount", true}, {"", "v1", "configmaps", "ConfigMap", true}, {"", "v1", "secrets", "Secret", true},
	{"", "v1", "services", "Service", true}, {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
	{"apps", "v1", "deployments", "Deployment", true}, {"apps", "v1", "daemonsets", "DaemonSet", true},
	{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true},
	{"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false}, {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false},
	{"rbac.authorization.k8s.io", "v1", "roles", "Role", true}, {"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false},
	{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false},
	{"coordination.k8s.io", "v1", "leases", "Lease", true}, {"storage.k8s.io", "v1", "storageclasses", "StorageClass", false},
}

// served are the kinds that exist now.
func (s *apiServerFake) served() []resourceFake {
	out := slices.Clone(resourceFakes)
	for _, d := range []resourceFake{
		{"rotate-certs.io", "v1alpha1", "nodecertificatereports", "NodeCertificateReport", false},
		{"rotate-certs.io", "v1alpha1", "certificaterotations", "CertificateRotation", false},
		{"rotate-certs.io", "v1alpha1", "compromisedcertificates", "CompromisedCertificate", false},
		{"rotate-certs.io", "v1alpha1", "rotationpolicies", "RotationPolicy", false},
	} {
		if s.objects["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+d.name+".rotate-certs.io"] != nil {
			out = append(out, d)
		}
	}
	return out
}

func (r resourceFake) base() string {
	if r.group == "" {
		return "/api/" + r.version
	}
	return "/apis/" + r.group + "/" + r.version
}

// place is what a path asks for: of which kind, where, which one, and what of it.
func (s *apiServerFake) place(path string) (r resourceFake, namespace, name, sub string, ok bool) {
	for _, r := range s.served() {
		rest, found := strings.CutPrefix(path, r.base()+"/")
		if !found {
			continue
		}
		parts := strings.Split(rest, "/")
		namespace := ""
		if len(parts) > 2 && parts[0] == "namespaces" && r.namespaced {
			namespace, parts = parts[1], parts[2:]
		}
		if parts[0] != r.name || (r.name == "namespaces" && len(parts) > 2) {
			continue
		}
		parts = append(parts, "", "")
		return r, namespace, parts[1], parts[2], true
	}
	return resourceFake{}, "", "", "", false
}

func (s *apiServerFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "/proxy/") && s.events != nil {
		s.events(w, r)
		return
	}
	s.Lock()
	defer s.Unlock()
	body, _ := io.ReadAll(r.Body) // nothing or an object
	object := map[string]any{}
	if strings.Contains(r.Header.Get("Content-Type"), "protobuf") {
		typed, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err == nil {
			body, _ = json.Marshal(typed) // of the API's own types
		}
	}
	_ = json.Unmarshal(body, &object) // nothing where there is none
	switch {
	case r.URL.Path == "/version":
		answer(w, 200, map[string]any{"gitVersion": s.version})
	case r.URL.Path == "/api" || r.URL.Path == "/apis" || s.discovery(w, r.URL.Path):
		if r.URL.Path == "/api" {
			answer(w, 200, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
		} else if r.URL.Path == "/apis" {
			s.groups(w)
		}
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		s.review(w, object)
	default:
		s.serve(w, r, object)
	}
}

func (s *apiServerFake) groups(w http.ResponseWriter) {
	var groups []any
	var seen []string
	for _, r := range s.served() {
		if r.group == "" || slices.Contains(seen, r.group) {
			continue
		}
		seen = append(seen, r.group)
		version := map[string]any{"groupVersion": r.group + "/" + r.version, "version": r.version}
		groups = append(groups, map[string]any{"name": r.group, "versions": []any{version}, "preferredVersion": version})
	}
	answer(w, 200, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

func (s *apiServerFake) discovery(w http.ResponseWriter, path string) bool {
	var resources []any
	version := ""
	for _, r := range s.served() {
		if r.base() == path {
			version = strings.TrimPrefix(r.group+"/"+r.version, "/")
			resources = append(resources, map[string]any{"name": r.name, "kind": r.kind, "namespaced": r.namespaced, "verbs": []string{"list", "delete"}})
		}
	}
	if version != "" {
		answer(w, 200, map[string]any{"kind": "APIResourceList", "groupVersion": version, "resources": resources})
	}
	return version != ""
}

func (s *apiServerFake) review(w http.ResponseWriter, object map[string]any) {
	asked := object["spec"].(map[string]any)["resourceAttributes"].(map[string]any)
	question := fmt.Sprintf("%v %v", asked["verb"], asked["resource"])
	allowed := len(s.forbidden) == 0 || (question != "* *" && !slices.Contains(s.forbidden, question))
	object["status"] = map[string]any{"allowed": allowed}
	answer(w, 201, object)
}

func (s *apiServerFake) serve(w http.ResponseWriter, r *http.Request, object map[string]any) {
	kind, namespace, name, sub, ok := s.place(r.URL.Path)
	verb := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[r.Method]
	if verb == "get" && name == "" {
		verb = "list"
	}
	dry := r.URL.Query().Get("dryRun") != "" || object["dryRun"] != nil // a deletion says it in its body
	if !dry && verb != "get" && verb != "list" {
		s.log = append(s.log, verb+" "+r.URL.Path)
	}
	if ok && s.late[kind.name] > 0 {
		s.late[kind.name]--
		ok = false
	}
	switch {
	case !ok:
		fail(w, 404, "NotFound", "the server could not find the requested resource", "")
	case slices.Contains(s.forbidden, verb+" "+kind.name):
		if s.onRefuse != nil {
			s.onRefuse()
		}
		fail(w, 403, "Forbidden", fmt.Sprintf("%s is forbidden: User \"jane\" cannot %s resource", kind.name, verb), name)
	case sub == "proxy":
		fail(w, 503, "ServiceUnavailable", "no endpoints available for service", name)
	case verb == "list":
		if s.onList != nil {
			s.onList(kind.name)
		}
		s.list(w, r, kind, namespace)
	case verb == "create":
		s.create(w, r.URL.Path, object, dry)
	case verb == "update" && s.objects[r.URL.Path] != nil:
		s.update(w, r.URL.Path, object, dry)
	case verb == "patch":
		s.patch(w, r, kind, object, dry)
	case s.objects[r.URL.Path] == nil:
		fail(w, 404, "NotFound", fmt.Sprintf("%s %q not found", kind.name, name), name)
	case verb == "delete":
		if !dry {
			s.remove(r.URL.Path)
		}
		answer(w, 200, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	default:
		answer(w, 200, s.objects[r.URL.Path])
	}
}

func (s *apiServerFake) create(w http.ResponseWriter, path string, object map[string]any, dry bool) {
	metadata := object["metadata"].(map[string]any)
	if prefix, _ := metadata["generateName"].(string); prefix != "" {
		metadata["name"] = prefix + "x7k2p"
	}
	at := path + "/" + metadata["name"].(string)
	if s.objects[at] != nil {
		fail(w, 409, "AlreadyExists", "object already exists", metadata["name"].(string))
		return
	}
	if !dry {
		s.put(at, object)
	}
	answer(w, 201, object)
}

// update replaces an object of the version that it was read in.
func (s *apiServerFake) update(w http.ResponseWriter, path string, object map[string]any, dry bool) {
	before, metadata := s.objects[path], object["metadata"].(map[string]any)
	switch {
	case metadata["resourceVersion"] != before["metadata"].(map[string]any)["resourceVersion"]:
		fail(w, 409, "Conflict", "the object has been modified", fmt.Sprint(metadata["name"]))
		return
	case flat(before) != flat(object) && !dry:
		s.put(path, object)
	}
	answer(w, 200, object)
}

// patch applies; only what another kind of patch is used for here is merged: finalizers,
// and a Deployment's strategy.
func (s *apiServerFake) patch(w http.ResponseWriter, r *http.Request, kind resourceFake, object map[string]any, dry bool) {
	before := s.objects[r.URL.Path]
	if strings.Contains(r.Header.Get("Content-Type"), "merge-patch") {
		if metadata, has := object["metadata"].(map[string]any); has {
			before["metadata"].(map[string]any)["finalizers"] = metadata["finalizers"]
		} else {
			before["spec"].(map[string]any)["strategy"] = map[string]any{"type": strategy(object)["type"]}
		}
		answer(w, 200, before)
		return
	}
	same := before != nil && flat(before["data"]) == flat(object["data"]) && flat(before["rules"]) == flat(object["rules"]) &&
		strings.Contains(flat(before["spec"]), flat(object["spec"])) && compromisedOf(before) == compromisedOf(object)
	switch {
	case same:
		answer(w, 200, before)
	case strategy(object)["type"] == "Recreate" && strategy(before)["rollingUpdate"] != nil:
		fail(w, 422, "Invalid", "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'", "")
	case dry: // of an object that exists it has the version that this has
		if before != nil {
			object["metadata"].(map[string]any)["resourceVersion"] = before["metadata"].(map[string]any)["resourceVersion"]
		}
		answer(w, 200, object)
	default:
		if s.onPatch != nil {
			s.onPatch(r.URL.Path)
		}
		s.become(kind, object)
		s.put(r.URL.Path, object)
		answer(w, 200, object)
	}
}

func (s *apiServerFake) list(w http.ResponseWriter, r *http.Request, kind resourceFake, namespace string) {
	prefix := kind.base() + "/" + kind.name + "/"
	var paths []string
	for path, object := range s.objects {
		if !strings.HasPrefix(path, kind.base()+"/") || !strings.Contains(path, "/"+kind.name+"/") {
			continue
		}
		k, ns, _, _, _ := s.place(path)
		if k == kind && (namespace == "" || ns == namespace) && selected(object, r.URL.Query().Get("labelSelector")) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	if strings.Contains(r.Header.Get("Accept"), "as=Table") {
		var rows []any
		for _, p := range paths {
			summary, _ := s.objects[p]["summary"].(map[string]any)
			due, waits := dueCells(s.objects[p])
			rows = append(rows, map[string]any{"cells": []any{strings.TrimPrefix(p, prefix), due, waits, summary["observedAt"]}})
		}
		columns := []any{map[string]any{"name": "Name"}, map[string]any{"name": dueColumn}, map[string]any{"name": waitsColumn}, map[string]any{"name": seenColumn}}
		answer(w, 200, map[string]any{"kind": "Table", "columnDefinitions": columns, "rows": rows})
		return
	}
	items := []any{}
	for _, p := range paths {
		items = append(items, s.objects[p])
	}
	version := strings.TrimPrefix(kind.group+"/"+kind.version, "/")
	answer(w, 200, map[string]any{"kind": kind.kind + "List", "apiVersion": version, "metadata": map[string]any{}, "items": items})
}

func selected(object map[string]any, selector string) bool {
	labels, _ := object["metadata"].(map[string]any)["labels"].(map[string]any)
	for term := range strings.SplitSeq(selector, ",") {
		key, value, has := strings.Cut(term, "=")
		if has && labels[key] != value {
			return false
		}
	}
	return true
}

func flat(v any) string {
	text, _ := json.Marshal(v) // of what came from JSON
	return string(text)
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object) // the client may have disconnected
}

func fail(w http.ResponseWriter, code int, reason, message, name string) {
	answer(w, code, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
		"details": map[string]any{"name": name}})
}
