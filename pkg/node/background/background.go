// Package background starts and ends the process of a rotation on a node that is reached without
// a pod. The process continues when the connection that started it breaks.
package background

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// systemdRuns is the directory that exists while systemd is the service manager (sd_booted(3)).
const systemdRuns = "/run/systemd/system"

// StartRun starts the program with the given arguments as the process of a rotation, and returns
// when that holds the node's lock. started is false if it held the lock already. The process
// first waits for another rotation's process, see [statedir.Dir.TakeLock].
func StartRun(ctx context.Context, root hostfs.Root, rotation string, program ...string) (started bool, err error) {
	holder, held, err := statedir.CurrentHolder(root)
	if err != nil {
		return false, err
	}
	if held && holder.Rotation == rotation {
		return false, nil
	}
	dir, err := statedir.OpenDir(root)
	if err != nil {
		return false, err
	}
	r, err := dir.OpenRotation(rotation)
	if err != nil {
		return false, err
	}
	if !held {
		if err := r.DropUnanswered(); err != nil {
			return false, err
		}
	}
	return true, startFirst(ctx, root, r, commands(rotation, program))
}

// startFirst starts the first of some command lines that comes to hold the node's lock.
func startFirst(ctx context.Context, root hostfs.Root, r *statedir.Rotation, lines [][]string) (err error) {
	for _, line := range lines {
		if err = startProcess(ctx, root, r, line); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("start the process of rotation %q: %w", r.ID, err)
}

// startProcess starts a command line and waits until its process holds the node's lock.
func startProcess(ctx context.Context, root hostfs.Root, r *statedir.Rotation, line []string) error {
	log, err := os.OpenFile(r.OutputPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	process := exec.Command(line[0], line[1:]...) //nolint:gosec,noctx // this program itself, and systemd-run; it must not end with a context
	process.Stderr = log
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	for {
		holder, held, err := statedir.CurrentHolder(root)
		switch {
		case err != nil:
			return err
		case held && holder.Rotation == r.ID:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return fmt.Errorf("it ended at once: %s", lastLine(r.OutputPath(), err))
		case <-time.After(wait.PollEvery):
		}
	}
}

// commands returns the command lines to try. The first one has a control group of its own where
// systemd runs, which otherwise ends the process with the login session where KillUserProcesses=yes
// (logind.conf(5)). The group's name is new each time, since that of an earlier process may still be
// loaded. The last one is the program alone: on a broken host systemd may not answer.
func commands(rotation string, program []string) [][]string {
	lines := [][]string{program}
	if _, err := os.Stat(systemdRuns); err != nil || os.Geteuid() != 0 {
		return lines
	}
	if scope, err := exec.LookPath("systemd-run"); err == nil {
		unit := "--unit=rotate-certs-" + rotation + "-" + strings.ToLower(rand.Text()[:8])
		lines = append([][]string{append([]string{scope, "--scope", "--quiet", "--collect", unit, "--"}, program...)}, lines...)
	}
	return lines
}

// lastLine is the last line that the process has written, or its error.
func lastLine(path string, err error) string {
	data, readErr := os.ReadFile(path)
	text := strings.TrimSpace(string(data))
	if readErr != nil || text == "" {
		return fmt.Sprint(err)
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// ErrOtherProcess means that a process holds the node's lock that was started in another way: in
// a pod, or by hand.
var ErrOtherProcess = errors.New("the process was not started here")

// EndRun asks the process of a rotation to end, of any with rotation "", and waits until it has:
// it completes or rolls back a commit in progress. It reports whether there was one. A process in
// a pod, or one that a person started, wraps [ErrOtherProcess].
func EndRun(ctx context.Context, root hostfs.Root, rotation string) (ended bool, err error) {
	holder, held, err := statedir.CurrentHolder(root)
	if err != nil || !held || rotation != "" && holder.Rotation != rotation {
		return false, err
	}
	if !isRun(holder) {
		return false, hint.AddTo(fmt.Errorf("end the process of rotation %q: %w", holder.Rotation, ErrOtherProcess),
			"wait for its end, or end it where it was started")
	}
	if err := syscall.Kill(holder.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("end the process of rotation %q: %w", holder.Rotation, err)
	}
	for {
		now, held, err := statedir.CurrentHolder(root)
		if err != nil || !held || now != holder {
			return true, err
		}
		if err := wait.SleepFor(ctx, wait.PollEvery); err != nil {
			return false, fmt.Errorf("the process of rotation %q has not ended yet: %w", holder.Rotation, err)
		}
	}
}

// isRun reports whether the holder is a process that [StartRun] started. The PID of a process in
// a pod is one of another namespace.
func isRun(holder statedir.Holder) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(holder.PID), "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
	return slices.Contains(args, "run") && slices.Contains(args, "--rotation="+holder.Rotation)
}
