//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assertHoldsNoKey searches for every private key of the nodes, in any of the forms in
// which it could leak.
func assertHoldsNoKey(t *testing.T, text string, nodes map[string]tree) {
	t.Helper()
	assert.NotContains(t, text, "PRIVATE KEY")
	assert.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte("-----BEGIN RSA PRIVATE KEY"))[:24])
	assert.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte("-----BEGIN EC PRIVATE KEY"))[:24])
	keys := 0
	for _, files := range nodes {
		for path, f := range files {
			for _, key := range keysIn(f.data) {
				keys++
				if strings.Contains(text, key) {
					assert.Failf(t, "a private key is shown", "that of %s", path)
				}
			}
		}
	}
	require.NotZero(t, keys, "there must be keys to search for")
}

// keysIn returns a line that identifies every private key in a file, PEM or kubeconfig.
func keysIn(data []byte) []string {
	var out []string
	add := func(text []byte) {
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, "PRIVATE KEY") {
				lines := bytes.Split(pem.EncodeToMemory(block), []byte("\n"))
				out = append(out, string(lines[2]))
			}
		}
	}
	add(data)
	for _, m := range kubeconfigData.FindAllSubmatch(data, -1) {
		if string(m[1]) != "client-key-data" {
			continue
		}
		out = append(out, string(m[2][40:100]))
		if text, err := base64.StdEncoding.DecodeString(string(m[2])); err == nil {
			add(text)
		}
	}
	return out
}
