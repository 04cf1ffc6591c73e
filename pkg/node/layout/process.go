package layout

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// Command lines are read in two steps: enough to recognise a component, and then
// the whole of the few that are one, bounded.
const (
	cmdlineHead = 4 << 10
	cmdlineMax  = 1 << 20
)

// clockTicks is USER_HZ, in which /proc counts time on every Linux architecture
// that Kubernetes runs on.
const clockTicks = 100

// process is a running component.
type process struct {
	recognized
	pid   int
	argv  []string
	place placement
	// containerID is the runtime's id of its container, where its control group has it.
	containerID string
	started     *time.Time
	// hostNetwork: it has the network of the node's process 1, as far as that is known.
	hostNetwork bool
}

// processTable holds the processes of a node.
type processTable struct {
	components []process // in the order of their ids
	bundles    []bundle
	// members are all processes of the units in which components run.
	members map[string][]member
}

// listProcesses lists the processes of a node.
//
// The cost is one read per process of the node, and one more if a component runs in a unit, so
// it uses the kernel's paths directly: files of /proc/PID are no symlinks and cannot lead out
// of the root. Threads of the kernel have no command line and are left out.
func listProcesses(root hostfs.Root) processTable {
	var out processTable
	proc, err := root.LocalPath("/proc")
	if err != nil {
		return out
	}
	var init map[string]string
	var boot time.Time
	buf := make([]byte, cmdlineHead)
	var ids []int
	for _, pid := range processIDs(proc) {
		head := readInto(processFile(proc, pid, "cmdline"), buf)
		argv := parseCmdline(head)
		if len(argv) == 0 {
			continue
		}
		ids = append(ids, pid)
		if name := programName(argv[0]); bundled[name] != "" {
			// One in a pod is the control plane of a tenant.
			if place := placeProcess(cgroupsOf(proc, pid), cgroupsOf(proc, 1)); !place.nested && place.podUID == "" {
				out.bundles = append(out.bundles, bundle{name, pid})
			}
			continue
		}
		if _, ok := recognizeArgs(argv); !ok {
			continue
		}
		if len(head) == len(buf) {
			argv = parseCmdline(readWhole(processFile(proc, pid, "cmdline")))
		}
		r, ok := recognizeArgs(argv)
		if !ok {
			continue
		}
		if init == nil {
			init = cgroupsOf(proc, 1)
			boot = bootTime(proc)
		}
		groups := cgroupsOf(proc, pid)
		p := process{recognized: r, pid: pid, argv: argv, place: placeProcess(groups, init), containerID: containerID(groups)}
		if p.place.nested {
			continue // a component of another cluster, whose node is a container here
		}
		p.started = startTime(readInto(processFile(proc, pid, "stat"), buf), boot)
		p.hostNetwork = sameNetwork(proc, pid)
		out.components = append(out.components, p)
	}
	out.members = membersOf(proc, init, ids, out.components)
	return out
}

// processFile returns the path of a file of a process. Everything in it is clean.
func processFile(proc string, pid int, name string) string {
	return proc + "/" + strconv.Itoa(pid) + "/" + name
}

func cgroupsOf(proc string, pid int) map[string]string {
	return cgroupPaths(readInto(processFile(proc, pid, "cgroup"), make([]byte, cmdlineHead)))
}

// sameNetwork reports whether a process has the network namespace of process 1.
func sameNetwork(proc string, pid int) bool {
	first, err := os.Readlink(processFile(proc, 1, "ns/net"))
	if err != nil {
		return false
	}
	own, err := os.Readlink(processFile(proc, pid, "ns/net"))
	return err == nil && own == first
}

// processIDs lists the numeric entries of /proc.
func processIDs(proc string) []int {
	d, err := os.Open(proc)
	if err != nil {
		return nil
	}
	defer func() { _ = d.Close() }()
	names, _ := d.Readdirnames(-1) // an incomplete list is better than none
	var ids []int
	for _, n := range names {
		if id, err := strconv.Atoi(n); err == nil && id > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, cmp.Compare)
	return ids
}

// parseCmdline splits the content of a /proc/PID/cmdline at its zero bytes.
func parseCmdline(data []byte) []string {
	text := strings.TrimRight(string(data), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// statFields are the fields of a /proc/PID/stat that follow its second one. That is the
// program's name in parentheses and may itself hold blanks and parentheses.
func statFields(stat []byte) []string {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(stat[i+1:]))
}

// parentOf is field 4 of a /proc/PID/stat; 0 where it cannot be read.
func parentOf(stat []byte) int {
	fields := statFields(stat)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// startTime is field 22 of a /proc/PID/stat, in ticks since boot.
func startTime(stat []byte, boot time.Time) *time.Time {
	fields := statFields(stat)
	if boot.IsZero() || len(fields) < 20 {
		return nil
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil || ticks < 0 {
		return nil
	}
	t := boot.Add(time.Duration(ticks/clockTicks)*time.Second + time.Duration(ticks%clockTicks)*time.Second/clockTicks).UTC()
	return &t
}

// bootTime is the btime line of /proc/stat.
func bootTime(proc string) time.Time {
	data := readWhole(filepath.Join(proc, "stat"))
	_, rest, ok := bytes.Cut(data, []byte("\nbtime "))
	if !ok {
		return time.Time{}
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	seconds, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// readWhole reads a file of at most [cmdlineMax] bytes, whose size is not known before.
func readWhole(path string) []byte {
	for size := cmdlineHead; ; size *= 4 {
		data := readInto(path, make([]byte, size))
		if len(data) < size || size >= cmdlineMax {
			return data
		}
	}
}

// readInto fills buf from a file as far as possible, and returns nothing after an error, since
// a process may end between two reads.
func readInto(path string, buf []byte) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m <= 0 {
			break
		}
		n += m
	}
	return buf[:n]
}
