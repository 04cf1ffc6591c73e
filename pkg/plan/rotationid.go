package plan

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"sync"
)

// NewRotationID returns a new rotation's id: six hex digits, short enough to be read out.
func NewRotationID() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

var rotationID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
})

// IsRotationID reports whether a text may be the id of a rotation. It becomes a part of paths,
// commands and labels.
func IsRotationID(id string) bool { return rotationID().MatchString(id) }
