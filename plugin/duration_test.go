package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDurationFlagRefuses(t *testing.T) {
	var f durationFlag
	require.ErrorContains(t, f.Set("90"), "such as 90d")
	assert.Zero(t, f, "a refused value leaves the flag as it was")
}

func TestDurationFlagReadsWhatItPrints(t *testing.T) {
	for in, want := range map[string]string{"90d": "90d", "36h": "36h", "1m": "1m", "1h30m": "1h30m", "45s": "45s"} {
		var f durationFlag
		require.NoError(t, f.Set(in))
		assert.Equal(t, want, f.String())
	}
}
