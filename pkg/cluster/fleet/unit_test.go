package fleet

import (
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestProgressOfARestartThatRenews: nothing is signed, and no file is replaced by this program.
func TestProgressOfARestartThatRenews(t *testing.T) {
	signed := plan.Step{Targets: make([]plan.Target, 2)}
	byUnit := plan.Step{Targets: make([]plan.Target, 3), RestartUnit: "k0scontroller.service"}
	byCommand := byUnit
	byCommand.RestartUnit = "k3s.service"
	byCommand.UnitCommand = "/usr/local/bin/k3s certificate rotate --service=etcd"
	byCommand.Targets = slices.Repeat([]plan.Target{{Issuer: string(inventory.UnitCommand)}}, 3)
	restarting := byCommand
	restarting.RestartUnit = "snap.microk8s.daemon-kubelite.service"
	restarting.UnitCommand = "/snap/bin/microk8s refresh-certs --cert=server.crt"
	restarting.Targets = []plan.Target{{Issuer: string(inventory.RestartCommand)}}
	for want, got := range map[string]string{
		"signing 2 certificates": stagingText(signed),
		"checking 3 certificates that a restart of k0scontroller.service renews": stagingText(byUnit),
		"2 certificates signed":                                                                  stagedText([]plan.Step{signed}),
		"3 certificates checked, which a restart renews":                                         stagedText([]plan.Step{byUnit}),
		"2 certificates signed, 3 checked, which a restart renews":                               stagedText([]plan.Step{signed, byUnit}),
		"replacing files":                                                                        committingText(signed),
		"restarting k0scontroller.service, which renews 3 certificates":                          committingText(byUnit),
		`checking 3 certificates that "k3s certificate rotate" with k3s.service stopped renews`:  stagingText(byCommand),
		`running "k3s certificate rotate" with k3s.service stopped, which renews 3 certificates`: committingText(byCommand),
		`running "microk8s refresh-certs", which renews 1 certificates`:                          committingText(restarting),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
