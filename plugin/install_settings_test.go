package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// TestNodeImagesOfAnyVersion: the admission policy still admits those of running watchers.
func TestNodeImagesOfAnyVersion(t *testing.T) {
	pod := func(c corev1.Container) corev1.PodSpec { return corev1.PodSpec{Containers: []corev1.Container{c}} }
	assert.Equal(t, []string{"r/node:1"}, nodeImages(pod(corev1.Container{Args: []string{"--namespace=x", "--image=r/node:1"}})))
	assert.Equal(t, []string{"r/node:2"}, nodeImages(pod(corev1.Container{
		Args: []string{"--image=$(" + manifests.NodeImageVariable + ")"}, Env: []corev1.EnvVar{{Name: manifests.NodeImageVariable, Value: "r/node:2"}}})))
}
