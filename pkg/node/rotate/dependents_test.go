package rotate

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// ActiveDependents implements UnitCommander.
func (r *fakeRKE2) ActiveDependents(context.Context, string) ([]string, error) { return r.depends, nil }

// TestUnitThatOthersDependOnIsNotStopped: systemd would stop them with it, and not start them
// again. They may have been started since the stage.
func TestUnitThatOthersDependOnIsNotStopped(t *testing.T) {
	for name, later := range map[string]bool{"at the stage": false, "at the commit": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeRKE2(t)
				e, r := k.newEngine()
				depends := []string{"backup.service", "monitor.service"}
				if later {
					r.hook = func(rec nodeapi.Record) {
						if rec.Kind == nodeapi.Staged {
							k.depends = depends
						}
					}
				} else {
					k.depends = depends
				}
				k.stageServices(nodeapi.Order{}, certs.Etcd)
				r.orderAfter(k.fakeNode, nodeapi.Staged, commitOrder)
				r.orderAfter(k.fakeNode, nodeapi.Refused, abandon)
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				refused := r.recordsOf(nodeapi.Refused)
				if len(refused) != 1 || (len(r.recordsOf(nodeapi.Staged)) > 0) != later || !strings.Contains(refused[0].Message, "which also stops backup.service, monitor.service: systemd does not start these again") || len(k.commands) > 0 {
					t.Errorf("%s %+v, commands %q", r.kindsText(), refused, k.commands)
				}
			})
		})
	}
}
