//go:build linux

package crash

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
)

// TestPowerCutAnywhere records the system calls of a real commit, takes the possible states
// after a power cut at each call from the model of the disk, has the real program recover from
// them, and checks the node.
func TestPowerCutAnywhere(t *testing.T) {
	programs := buildPrograms(t)
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			f := newFixture(t, s, programs.node)
			calls := programs.recordCalls(t, f)
			images, problems := f.cutPower(t, calls, 0, everySoMany(23))
			for _, problem := range problems {
				t.Error(problem)
			}
			t.Logf("%d states of the disk after %d calls", images, len(calls))
		})
	}
}

// TestPowerCutFindsAMissingFsync is the test of that test: without the calls that make
// something durable, it must find a node that is neither old nor new.
func TestPowerCutFindsAMissingFsync(t *testing.T) {
	programs := buildPrograms(t)
	f := newFixture(t, scenes[0], programs.node)
	calls := programs.recordCalls(t, f)
	inState := func(c call) bool { return strings.HasPrefix(c.Path, statedir.HostPath) }
	for name, without := range map[string]func(c call) bool{
		"of new files":                  func(c call) bool { return !inState(c) && strings.Contains(c.Path, ".rotate-certs-new") },
		"of the directories of renames": func(c call) bool { return !inState(c) && !strings.Contains(c.Path, ".rotate-certs-new") },
		"of the journal":                func(c call) bool { return strings.HasSuffix(c.Path, "/journal.jsonl") },
		"of the backups":                func(c call) bool { return strings.Contains(c.Path, "/backup/") },
	} {
		t.Run(name, func(t *testing.T) {
			fewer := slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.Name == "fsync" && without(c) })
			if len(fewer) == len(calls) {
				t.Fatal("there is no such call to leave out")
			}
			// From when the recovery unit is enabled, which is just before the commit begins.
			first := slices.IndexFunc(fewer, func(c call) bool { return c.Name == "symlinkat" })
			images, problems := f.cutPower(t, fewer, first, everySoMany(3))
			if len(problems) == 0 {
				t.Errorf("%d calls are missing, and none of %d states of the disk is wrong", len(calls)-len(fewer), images)
			} else {
				t.Logf("of %d states, the first that is wrong: %s", images, problems[0])
			}
		})
	}
}

// everySoMany is the interval of the states that are tried: all, or every n-th.
func everySoMany(n int) int {
	if everyPoint {
		return 1
	}
	return n
}

// recordCalls returns the calls of a whole rotation.
func (p programs) recordCalls(t *testing.T, f *fixture) []call {
	t.Helper()
	root := filepath.Join(t.TempDir(), "recorded")
	checkError(t, f.copyTo(root))
	_, calls, err := p.runKilled(root, 0, f.rotateArgs(root))
	checkError(t, err)
	return calls
}

// cutPower tries every n-th of the different states after the first calls, and returns their
// number and the deviations. It stops at the first few.
func (f *fixture) cutPower(t *testing.T, calls []call, first, n int) (tried int, problems []string) {
	t.Helper()
	dir := t.TempDir()
	d := readDisk(t, f.template)
	seen := map[[32]byte]bool{}
	for at, c := range calls {
		d.carryOut(c)
		if at < first {
			continue
		}
		for _, m := range d.listImages() {
			key := m.key()
			if seen[key] {
				continue
			}
			seen[key] = true
			if len(seen)%n != 0 {
				continue
			}
			tried++
			root := filepath.Join(dir, fmt.Sprint(tried))
			checkError(t, m.writeImage(root))
			for _, problem := range f.recoverNode(t, root) {
				problems = append(problems, fmt.Sprintf("power cut after call %d, %s %q: %s", at+1, c.Name, c.Path, problem))
			}
			checkError(t, os.RemoveAll(root))
			if len(problems) > 3 {
				return tried, problems
			}
		}
	}
	return tried, problems
}

// recoverNode has the program recover a node and returns the deviations.
func (f *fixture) recoverNode(t *testing.T, root string) (problems []string) {
	t.Helper()
	argv := f.recoverArgs(root)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		problems = append(problems, fmt.Sprintf("recovery: %v: %s", err, out))
	}
	_, found := f.verifyNode(t, root)
	return append(problems, found...)
}

func (m image) key() (key [32]byte) {
	hash := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(m)) {
		f := m[path]
		_, _ = fmt.Fprintf(hash, "%q %v %o %d %d %x\n", path, f.mode, f.perm, f.uid, f.gid, sha256.Sum256([]byte(f.data)))
	}
	hash.Sum(key[:0])
	return key
}
