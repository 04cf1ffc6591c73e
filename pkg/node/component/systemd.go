package component

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// privateSocket is systemd's own socket, for root only. It is no bus and accepts no Hello. It
// exists without a dbus-daemon as well.
const privateSocket = "/run/systemd/private"

// dialSystemd connects to the host's system bus, or to systemd itself if there is no bus; the
// caller closes the connection.
func (r *Runtime) dialSystemd(ctx context.Context) (*systemd.Conn, error) {
	if r.DBusSocket == "" {
		return nil, errors.New("the D-Bus socket of systemd is not known")
	}
	conn, err := r.dialSocket(ctx, r.DBusSocket)
	if err == nil || r.DBusSocket == privateSocket {
		return conn, err
	}
	if direct, failed := r.dialSocket(ctx, privateSocket); failed == nil {
		return direct, nil
	}
	return nil, err
}

func (r *Runtime) dialSocket(ctx context.Context, path string) (*systemd.Conn, error) {
	socket, err := r.Root.LocalPath(path)
	if err != nil {
		return nil, err
	}
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		bus, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		err = bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
		if err == nil && path != privateSocket {
			err = bus.Hello()
		}
		if err != nil {
			_ = bus.Close()
			return nil, err
		}
		return bus, nil
	})
	if err != nil {
		return nil, fmt.Errorf("connect to systemd through %q: %w", path, err)
	}
	return conn, nil
}

func (r *Runtime) currentUnit(ctx context.Context, unit string) (Instance, error) {
	conn, err := r.dialSystemd(ctx)
	if err != nil {
		return Instance{}, err
	}
	defer conn.Close()
	i, err := readUnit(ctx, conn, unit)
	// systemd counts its automatic restarts, and resets the count when the unit is started by
	// hand.
	i.Failing = i.Running && i.restarts > 0 && r.now().Sub(i.StartedAt) < 2*longestBackOff
	return i, err
}

// readUnit reads a service unit's state. The invocation ID differs for every start; systemd has
// it since version 232.
func readUnit(ctx context.Context, conn *systemd.Conn, unit string) (Instance, error) {
	general, err := conn.GetUnitPropertiesContext(ctx, unit)
	if err != nil {
		return Instance{}, fmt.Errorf("read state of unit %q: %w", unit, err)
	}
	service, err := conn.GetUnitTypePropertiesContext(ctx, unit, "Service")
	if err != nil {
		return Instance{}, fmt.Errorf("read state of unit %q: %w", unit, err)
	}
	var i Instance
	if id, ok := general["InvocationID"].([]byte); ok {
		i.ID = hex.EncodeToString(id)
	}
	i.pid, _ = service["MainPID"].(uint32)
	i.Running = general["ActiveState"] == "active" && i.pid != 0
	i.Exited = general["ActiveState"] == "failed" || general["ActiveState"] == "inactive" && !hasJob(general) || general["SubState"] == "auto-restart"
	if started, ok := service["ExecMainStartTimestamp"].(uint64); ok {
		i.StartedAt = time.UnixMicro(int64(started)) //nolint:gosec // microseconds since 1970 fit for ages
	}
	i.restarts, _ = service["NRestarts"].(uint32)
	// An automatic restart waits for RestartUSec.
	if wait, ok := service["RestartUSec"].(uint64); ok && wait < uint64(time.Hour/time.Microsecond) {
		i.BackOff = time.Duration(wait) * time.Microsecond
	}
	i.detail = fmt.Sprintf("unit %s is %v (%v), result %v, exit status %v",
		unit, general["ActiveState"], general["SubState"], service["Result"], service["ExecMainStatus"])
	return i, nil
}

// restartUnit queues a restart and returns when the old instance has exited. With a grace
// period, a main process that has not exited by then is killed, since the unit's own limit may
// be long. Other processes of the unit are never killed, since its KillMode may keep them.
//
// The result of the queueing call is not sufficient: if the unit is the kubelet, the answer may
// never arrive. The restart is done when another instance runs.
func (r *Runtime) restartUnit(ctx context.Context, c inventory.Component, old Instance, grace time.Duration) error {
	conn, err := r.dialSystemd(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if !old.Running {
		// A unit that failed too often is not started again before its failures are reset.
		if err := conn.ResetFailedUnitContext(ctx, c.Unit); err != nil && ctx.Err() != nil {
			return fmt.Errorf("restart unit %q: %w", c.Unit, err)
		}
	}
	queued := make(chan error, 1)
	go func() {
		_, err := conn.RestartUnitContext(ctx, c.Unit, "replace", nil)
		queued <- err
	}()
	var kill <-chan time.Time
	if grace > 0 && old.pid != 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		kill = timer.C
	}
	tick := time.NewTicker(wait.PollEvery)
	defer tick.Stop()
	for {
		now, err := readUnit(ctx, conn, c.Unit)
		if err == nil && (now.pid != old.pid || old.pid == 0) && now.ID != old.ID {
			return nil
		}
		select {
		case err := <-queued:
			if err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return fmt.Errorf("restart unit %q: %w", c.Unit, err)
			}
			queued = nil
		case <-kill:
			kill = nil
			if err := conn.KillUnitWithTarget(ctx, c.Unit, systemd.Main, int32(unix.SIGKILL)); err != nil && ctx.Err() == nil {
				return fmt.Errorf("kill unit %q after %s: %w", c.Unit, grace, err)
			}
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("restart unit %q: the old process %d did not end: %w", c.Unit, old.pid, ctx.Err())
		}
	}
}
