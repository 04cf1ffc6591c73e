package scan

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// checkUnit makes sure that the unit's program renews the certificate, with the CA that signed
// it. Most programs make a new CA, which no component of the cluster trusts, if certificate and
// key of the old one are not in their places.
func (e *entry) checkUnit(ca *authority, known *authorities) {
	by := e.Issuer
	program := "k0s"
	without := fmt.Sprintf("a restart of %s would make a new CA", by.Unit)
	unit := by.Unit
	if by.IsByCommand() {
		program, _, _ = strings.Cut(inventory.CommandName(by.Command), " ")
	}
	if by.Kind == inventory.RestartCommand {
		without = by.Renewer() + " would fail"
		unit = "" // it may be restarted for other certificates
	}
	signedBy := e.leafCert().Issuer.CommonName
	e.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
	switch {
	case by.Kind == inventory.UnitStart && !layout.RenewedAtStart(signedBy):
		e.Reason = joinReasons(e.Reason, fmt.Sprintf("was signed by the CA %q, which k0s did not make: not every version of k0s renews it when %s is restarted", signedBy, by.Unit))
		return
	case by.Kind == inventory.UnitCommand && !layout.SignedByServer(e.Store.Cert):
		// A server signs it. Only the CA must be known, to check the successor.
		if ca == nil {
			e.Reason = joinReasons(e.Reason, fmt.Sprintf("was signed by the CA %q, which is not on this node: its successor could not be checked", signedBy))
			return
		}
	case ca == nil || ca.key == "":
		e.Issuer.Unit = unit
		e.Reason = joinReasons(e.Reason, e.noIssuer(ca, known)+"; "+without+" or use another one")
		return
	case ca.key != strings.TrimSuffix(ca.keyCert, path.Ext(ca.keyCert))+".key":
		e.Issuer.Unit = unit
		e.Reason = joinReasons(e.Reason, fmt.Sprintf("the key of its CA %q is in %q, where %s does not expect it: %s", ca.displayName(), ca.key, program, without))
		return
	}
	by.CACert = cmp.Or(ca.keyCert, ca.paths[0])
	by.CAKey = ca.key
	e.Issuer = by
}
