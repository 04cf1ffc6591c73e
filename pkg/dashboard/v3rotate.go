package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// v3RotateInput is the body of the action rotateCertificates. Without one, it is for all services.
type v3RotateInput struct {
	Type           string     `json:"type,omitempty" doc:"rotateCertificateInput, or absent"`
	Services       v3Services `json:"services,omitempty" doc:"one service, several, or null for all"`
	CACertificates bool       `json:"caCertificates,omitempty" doc:"false, or absent: CAs are not renewed"`
}

func (v3RotateInput) mayBeMissing() {}

// v3Services is a name, a list of names, or null.
type v3Services []string

// UnmarshalJSON reads the three forms.
func (v *v3Services) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*v = nil
		if one != "" {
			*v = v3Services{one}
		}
		return nil
	}
	var several []string
	if err := json.Unmarshal(text, &several); err != nil {
		return invalidField("services", "services is neither a name, nor a list of names, nor null", "")
	}
	*v = several
	return nil
}

// JSONSchema is what [v3Services.UnmarshalJSON] reads.
func (v3Services) JSONSchema() map[string]any {
	name := map[string]any{"type": "string", "enum": serviceWords(certs.Services())}
	return map[string]any{"oneOf": []any{name, map[string]any{"type": "array", "items": name}, map[string]any{"type": "null"}}}
}

// v3RotateOutput is the answer once the rotation has begun.
type v3RotateOutput struct {
	Type    string            `json:"type" doc:"rotateCertificateOutput"`
	Message string            `json:"message"`
	Links   map[string]string `json:"links" doc:"cluster, and rotation: its progress and report"`
}

// runV3Action starts a rotation, as the dialog does.
func (s *Server) runV3Action(call *apiCall, in v3RotateInput) (v3RotateOutput, error) {
	none := v3RotateOutput{}
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return none, err
	}
	switch action := call.r.URL.Query().Get("action"); action {
	case v3Action:
	case "":
		return none, &apiError{Status: http.StatusMethodNotAllowed, Code: codeNotAllowed, Text: "a cluster cannot be changed", Next: "add ?action=" + v3Action}
	default:
		return none, &apiError{Status: http.StatusUnprocessableEntity, Code: codeInvalidAction, Text: fmt.Sprintf("a cluster has no action %q", action), Next: "the only one is " + v3Action}
	}
	if in.CACertificates {
		return none, invalidField("caCertificates", "CAs are never renewed: the certificates that they signed would not be trusted anymore",
			`send "caCertificates": false; renew a CA by the manual procedure of the Kubernetes documentation, then rotate all services`)
	}
	services, err := certs.ParseServices(in.Services)
	if err != nil {
		text, hint := errorParts(err)
		return none, invalidField("services", text, hint)
	}
	begun, err := s.planAndBegin(call, named, Choice{Services: services, Restart: plan.RestartAlways})
	if err != nil {
		return none, err
	}
	message := "rotating certificates for all components"
	if len(services) > 0 {
		message = fmt.Sprintf("rotating %s certificates", printers.JoinServices(services, ", "))
	}
	return v3RotateOutput{Type: "rotateCertificateOutput", Message: message,
		Links: map[string]string{"cluster": call.addressOf(v3ClusterPath(clusterID(named.Name))), "rotation": call.addressOf(rotationAddress(begun))}}, nil
}
