package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestShortValidityNeedsAFlag(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		req  Request
		says string // empty: it is fine
	}{
		"none asked for":                {Request{}, ""},
		"a day":                         {Request{Validity: day}, ""},
		"90 minutes, meant as 90 days":  {Request{Validity: 90 * time.Minute}, "validity 1h30m is too short: at least 1d"},
		"a second less than a day":      {Request{Validity: day - time.Second}, "is too short: at least 1d"},
		"90 minutes, and said so":       {Request{Validity: 90 * time.Minute, AllowShortValidity: true}, ""},
		"too short for its rotation":    {Request{Validity: 9 * time.Minute, AllowShortValidity: true}, "at least 10m"},
		"below zero":                    {Request{Validity: -day, AllowShortValidity: true}, "at least 10m"},
		"as the cluster's settings say": {Request{Validity: 12 * time.Hour, ValidityFrom: "kubeadm has it so"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := BuildPlan(nil, tt.req, nil)
			if checked := tt.req.CheckValidity(); tt.says == "" {
				assert.NoError(t, checked)
				assert.NotContains(t, err.Error(), "validity", "it is refused for another reason: there is no node")
				return
			}
			assert.ErrorContains(t, tt.req.CheckValidity(), tt.says)
			assert.ErrorContains(t, err, tt.says, "nothing is planned")
		})
	}
}
