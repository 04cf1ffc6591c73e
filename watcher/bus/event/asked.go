package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// AskedPrefix begins the names of rotations that other clusters have asked for.
const AskedPrefix = "asked-"

// AskedName names a request of another cluster by the cluster and the id that it chose. It is the
// name of the CertificateRotation that is created, so that a repetition creates no second object. It
// has nothing of the text of either. docs/events.md says how it is made.
func AskedName(cluster, id string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", cluster, id))
	return AskedPrefix + hex.EncodeToString(sum[:10])
}
