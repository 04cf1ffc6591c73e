package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// TestNodeImagesOfWatchers: the admission policy still admits those of running watchers.
func TestNodeImagesOfWatchers(t *testing.T) {
	assert.Equal(t, []string{"r/node:2"}, nodeImages(corev1.PodSpec{Containers: []corev1.Container{{
		Args: []string{"--image=$(" + manifests.NodeImageVariable + ")"}, Env: []corev1.EnvVar{{Name: manifests.NodeImageVariable, Value: "r/node:2"}}}}}))
}
