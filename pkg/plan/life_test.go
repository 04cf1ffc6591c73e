package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Lifetimes of decades are common, and up to that of a certificate without an end, of the year 9999.
func TestLifeChanges(t *testing.T) {
	const year = 365 * 24 * time.Hour
	const longest = time.Duration(1<<63 - 1)
	for _, was := range []time.Duration{year, 10 * year, 30 * year, 31 * year, 50 * year, 99 * year, longest} {
		assert.False(t, LifeChanges(was, was), was)
		assert.False(t, LifeChanges(was, was-was/11), was)
		assert.True(t, LifeChanges(was, was-was/9), was)
		assert.True(t, LifeChanges(was-was/9, was), was)
		assert.True(t, LifeChanges(was, time.Hour), was)
	}
}
