package inventory_test

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestReplaceRemark(t *testing.T) {
	for _, tt := range []struct{ reason, remark, by, want string }{
		{"a", "a", "", ""},
		{"a; b; c", "b", "", "a; c"},
		{"a; b; c", "b; c", "d", "a; d"},
		{"a; b", "c", "", "a; b"},
		{"ab", "a", "", "ab"},
	} {
		if got := inventory.ReplaceRemark(tt.reason, tt.remark, tt.by); got != tt.want {
			t.Errorf("%q without %q: %q, want %q", tt.reason, tt.remark, got, tt.want)
		}
	}
}
