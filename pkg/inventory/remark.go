package inventory

import (
	"slices"
	"strings"
)

// remarkEnd separates the remarks that a scan joins to a reason.
const remarkEnd = "; "

// ReplaceRemark replaces one of the remarks in a reason, or removes it where the new one is
// empty. A reason that does not hold the remark stays as it is.
func ReplaceRemark(reason, remark, by string) string {
	remarks := strings.Split(reason, remarkEnd)
	removed := strings.Split(remark, remarkEnd)
	for i := range remarks {
		if i+len(removed) > len(remarks) || !slices.Equal(remarks[i:i+len(removed)], removed) {
			continue
		}
		remarks = slices.Delete(remarks, i, i+len(removed))
		if by != "" {
			remarks = slices.Insert(remarks, i, by)
		}
		return strings.Join(remarks, remarkEnd)
	}
	return reason
}
