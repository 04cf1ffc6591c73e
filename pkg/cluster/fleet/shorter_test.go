package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A certificate that lives shorter than the one before it, or than what was asked for,
// is reported in a sentence; one that lives as long is not.
func TestShorterValidityIsReported(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		was, grants, asked time.Duration
		says               string
	}{
		"shorter than before":           {year, 90 * time.Minute, 0, "it is valid for 90 minutes, the old one was valid for 365 days"},
		"as long":                       {year, year, 0, ""},
		"short as asked for":            {year, 48 * time.Hour, 48 * time.Hour, ""},
		"shorter than was asked for":    {year, time.Hour, 48 * time.Hour, "it is valid for 60 minutes, what was asked for is 2 days"},
		"longer, less than asked for":   {year, 2 * year, 4 * year, "it is valid for 730 days, what was asked for is 1460 days"},
		"five minutes are not reported": {year, year - 5*time.Minute, 0, ""},
		"as long, for 31 years":         {31 * year, 31 * year, 0, ""},
		"shorter than 99 years":         {99 * year, 10 * year, 0, "it is valid for 3650 days, the old one was valid for 36135 days"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(1, 0)
			n := c.nodes["cp1"]
			n.grants = test.grants
			for i := range n.inventory.Certificates {
				f := &n.inventory.Certificates[i].Facts
				f.NotBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				f.NotAfter = f.NotBefore.Add(test.was)
			}
			report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Request.Validity = test.asked })
			require.NoError(t, err)
			notes := strings.Join(report.Notes, "\n")
			if test.says == "" {
				assert.NotContains(t, notes, "shorter life")
				return
			}
			assert.Contains(t, notes, "has a shorter life: "+test.says)
			assert.Contains(t, notes, "(cp1)")
		})
	}
}

// The message names the issuer or setting that shortened the validity, and no other.
func TestReasonForShorterValidityIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		issuer       inventory.IssuerKind
		reason, says string
	}{
		"its CA ends":            {inventory.LocalCA, `its CA "kubernetes" ends then`, ` The reason: its CA "kubernetes" ends then.`},
		"a signer of the API":    {inventory.KubernetesCSR, "", " Its signer grants no more."},
		"a distribution":         {inventory.UnitCommand, "", " Its distribution decides that: RKE2 and K3s have CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS in the environment of their units."},
		"nothing that was known": {inventory.LocalCA, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(1, 0)
			n := c.nodes["cp1"]
			n.grants = 90 * time.Minute
			for i := range n.inventory.Certificates {
				f := &n.inventory.Certificates[i].Facts
				f.NotBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				f.NotAfter = f.NotBefore.AddDate(1, 0, 0)
			}
			report, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
				for _, w := range o.Plan.Waves {
					for _, s := range w.Steps {
						for i := range s.Targets {
							s.Targets[i].Issuer, s.Targets[i].LifeReason = string(test.issuer), test.reason
						}
					}
				}
			})
			require.NoError(t, err)
			notes := strings.Join(report.Notes, "\n")
			assert.Contains(t, notes, "the old one was valid for 365 days."+test.says+" (cp1)")
		})
	}
}
