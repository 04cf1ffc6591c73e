//go:build linux

package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// everyPoint means that all crash points are tried, not a fixed sample.
var everyPoint = os.Getenv("CRASH_POINTS") == "all"

// sampled is how many points of each campaign the sample has.
const sampled = 4

// killed is the exit code of a process that SIGKILL ended.
const killed = 128 + 9

// TestKilledAtEverySystemCall kills the node program just before each system call that changes
// the node, recovers in a new process, and checks the node.
func TestKilledAtEverySystemCall(t *testing.T) {
	programs := buildPrograms(t)
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			f := newFixture(t, s, programs.node)
			states := programs.runCampaign(t, f, f.rotateArgs)
			if states[inventory.RolledBack] == 0 || states[inventory.Committed]+states[inventory.Finished] == 0 {
				t.Errorf("it ended old and new in turn: %v; the campaign is not what it seems", states)
			}
		})
		t.Run(s.name+", again while recovering", func(t *testing.T) {
			f := newFixture(t, s, programs.node)
			programs.interruptCommit(t, f)
			states := programs.runCampaign(t, f, f.recoverArgs)
			if len(states) != 1 || states[inventory.RolledBack] == 0 {
				t.Errorf("a recovery that was cut short ended as %v", states)
			}
		})
	}
}

// runKilled runs a command on a node and kills it before its at-th call; 0: never. It
// returns the exit code and the calls that were reached.
func (p programs) runKilled(root string, at int, argv []string) (int, []call, error) {
	log := root + ".calls"
	args := append([]string{"-under", root, "-at", strconv.Itoa(at), "-log", log, "--"}, argv...)
	cmd := exec.Command(p.killat, args...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, nil, err
	}
	code := cmd.ProcessState.ExitCode()
	if code != 0 && code != killed {
		return code, nil, fmt.Errorf("exit code %d: %s", code, out)
	}
	calls, err := readCalls(log)
	return code, calls, err
}

// runCampaign tries the crash points of a command and counts how the node ended.
func (p programs) runCampaign(t *testing.T, f *fixture, command func(root string) []string) map[inventory.RotationState]int {
	t.Helper()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	checkError(t, f.copyTo(whole))
	_, calls, err := p.runKilled(whole, 0, command(whole))
	checkError(t, err)
	points := choosePoints(calls)
	states := map[inventory.RotationState]int{}
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := make(chan int)
	for range 2 {
		workers.Go(func() {
			for at := range next {
				root := filepath.Join(dir, strconv.Itoa(at))
				state, last, problems := p.tryPoint(t, f, root, at, command)
				mu.Lock()
				states[state]++
				for _, problem := range problems {
					t.Errorf("killed before call %d, %s %q: %s", at, last.Name, last.Path, problem)
				}
				mu.Unlock()
				_ = os.RemoveAll(root)
			}
		})
	}
	for _, at := range points {
		next <- at
	}
	close(next)
	workers.Wait()
	t.Logf("%d of %d crash points; the node ended as %v", len(points), len(calls), states)
	return states
}

// choosePoints returns the numbers of the calls before which to kill: all, or a sample in
// which every step by which the node's own files change comes first.
func choosePoints(calls []call) []int {
	var visible, all []int
	for n, call := range calls {
		all = append(all, n+1)
		if call.Name == "renameat" && !strings.HasPrefix(call.Path, statedir.HostPath) {
			visible = append(visible, n+1, n+2)
		}
	}
	if everyPoint {
		return all
	}
	points := visible
	for i := range sampled {
		points = append(points, 1+i*len(calls)/sampled)
	}
	points = append(points, len(calls))
	slices.Sort(points)
	points = slices.Compact(points)
	return slices.DeleteFunc(points, func(at int) bool { return at > len(calls) })
}

// tryPoint kills a command at one point, recovers, and checks the node.
func (p programs) tryPoint(t *testing.T, f *fixture, root string, at int, command func(string) []string) (state inventory.RotationState, last call, problems []string) {
	t.Helper()
	if err := f.copyTo(root); err != nil {
		return "", last, []string{err.Error()}
	}
	code, calls, err := p.runKilled(root, at, command(root))
	if err != nil {
		return "", last, []string{err.Error()}
	}
	last = calls[len(calls)-1]
	if code != killed {
		return "", last, []string{"it was not killed"}
	}
	argv := f.recoverArgs(root)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		problems = append(problems, fmt.Sprintf("recovery: %v: %s", err, out))
	}
	state, found := f.verifyNode(t, root)
	return state, last, append(problems, found...)
}

// interruptCommit makes a node whose commit was interrupted when all its files were new, so
// that much has to be rolled back.
func (p programs) interruptCommit(t *testing.T, f *fixture) {
	t.Helper()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	checkError(t, f.copyTo(whole))
	_, calls, err := p.runKilled(whole, 0, f.rotateArgs(whole))
	checkError(t, err)
	at := 0
	for n, call := range calls {
		if call.Name == "renameat" && !strings.HasPrefix(call.Path, statedir.HostPath) && !strings.HasPrefix(call.Path, plan.UnitDirectory) {
			at = n + 2 // after the last one
		}
	}
	root := filepath.Join(dir, "interrupted")
	checkError(t, f.copyTo(root))
	if code, _, err := p.runKilled(root, at, f.rotateArgs(root)); err != nil || code != killed {
		t.Fatalf("exit code %d, %v: it was to be killed before call %d", code, err, at)
	}
	f.template = root
}
