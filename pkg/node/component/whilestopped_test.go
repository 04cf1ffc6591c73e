package component

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// renewal is the transient unit of the manager. Its states are those that it is in when it is
// asked, one after the other; the last one stays.
type renewal struct {
	states     []map[string]dbus.Variant
	name, mode string
	properties map[string]string
	resets     int
	dependents map[string]string // states of the units that depend on the unit
}

// dependentState is the state of the unit that a call names; empty: it is no dependent.
func (r *renewal) dependentState(call *dbus.Message) string {
	path, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	for name, state := range r.dependents {
		if strings.Contains(string(path), strings.TrimSuffix(name, ".service")) {
			return state
		}
	}
	return ""
}

func (r *renewal) begin(body []any) {
	r.name, _ = body[0].(string)
	r.mode, _ = body[1].(string)
	r.properties = map[string]string{}
	list, _ := body[2].([][]any)
	for _, p := range list {
		value, _ := p[1].(dbus.Variant)
		name, _ := p[0].(string)
		r.properties[name] += fmt.Sprint(value.Value()) // systemd appends the commands of a second ExecStart
	}
}

func (r *renewal) nextState() map[string]dbus.Variant {
	if len(r.states) == 0 {
		return map[string]dbus.Variant{"ActiveState": dbus.MakeVariant("inactive")}
	}
	now := r.states[0]
	if len(r.states) > 1 {
		r.states = r.states[1:]
	}
	return now
}

// stateOf is a state of the transient unit; a job means that it is about to start.
func stateOf(active string, job uint32) map[string]dbus.Variant {
	return map[string]dbus.Variant{
		"ActiveState": dbus.MakeVariant(active), "Result": dbus.MakeVariant("exit-code"), "ExecMainStatus": dbus.MakeVariant(int32(4)),
		"Job": dbus.MakeVariant(struct {
			ID   uint32
			Path dbus.ObjectPath
		}{job, "/"}),
	}
}

var rke2 = inventory.Component{Service: "rke2-server.service", Runtime: inventory.Systemd, Unit: "rke2-server.service"}

