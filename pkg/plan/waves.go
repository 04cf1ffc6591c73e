package plan

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// DefaultMaxUnavailable is the number of workers that are rotated at a time.
const DefaultMaxUnavailable = "10%"

// ValidateMaxUnavailable refuses the values that [BuildPlan] would refuse, before any node is
// scanned.
func ValidateMaxUnavailable(v string) error {
	_, err := waveSize(v, 1)
	return err
}

// waveSize is MaxUnavailable applied to a number of workers: rounded down, at least 1.
func waveSize(v string, workers int) (int, error) {
	v = cmp.Or(v, DefaultMaxUnavailable)
	digits, percent := strings.CutSuffix(v, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || (percent && n > 100) {
		return 0, fmt.Errorf("max-unavailable %q: want a number of workers such as 3, or a percentage such as 10%%", v)
	}
	if percent {
		n = workers * n / 100
	}
	return max(n, 1), nil
}

func countWorkers(nodes []inventory.Node, req Request) int {
	count := 0
	for i := range nodes {
		if inScope(nodes[i].Name, req) && !nodes[i].ControlPlane() {
			count++
		}
	}
	return count
}
