package dashboard

import (
	"net/http"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// v3RootDocument is what clients of Rancher's API read first.
type v3RootDocument struct {
	Type  string            `json:"type" doc:"apiRoot"`
	Links map[string]string `json:"links"`
}

// v3Schema describes a type, as far as clients of Rancher's API need it to find its addresses.
type v3Schema struct {
	ID                string                  `json:"id"`
	Type              string                  `json:"type" doc:"schema"`
	PluralName        string                  `json:"pluralName"`
	Links             map[string]string       `json:"links"`
	ResourceMethods   []string                `json:"resourceMethods"`
	CollectionMethods []string                `json:"collectionMethods"`
	ResourceActions   map[string]v3ActionType `json:"resourceActions"`
	ResourceFields    map[string]v3FieldType  `json:"resourceFields"`
}

// v3ActionType names the types of an action's body and answer.
type v3ActionType struct {
	Input  string `json:"input"`
	Output string `json:"output"`
}

// v3FieldType is the type of a field.
type v3FieldType struct {
	Type     string   `json:"type"`
	Nullable bool     `json:"nullable"`
	Options  []string `json:"options,omitempty"`
}

func (s *Server) showV3Root(call *apiCall) (v3RootDocument, error) {
	return v3RootDocument{Type: "apiRoot", Links: map[string]string{"self": call.addressOf(v3Root),
		"schemas": call.addressOf(v3Root + "/schemas"), "clusters": call.addressOf(v3Root + "/clusters")}}, nil
}

func (s *Server) listV3Schemas(call *apiCall) (v3Collection[v3Schema], error) {
	self := call.addressOf(v3Root + "/schemas")
	read := []string{http.MethodGet}
	text := v3FieldType{Type: "string"}
	schema := func(id, plural string) v3Schema {
		return v3Schema{ID: id, Type: "schema", PluralName: plural, Links: map[string]string{},
			ResourceMethods: []string{}, CollectionMethods: []string{}, ResourceActions: map[string]v3ActionType{}, ResourceFields: map[string]v3FieldType{}}
	}
	cluster := schema("cluster", "clusters")
	cluster.Links["collection"] = call.addressOf(v3Root + "/clusters")
	cluster.ResourceMethods = read
	cluster.CollectionMethods = read
	cluster.ResourceActions[v3Action] = v3ActionType{Input: "rotateCertificateInput", Output: "rotateCertificateOutput"}
	for _, name := range []string{"id", "name", "state", "transitioning", "transitioningMessage", "apiEndpoint"} {
		cluster.ResourceFields[name] = text
	}
	cluster.ResourceFields["nodeCount"] = v3FieldType{Type: "int"}
	cluster.ResourceFields["certificatesExpiration"] = v3FieldType{Type: "map[certExpiration]"}
	input := schema("rotateCertificateInput", "rotateCertificateInputs")
	input.ResourceFields["services"] = v3FieldType{Type: "enum", Nullable: true, Options: serviceWords(certs.Services())}
	input.ResourceFields["caCertificates"] = v3FieldType{Type: "boolean"}
	output := schema("rotateCertificateOutput", "rotateCertificateOutputs")
	output.ResourceFields["message"] = text
	expiration := schema("certExpiration", "certExpirations")
	expiration.ResourceFields["expirationDate"] = text
	return v3Collection[v3Schema]{Type: "collection", ResourceType: "schema", Actions: map[string]string{},
		Links: map[string]string{"self": self}, Data: []v3Schema{cluster, input, output, expiration}}, nil
}
