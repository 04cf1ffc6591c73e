package scan

import (
	"fmt"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// checkUnitStart makes sure that a start of the unit renews the certificate, with the CA that
// signed it. k0s makes a new CA, which no component of the cluster trusts, if certificate and
// key of the old one are not in their places.
func (e *entry) checkUnitStart(ca *authority, known *authorities) {
	unit := e.Issuer.Unit
	signedBy := e.leafCert().Issuer.CommonName
	e.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
	switch {
	case !layout.RenewedAtStart(signedBy):
		e.Reason = joinReasons(e.Reason, fmt.Sprintf("was signed by the CA %q, which k0s did not make: not every version of k0s renews it when %s is restarted", signedBy, unit))
	case ca == nil || ca.key == "":
		e.Issuer.Unit = unit
		e.Reason = joinReasons(e.Reason, e.noIssuer(ca, known)+fmt.Sprintf("; a restart of %s would make a new CA or use another one", unit))
	case ca.key != strings.TrimSuffix(ca.keyCert, path.Ext(ca.keyCert))+".key":
		e.Issuer.Unit = unit
		e.Reason = joinReasons(e.Reason, fmt.Sprintf("the key of its CA %q is in %q, where k0s does not expect it: a restart of %s would make a new CA", ca.displayName(), ca.key, unit))
	default:
		e.Issuer = inventory.Issuer{Kind: inventory.UnitStart, Unit: unit, CACert: ca.keyCert, CAKey: ca.key}
	}
}
