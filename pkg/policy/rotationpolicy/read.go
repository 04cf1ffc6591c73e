// Package rotationpolicy converts a RotationPolicy of the API into the policy of decisions,
// and reads one from a file. All errors are reported at once, each with its field.
package rotationpolicy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// Kind of the object.
const Kind = "RotationPolicy"

// Read reads a RotationPolicy from a file, as strictly as the API server with strict field
// validation, and checks it with [Compile]. An error wraps an [Errors].
func Read(file []byte) (*v1alpha1.RotationPolicy, error) {
	text, err := singleDocument(file)
	if err != nil {
		return nil, Errors{{Message: err.Error()}}
	}
	if text == nil {
		return nil, hint.AddTo(Errors{{Message: "the file is empty"}},
			"it needs at least apiVersion: %s, kind: %s, metadata: {name: %s}", v1alpha1.APIVersion, Kind, v1alpha1.RotationPolicyName)
	}
	object, found := decodeObject(text)
	if object == nil {
		return nil, found
	}
	if object.APIVersion != v1alpha1.APIVersion {
		found = append(found, &Error{"apiVersion", fmt.Sprintf("%q: want %s", object.APIVersion, v1alpha1.APIVersion)})
	}
	if object.Kind != Kind {
		found = append(found, &Error{"kind", fmt.Sprintf("%q: want %s", object.Kind, Kind)})
	}
	if object.Name != v1alpha1.RotationPolicyName {
		found = append(found, &Error{"metadata.name", fmt.Sprintf("%q: want %q, a cluster has one RotationPolicy", object.Name, v1alpha1.RotationPolicyName)})
	}
	_, err = Compile(&object.Spec)
	var wrong Errors
	if errors.As(err, &wrong) {
		found = append(found, wrong...)
	}
	if len(found) > 0 {
		return nil, found
	}
	return object, nil
}

// singleDocument returns the only document of a file, as JSON; nil: there is none.
func singleDocument(file []byte) ([]byte, error) {
	var only []byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file)))
	for {
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		text, err := yaml.YAMLToJSONStrict(part)
		switch {
		case err != nil:
			return nil, err
		case string(text) == "null": // comments only
			continue
		case only != nil:
			return nil, errors.New("the file has a second document; want one")
		}
		only = text
	}
	return only, nil
}

// decodeObject reads an object. The decoder ends at the first value of a wrong type, so such a value
// is taken out and the rest read again; nil: nothing of it can be read.
func decodeObject(text []byte) (*v1alpha1.RotationPolicy, Errors) {
	var found Errors
	for {
		var object v1alpha1.RotationPolicy
		strict, err := kjson.UnmarshalStrict(text, &object)
		for _, e := range strict {
			found = append(found, strictError(e))
		}
		if err == nil {
			return &object, found
		}
		var mistyped *json.UnmarshalTypeError
		if !errors.As(err, &mistyped) || mistyped.Field == "" {
			return nil, append(found, &Error{Message: err.Error()})
		}
		found = append(found, &Error{mistyped.Field, "want " + typeWords(mistyped) + ", not " + mistyped.Value})
		left, err := removeField(text, strings.Split(mistyped.Field, "."))
		if err != nil {
			return nil, append(found, &Error{Message: err.Error()})
		}
		if bytes.Equal(left, text) {
			return nil, found
		}
		text = left
	}
}

// strictError is the error of an unknown or repeated field.
func strictError(err error) *Error {
	var of kjson.FieldError
	if !errors.As(err, &of) {
		return &Error{Message: err.Error()}
	}
	what, _, _ := strings.Cut(err.Error(), ` "`)
	return &Error{of.FieldPath(), what}
}

// typeWords names the type of a field in terms of YAML.
func typeWords(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); kind {
	case "struct", "map":
		return "fields"
	case "slice":
		return "a list"
	case "int", "int32", "int64":
		return "a whole number"
	case "bool":
		return "true or false"
	default:
		return "a " + kind
	}
}

// removeField removes a field, in every item of the lists on its path.
func removeField(text []byte, path []string) ([]byte, error) {
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	var leaveOut func(node any, path []string)
	leaveOut = func(node any, path []string) {
		switch n := node.(type) {
		case []any:
			for _, item := range n {
				leaveOut(item, path)
			}
		case map[string]any:
			if len(path) == 1 {
				delete(n, path[0])
				return
			}
			leaveOut(n[path[0]], path[1:])
		}
	}
	leaveOut(tree, path)
	return json.Marshal(tree)
}
