//go:build linux

package crash

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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
	seen := map[imageKey]bool{}
	hashes := map[fileKey]imageKey{}
	for at, c := range calls {
		d.carryOut(c)
		if at < first {
			continue
		}
		for _, m := range d.listImages() {
			key := keyOf(m, hashes)
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

// imageKey is the same for equal images: the hashes of all files, combined by exclusive or.
type imageKey [sha256.Size / 8]uint64

// fileKey is a file of an image with its path.
type fileKey struct {
	path string
	found
}

// keyOf returns the key of an image. hashes holds those of the files that were hashed before:
// images of one disk have most of them in common.
func keyOf(m image, hashes map[fileKey]imageKey) imageKey {
	var key imageKey
	for path, f := range m {
		file := fileKey{path, f}
		hash, known := hashes[file]
		if !known {
			hash = hashFile(file)
			hashes[file] = hash
		}
		for i := range key {
			key[i] ^= hash[i]
		}
	}
	return key
}

func hashFile(f fileKey) imageKey {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %v %o %d %d %q", f.path, f.mode, f.perm, f.uid, f.gid, f.data))
	var hash imageKey
	for i := range hash {
		hash[i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	return hash
}
