package certs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const day = 24 * time.Hour

func TestDurationsWithDaysAreRead(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90d": 90 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "1h30m": 90 * time.Minute, "8760h": 365 * day, " 30m ": 30 * time.Minute,
	} {
		got, err := certs.ParseDuration(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
}

func TestOtherDurationsAreRefusedWithAnExample(t *testing.T) {
	for _, in := range []string{"", "0", "0d", "90", "-1d", "-5m", "d", "1dd", "1d-2h", "NaNd", "ninety days", "1y", "Infd", "99999999d"} {
		got, err := certs.ParseDuration(in)
		require.Error(t, err, "%q was taken for %s", in, got)
		assert.Contains(t, err.Error(), in)
	}
}

func TestDurationsAreWrittenAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"30d", "36h", "1m", "1h30m", "45s", "365d"} {
		d, err := certs.ParseDuration(text)
		require.NoError(t, err)
		assert.Equal(t, text, certs.FormatDuration(d))
	}
}

func TestDurationFlagRefuses(t *testing.T) {
	var f certs.DurationFlag
	require.ErrorContains(t, f.Set("90"), "such as 90d")
	assert.Zero(t, f, "a refused value leaves the flag as it was")
}

func TestDurationFlagReadsWhatItPrints(t *testing.T) {
	for in, want := range map[string]string{"90d": "90d", "36h": "36h", "1m": "1m", "1h30m": "1h30m", "45s": "45s"} {
		var f certs.DurationFlag
		require.NoError(t, f.Set(in))
		assert.Equal(t, want, f.String())
	}
}
