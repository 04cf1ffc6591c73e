package store

import (
	"encoding/base64"
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"
)

// The fields of a kubeconfig's user that hold a certificate and its key.
const (
	certField = "client-certificate-data"
	keyField  = "client-key-data"
)

// userEntry is the "user" object of one entry of a kubeconfig's users.
type userEntry struct {
	name   string
	fields map[string]any
}

// kubeconfigUser finds a user. The file is read as a tree instead of client-go's type, because
// the replacement of two values must keep all others, including those that the type does not
// have.
func kubeconfigUser(data []byte, name string) (userEntry, error) {
	tree, err := parseTree(data)
	if err != nil {
		return userEntry{}, err
	}
	return findUser(tree, name)
}

// parseTree reads YAML or JSON. Errors do not repeat the input, which holds keys.
func parseTree(data []byte) (map[string]any, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, errors.New("not valid YAML")
	}
	return tree, nil
}

func findUser(tree map[string]any, name string) (userEntry, error) {
	users, _ := tree["users"].([]any)
	var found []userEntry
	for _, u := range users {
		entry, _ := u.(map[string]any)
		fields, _ := entry["user"].(map[string]any)
		if entry["name"] == name && fields != nil {
			found = append(found, userEntry{name, fields})
		}
	}
	switch len(found) {
	case 0:
		return userEntry{}, fmt.Errorf("no user %q", name)
	case 1:
		return found[0], nil
	default:
		return userEntry{}, fmt.Errorf("user %q is there %d times", name, len(found))
	}
}

// fieldText is the value of a field in the tree.
func (u userEntry) fieldText(field string) (string, error) {
	s, _ := u.fields[field].(string)
	if s == "" {
		return "", fmt.Errorf("user %q has no %s", u.name, field)
	}
	return s, nil
}

// decodeField is the decoded value of a base64 field.
func (u userEntry) decodeField(field string) ([]byte, error) {
	s, err := u.fieldText(field)
	if err != nil {
		return nil, err
	}
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s of user %q is not base64", field, u.name)
	}
	return out, nil
}