// TestCommandRunsWhileItsUnitIsStopped: one request makes systemd stop the unit, run the
// command and start the unit, so that nothing depends on the process that asked.
func TestCommandRunsWhileItsUnitIsStopped(t *testing.T) {
	m := &manager{}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	old, err := r.CurrentInstance(t.Context(), rke2)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RunRenewal(t.Context(), rke2, Renewal{Commands: [][]string{{"/usr/local/bin/rke2", "certificate", "rotate"}}}, old); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.renewal.name != RenewalUnit || m.renewal.mode != "replace" || m.renewal.resets != 1 || m.restarts > 0 || len(m.kills) > 0 {
		t.Errorf("%+v, %d restarts, kills %q", m.renewal, m.restarts, m.kills)
	}
	for name, want := range map[string]string{
		"Type": "oneshot", "Conflicts": "[rke2-server.service]", "After": "[rke2-server.service]",
		"ExecStart":        "[[/usr/local/bin/rke2 [/usr/local/bin/rke2 certificate rotate] false]]",
		"ExecStopPost":     "[[/bin/sh [/bin/sh -c exec systemctl --no-block start -- \"$1\" sh rke2-server.service] false]]",
		"TimeoutStartUSec": "120000000",
	} {
		if got := m.renewal.properties[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestCommandsThatRestartTheirUnitRunBesideIt: a conflict would end them when the unit starts
// again. They are not waited for.
func TestCommandsThatRestartTheirUnitRunBesideIt(t *testing.T) {
	m := &manager{renewal: renewal{states: []map[string]dbus.Variant{stateOf("activating", 0)}}}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	old, err := r.CurrentInstance(t.Context(), rke2)
	if err != nil {
		t.Fatal(err)
	}
	commands := [][]string{{"/snap/bin/microk8s", "refresh-certs", "--cert=a"}, {"/snap/bin/microk8s", "refresh-certs", "--cert=b"}}
	if err := r.RunRenewal(t.Context(), rke2, Renewal{Commands: commands, RestartsItself: true}, old); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, want := range map[string]string{
		"Conflicts": "", "After": "", "Type": "oneshot",
		"ExecStart":    "[[/snap/bin/microk8s [/snap/bin/microk8s refresh-certs --cert=a] false]][[/snap/bin/microk8s [/snap/bin/microk8s refresh-certs --cert=b] false]]",
		"ExecStopPost": "[[/bin/sh [/bin/sh -c exec systemctl --no-block start -- \"$1\" sh rke2-server.service] false]]",
	} {
		if got := m.renewal.properties[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestResultOfACommand(t *testing.T) {
	for name, tt := range map[string]struct {
		states []map[string]dbus.Variant
		want   string // empty: no error
	}{
		"none was run":                      {nil, ""},
		"it succeeds":                       {[]map[string]dbus.Variant{stateOf("activating", 0), stateOf("inactive", 0)}, ""},
		"it fails":                          {[]map[string]dbus.Variant{stateOf("activating", 0), stateOf("deactivating", 0), stateOf("failed", 0)}, "result exit-code, exit status 4"},
		"it waits for the unit's end first": {[]map[string]dbus.Variant{stateOf("inactive", 7), stateOf("failed", 0)}, "exit status 4"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &manager{renewal: renewal{states: tt.states}}
			r := newManager(t, m, "/run/dbus/system_bus_socket")
			err := r.CommandResult(t.Context())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestCommandThatDoesNotEndIsNotAwaitedForever(t *testing.T) {
	m := &manager{renewal: renewal{states: []map[string]dbus.Variant{stateOf("activating", 0)}}}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.CommandResult(ctx); err == nil || !strings.Contains(err.Error(), RenewalUnit) {
		t.Errorf("%v", err)
	}
}

// TestCommandIsWithdrawn: one that waits for the end of its unit, or runs, is stopped, and the
// unit starts again.
func TestCommandIsWithdrawn(t *testing.T) {
	waits, ended := stateOf("inactive", 7), stateOf("inactive", 0)
	for name, tt := range map[string]struct {
		states []map[string]dbus.Variant
		calls  string
	}{
		"none was run":          {nil, ""},
		"it has failed":         {[]map[string]dbus.Variant{stateOf("failed", 0)}, ""},
		"it waits for the unit": {[]map[string]dbus.Variant{waits, ended}, "stop rotate-certs-renew.service, start rke2-server.service"},
		"it runs":               {[]map[string]dbus.Variant{stateOf("activating", 0), stateOf("deactivating", 0), stateOf("failed", 0)}, "stop rotate-certs-renew.service, start rke2-server.service"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &manager{renewal: renewal{states: tt.states}}
			r := newManager(t, m, "/run/dbus/system_bus_socket")
			if err := r.WithdrawCommand(t.Context(), rke2); err != nil {
				t.Fatal(err)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if got := strings.Join(m.jobs, ", "); got != tt.calls {
				t.Errorf("%q, want %q", got, tt.calls)
			}
		})
	}
}

func TestCommandThatCannotBeWithdrawnMayRun(t *testing.T) {
	m := &manager{renewal: renewal{states: []map[string]dbus.Variant{stateOf("inactive", 7)}}}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.WithdrawCommand(ctx, rke2); err == nil || !strings.Contains(err.Error(), "stop "+RenewalUnit) {
		t.Errorf("%v", err)
	}
}

// TestActiveDependentsAreFound: those that do not run are not affected by a stop.
func TestActiveDependentsAreFound(t *testing.T) {
	m := &manager{renewal: renewal{dependents: map[string]string{"backup.service": "active", "monitor.service": "failed", "idle.service": "inactive", "part.service": "activating"}}}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	got, err := r.ActiveDependents(t.Context(), rke2.Unit)
	if err != nil || !slices.Equal(got, []string{"backup.service", "part.service"}) {
		t.Errorf("%q, %v", got, err)
	}
}
