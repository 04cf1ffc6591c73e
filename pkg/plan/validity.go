package plan

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const (
	// MinValidity is the shortest lifetime of new certificates without an explicit flag: "90m"
	// is easily written for 90 days, and would stop every API server of a cluster at once.
	MinValidity = 24 * time.Hour
	// LeastValidity is the shortest one where [Request.AllowShortValidity] is set: the
	// certificates API takes no less, and a certificate has to outlive its own rotation.
	LeastValidity = 10 * time.Minute
)

// CheckValidity refuses a lifetime that is too short. One from the cluster's own configuration
// is not refused.
func (r Request) CheckValidity() error {
	if r.ValidityFrom != "" {
		return nil
	}
	return CheckValidity(r.Validity, r.AllowShortValidity)
}

// CheckValidity refuses a lifetime that is too short, where one is given: below [MinValidity]
// unless that is allowed explicitly, and below [LeastValidity] in any case.
func CheckValidity(validity time.Duration, allowShort bool) error {
	least := MinValidity
	why := "unless short ones are allowed explicitly"
	if allowShort {
		least = LeastValidity
		why = "or a certificate expires before its rotation ends"
	}
	if validity == 0 || validity >= least {
		return nil
	}
	return fmt.Errorf("validity %s is too short: at least %s, %s", certs.FormatDuration(validity), certs.FormatDuration(least), why)
}
