package cgroup

import "testing"

func TestParseMount(t *testing.T) {
	tests := map[string]struct {
		line string
		want Hierarchy
		ok   bool
	}{
		"version 1":       {"cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0", Hierarchy{Mount: "/sys/fs/cgroup/memory"}, true},
		"version 2":       {"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", Hierarchy{Mount: "/sys/fs/cgroup", V2: true}, true},
		"hybrid":          {"cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0", Hierarchy{Mount: "/sys/fs/cgroup/unified", V2: true}, true},
		"the tmpfs above": {"tmpfs /sys/fs/cgroup tmpfs rw 0 0", Hierarchy{}, false},
		"elsewhere":       {"cgroup2 /mnt/cg cgroup2 rw 0 0", Hierarchy{}, false},
		"malformed":       {"x", Hierarchy{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parseMount(test.line)
			if got != test.want || ok != test.ok {
				t.Errorf("parseMount = %+v, %v; want %+v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}
