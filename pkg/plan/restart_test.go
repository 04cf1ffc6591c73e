package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestRestartPolicyIsReadAsFlagsAndObjectsNameIt(t *testing.T) {
	for flag, inObjects := range map[string]string{"always": "Always", "if-needed": "IfNeeded", "never": "Never"} {
		for _, name := range []string{flag, inObjects} {
			p, err := plan.ParseRestartPolicy(name)
			require.NoError(t, err)
			assert.Equal(t, []string{flag, inObjects}, []string{string(p), p.APIName()})
		}
	}
	for _, name := range []string{"", "ifneeded", "ALWAYS", "perhaps"} {
		_, err := plan.ParseRestartPolicy(name)
		assert.Contains(t, hint.TextOf(err), "want one of: always, if-needed, never")
	}
}
