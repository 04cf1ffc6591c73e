package component

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// RenewalUnit is the transient unit that runs the commands of a distribution. Its log stays in the
// journal.
const RenewalUnit = "rotate-certs-renew.service"

// commandLimit is how long one such command may take before systemd ends it.
const commandLimit = 2 * time.Minute

// ActiveDependents returns the active units that systemd stops together with a unit: those with
// Requires=, BindsTo= or PartOf=. It does not start them again with it.
func (r *Runtime) ActiveDependents(ctx context.Context, unit string) ([]string, error) {
	conn, err := r.dialSystemd(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	general, err := conn.GetUnitPropertiesContext(ctx, unit)
	if err != nil {
		return nil, fmt.Errorf("read dependencies of unit %q: %w", unit, err)
	}
	var all, active []string
	for _, property := range []string{"RequiredBy", "BoundBy", "ConsistsOf"} {
		names, _ := general[property].([]string)
		all = append(all, names...)
	}
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		general, err := conn.GetUnitPropertiesContext(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("read state of unit %q: %w", name, err)
		}
		if state := general["ActiveState"]; state != "inactive" && state != "failed" {
			active = append(active, name)
		}
	}
	return active, nil
}

// Renewal holds the commands of a distribution, which are run one after the other.
type Renewal struct {
	Commands [][]string // programs with their arguments
	// RestartsItself means that each command restarts the distribution's unit. Otherwise they are
	// run while it is stopped.
	RestartsItself bool
}

// RunRenewal stops a unit, runs commands and starts the unit again. It returns when the unit's
// old process has exited. Commands that restart the unit themselves are only started.
//
// systemd does all three as one transaction, so that the unit is started again if a command
// fails or does not end, and if this process is killed: the transient unit conflicts with the
// other one, which is therefore stopped before the commands run, and it starts the other one
// when it ends, whatever its result. The commands run as systemd's own children: on the host, and
// not in this process's namespaces.
func (r *Runtime) RunRenewal(ctx context.Context, c inventory.Component, renewal Renewal, old Instance) error {
	conn, err := r.dialSystemd(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The result of an earlier command stays until it is reset. None is no error.
	if err := conn.ResetFailedUnitContext(ctx, RenewalUnit); err != nil && ctx.Err() != nil {
		return fmt.Errorf("stop unit %q: %w", c.Unit, err)
	}
	if _, err := conn.StartTransientUnitContext(ctx, RenewalUnit, "replace", renewalProperties(c.Unit, renewal), nil); err != nil {
		return fmt.Errorf("stop unit %q and run %q: %w", c.Unit, renewal.Commands[0][0], err)
	}
	if renewal.RestartsItself {
		return nil
	}
	for {
		if now, err := readUnit(ctx, conn, c.Unit); err == nil && (now.pid != old.pid || old.pid == 0) {
			return nil
		}
		if wait.SleepFor(ctx, wait.PollEvery) != nil {
			return fmt.Errorf("stop unit %q: the old process %d did not end: %w", c.Unit, old.pid, ctx.Err())
		}
	}
}

// renewalProperties are those of the transient unit. A start of a unit stops the units that it
// conflicts with, and waits for that stop if it is ordered after them.
func renewalProperties(unit string, renewal Renewal) []systemd.Property {
	// The unit's name is an argument of the script, since it may have backslashes.
	start := systemd.PropExecStart([]string{"/bin/sh", "-c", `exec systemctl --no-block start -- "$1"`, "sh", unit}, false)
	start.Name = "ExecStopPost"
	out := []systemd.Property{
		systemd.PropDescription("Renewal of the certificates of " + unit),
		systemd.PropType("oneshot"),
		start,
		{Name: "TimeoutStartUSec", Value: dbus.MakeVariant(uint64(commandLimit / time.Microsecond))},
	}
	for _, command := range renewal.Commands { // systemd appends each to those before
		out = append(out, systemd.PropExecStart(command, false))
	}
	if !renewal.RestartsItself {
		out = append(out, systemd.PropConflicts(unit), systemd.PropAfter(unit))
	}
	return out
}

// CommandResult waits until the commands of the last RunRenewal have ended, and returns the
// error that they ended with. It cannot fail where none was run.
func (r *Runtime) CommandResult(ctx context.Context) error {
	conn, err := r.dialSystemd(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		general, err := conn.GetUnitPropertiesContext(ctx, RenewalUnit)
		switch {
		case err != nil || hasJob(general):
		case general["ActiveState"] == "inactive": // it has succeeded, and systemd has forgotten it
			return nil
		case general["ActiveState"] == "failed":
			return commandFailure(ctx, conn)
		}
		if wait.SleepFor(ctx, wait.PollEvery) != nil {
			return fmt.Errorf("wait for %s: %w", RenewalUnit, errors.Join(ctx.Err(), err))
		}
	}
}

// WithdrawCommand makes sure that the commands of the last RunRenewal do not run any more:
// systemd would still run them after their requester has ceased to wait for the end of the unit. The
// unit is started then. An error means that they may run later. It cannot fail where none
// was run, or they have ended.
func (r *Runtime) WithdrawCommand(ctx context.Context, c inventory.Component) error {
	conn, err := r.dialSystemd(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stopped := false
	for {
		general, err := conn.GetUnitPropertiesContext(ctx, RenewalUnit)
		active := general["ActiveState"]
		switch {
		case err != nil:
		case !hasJob(general) && (active == "inactive" || active == "failed"):
			if !stopped {
				return nil
			}
			if _, err := conn.StartUnitContext(ctx, c.Unit, "replace", nil); err != nil {
				return fmt.Errorf("start unit %q: %w", c.Unit, err)
			}
			return nil
		case !stopped:
			if _, err = conn.StopUnitContext(ctx, RenewalUnit, "replace", nil); err == nil {
				stopped = true
			}
		}
		if wait.SleepFor(ctx, wait.PollEvery) != nil {
			return fmt.Errorf("stop %s: %w", RenewalUnit, errors.Join(ctx.Err(), err))
		}
	}
}

// hasJob reports whether systemd is about to start or stop a unit. The transient unit waits so
// for the end of the other unit.
func hasJob(general map[string]any) bool {
	job, ok := general["Job"].([]any)
	if !ok || len(job) == 0 {
		return false
	}
	id, _ := job[0].(uint32)
	return id != 0
}

func commandFailure(ctx context.Context, conn *systemd.Conn) error {
	service, err := conn.GetUnitTypePropertiesContext(ctx, RenewalUnit, "Service")
	if err != nil {
		return fmt.Errorf("read state of unit %q: %w", RenewalUnit, err)
	}
	if service["Result"] == "timeout" {
		return fmt.Errorf("it did not end within %s", commandLimit)
	}
	return fmt.Errorf("result %v, exit status %v", service["Result"], service["ExecMainStatus"])
}
