package node

import (
	"crypto/sha256"
	"fmt"
)

// uuid derives a node's machine id from its name, so that it stays the same
// when the node boots again.
func uuid(name string) string {
	sum := sha256.Sum256([]byte("machine-id of " + name))
	sum[6] = sum[6]&0x0f | 0x40 // version 4
	sum[8] = sum[8]&0x3f | 0x80 // variant of RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
